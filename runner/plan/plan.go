// Package plan predicts a run of a study. For every action it returns whether its result
// is cached, or whether the action has to run or to be retried; the reason in words; and
// the expected time and size, estimated from earlier actions in the same store.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ablate/runner/engine"
	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/program"
	"ablate/runner/resource"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// State of an action.
type State string

// The states: the result is in the store; the action has to run; it has to run again
// because the last attempt failed or was interrupted; it does not run because it or its
// input failed for good.
const (
	Cached State = "cached"
	Run    State = "run"
	Retry  State = "retry"
	Failed State = "failed"
)

// Step is one action of a plan.
type Step struct {
	Action *layout.Action
	State  State
	Reason string // in words, "" if it is cached
}

// Plan is the predicted steps of a run.
type Plan struct {
	Steps   []Step // in the order of the graph
	Backend string // class of backend
	needs   Needs

	found    *lookup.Found
	history  *history
	pace     pace
	estimate func(*layout.Action) *engine.Estimate // by the engine that computes an action; nil if there is none
}

// Use takes over what engines estimate of actions.
func (p *Plan) Use(estimate func(*layout.Action) *engine.Estimate) { p.estimate = estimate }

// ToRun returns the actions that a run computes.
func (p *Plan) ToRun() (list []*layout.Action) {
	for _, s := range p.Steps {
		if s.State == Run || s.State == Retry {
			list = append(list, s.Action)
		}
	}
	return list
}

// New looks up every action of a graph and finds the reasons of those that have to run.
// dir is the folder of the study's results. needs say how many GPUs engines have, and gpu is their
// model, by which estimates differ; empty if any will do.
func New(g *layout.Graph, s *store.Store, dir, backend string, needs Needs, gpu string) (*Plan, error) {
	events, _, err := store.ReadJournal(dir)
	if err != nil {
		return nil, err
	}
	last := map[store.ActionID]store.Attempt{}
	for _, a := range store.Attempts(events) {
		last[a.Action] = a
	}
	found, err := lookup.Collect(g, s, backend, lookup.ReadSnapshot(dir, backend))
	if err != nil {
		return nil, err
	}
	p := &Plan{Steps: make([]Step, len(g.Actions)), Backend: backend, needs: needs, found: found}
	damaged := map[*layout.Action]bool{}
	for _, d := range found.Damaged {
		damaged[d.Action] = true
	}
	failed := map[*layout.Action]*layout.Action{} // actions that failed or depend on a failed one, to the failed action
	missing := 0
	for i, a := range g.Actions {
		p.Steps[i] = Step{Action: a, State: Cached}
		step := &p.Steps[i]
		if damaged[a] {
			step.State, step.Reason = Run, "its result is damaged in the store"
		} else if !found.Has(a) {
			step.State = Run
			p.missed(step, last, failed)
		}
		if step.State != Cached {
			missing++
		}
	}
	if missing == 0 {
		return p, nil
	}
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	p.history = newHistory(entries)
	attempts, err := s.Attempts()
	if err != nil {
		return nil, err
	}
	attempts = slices.DeleteFunc(attempts, func(a store.Attempt) bool { return a.Backend != "" && a.Backend != backend })
	p.pace = newPace(attempts, entries)
	p.pace.gpu = gpu
	p.reasons()
	return p, nil
}

// missed sets the state of a step whose action has no artifact, and the reason if that lies
// in an earlier attempt. last has the last attempt of each action. failed has the actions
// that failed or depend on a failed one, with the failed one; missed adds to it.
func (p *Plan) missed(step *Step, last map[store.ActionID]store.Attempt, failed map[*layout.Action]*layout.Action) {
	a := step.Action
	if f, ok := p.found.Failed[a]; ok {
		step.State, step.Reason = Retry, fmt.Sprintf("it failed (%s): %s", f.Class, f.Error)
		if failure.Final(f, program.Identity()) {
			step.State, step.Reason = Failed, step.Reason+"; 'ablate retry' lets the next run try it again"
		}
		failed[a] = a
		return
	}
	if id, ready := p.found.Next(a, p.Backend); ready {
		switch last[id].Outcome {
		case store.OutcomeInterrupted:
			step.State, step.Reason = Retry, "it was interrupted"
		case store.OutcomeRunning:
			step.Reason = "it is running in another process"
		case store.OutcomeOK:
			step.Reason = "its result is no longer in the store"
		}
		return
	}
	for _, in := range a.Inputs {
		if root, ok := failed[in]; ok {
			failed[a] = root
			step.Reason = fmt.Sprintf("its input failed (%s)", root.Label())
			if p.Steps[in.Index()].State == Failed {
				step.State = Failed
			}
			return
		}
	}
}

// Reasons that do not name a parameter.
const (
	FirstOfKind = "no earlier run in this store"        // the store has no action of its stage
	Follows     = "it reads what is computed before it" // only its inputs have changed
	NewSeeds    = "new seeds"                           // only its seeds have changed
	notCompared = "not compared with earlier ones, because there are many like it"
)

// The largest number of pairs of actions of a stage that are compared, and of actions that have to run.
// In a huge sweep the reasons of the first actions are representative, and what is compared takes memory
// until the end.
const (
	comparisons  = 60_000
	mostCompared = 1_000
)

func (p *Plan) reasons() {
	left := map[stage.Kind]int{}
	for i := range p.Steps {
		step := &p.Steps[i]
		if step.State == Cached || step.Reason != "" {
			continue
		}
		kind := step.Action.Kind
		candidates := len(p.history.like(step.Action))
		if candidates == 0 {
			step.Reason = FirstOfKind
			continue
		}
		if _, ok := left[kind]; !ok {
			left[kind] = max(1, min(comparisons/candidates, mostCompared))
		}
		if left[kind] == 0 {
			step.Reason = notCompared
			continue
		}
		left[kind]--
		near, diffs := p.history.nearest(step.Action, p.Backend)
		mine := alone(diffs, string(kind), step.Action.Lines(), near.key.Lines)
		waits := slices.ContainsFunc(step.Action.Inputs, p.missing)
		switch {
		case len(mine) > 0:
			step.Reason = Words(string(kind), mine)
		case waits:
			step.Reason = Follows
		default:
			step.Reason = Words(string(kind), diffs)
		}
	}
}

// Nearest returns the earlier action of the same stage that differs least from a, and the
// differences. It returns false if there is none.
func (p *Plan) Nearest(a *layout.Action, s *store.Store) (store.Entry, []Difference, bool, error) {
	if p.history == nil {
		entries, err := s.Entries()
		if err != nil {
			return store.Entry{}, nil, false, err
		}
		p.history = newHistory(entries)
	}
	if len(p.history.like(a)) == 0 {
		return store.Entry{}, nil, false, nil
	}
	e, diffs := p.history.nearest(a, p.Backend)
	return e.Entry, diffs, true, nil
}

// Stage is the summary of the actions of one stage, or of those that one engine computes.
type Stage struct {
	Stage              string
	Engine             string // empty for native stages
	GPUs               int    // of each action
	Cached, Run, Retry int
	Failed             int     // actions that do not run because they or their inputs failed for good
	Seconds            float64 // expected, on one core
	Rough              bool    // no action of the stage has run in this store: Seconds is a guess
	Unknown            int     // actions to run of an engine that has not done any like them: Seconds leaves them out
	Bytes              int64   // expected on disk; 0 if no action of the stage has run, and its engine does not estimate it
	Flops              float64 // operations, by the estimate of the engine; 0 if there is none
	Memory             int64   // of the largest action, by the estimate of the engine; 0 if there is none
	Reasons            []Reason
}

// Reason is one reason why actions of a stage run.
type Reason struct {
	Count int
	Text  string
}

// Name returns the name of the stage and of its engine.
func (s Stage) Name() string { return strings.TrimSpace(s.Stage + " " + s.Engine) }

// Stages returns the summary of each stage and engine, in the order of a trial.
func (p *Plan) Stages() []Stage {
	var out []Stage
	index := map[timed]int{}
	for _, step := range p.Steps {
		at := p.timed(step.Action)
		i, ok := index[at]
		if !ok {
			i = len(out)
			index[at] = i
			out = append(out, Stage{Stage: at.stage, Engine: at.engine, GPUs: p.needs.Of(step.Action).GPUs})
		}
		s := &out[i]
		switch step.State {
		case Cached:
			s.Cached++
			continue
		case Run:
			s.Run++
		case Retry:
			s.Retry++
		case Failed:
			s.Failed++
		}
		if step.State != Failed {
			x := p.expect(step.Action)
			s.Seconds, s.Bytes, s.Rough = s.Seconds+x.seconds, s.Bytes+x.bytes, s.Rough || x.basis == Guessed
			if e := p.estimated(step.Action); e != nil {
				s.Flops, s.Memory = s.Flops+e.Flops, max(s.Memory, e.Memory)
			}
			if x.basis == Unknown {
				s.Unknown++
			}
		}
		if k := slices.IndexFunc(s.Reasons, func(r Reason) bool { return r.Text == step.Reason }); k >= 0 {
			s.Reasons[k].Count++
		} else {
			s.Reasons = append(s.Reasons, Reason{1, step.Reason})
		}
	}
	order := stage.Kinds()
	slices.SortStableFunc(out, func(a, b Stage) int {
		return cmp.Or(slices.Index(order, stage.Kind(a.Stage))-slices.Index(order, stage.Kind(b.Stage)), strings.Compare(a.Engine, b.Engine))
	})
	for i := range out {
		slices.SortStableFunc(out[i].Reasons, func(a, b Reason) int { return b.Count - a.Count })
	}
	return out
}

// Wall returns the expected seconds with a number of workers: the whole work divided by
// their number, but at least the longest chain of dependent actions. Actions whose time is not
// known count as 0.
func (p *Plan) Wall(workers int) float64 {
	total, longest := 0., 0.
	ends := make([]float64, len(p.Steps))
	for i, step := range p.Steps {
		if step.State == Cached || step.State == Failed {
			continue
		}
		seconds := p.expect(step.Action).seconds
		total += seconds
		start := 0.
		for _, in := range step.Action.Inputs {
			start = max(start, ends[in.Index()])
		}
		ends[i] = start + seconds
		longest = max(longest, start+seconds)
	}
	return max(longest, total/float64(max(1, workers)))
}

// Expect returns a function that estimates the time of an action from the journals of a
// study's folder; 0 if no action of its stage, or of its engine with as many GPUs, has run in
// this study.
func Expect(dir, backend string, need func(*layout.Action) resource.Need) (func(*layout.Action) time.Duration, error) {
	p, err := paceOf(dir, backend)
	return func(a *layout.Action) time.Duration {
		x := p.expect(a, need(a).GPUs)
		if x.basis != FromRuns {
			return 0
		}
		return time.Duration(x.seconds * float64(time.Second))
	}, err
}

// paceOf returns the pace of earlier attempts of a study.
func paceOf(dir, backend string) (pace, error) {
	events, _, err := store.ReadJournal(dir)
	if err != nil {
		return pace{}, err
	}
	return newPace(slices.DeleteFunc(store.Attempts(events), func(a store.Attempt) bool { return a.Backend != "" && a.Backend != backend }), nil), nil
}

// Measured returns a function that estimates the seconds of an action on one core, from the
// journals of a study's folder. any reports whether any action has run in this study. The time
// of short native stages of which few have run is an estimate between theirs and that of all
// stages.
func Measured(dir, backend string, need func(*layout.Action) resource.Need) (estimate func(*layout.Action) (seconds float64, basis Basis), any bool, err error) {
	p, err := paceOf(dir, backend)
	return func(a *layout.Action) (float64, Basis) {
		x := p.expect(a, need(a).GPUs)
		if c := p.cost[timedOf(a, 0)]; x.basis == FromRuns && stage.EngineOf(a.Params) == "" {
			x.seconds = (x.seconds*c + a.Cost*p.overall*stagePrior) / (c + stagePrior)
		}
		return x.seconds, x.basis
	}, len(p.perCost) > 0, err
}

// Basis says where an estimate of time comes from.
type Basis int

const (
	FromRuns Basis = iota // earlier actions of the stage, or of the engine
	Guessed               // other stages
	Unknown               // nowhere: other stages say nothing of an engine
)

// timed is what actions have in common whose times are compared. Their times are in proportion
// to their costs.
type timed struct {
	stage, engine string
	gpus          int    // of an engine
	gpu           string // model of the GPUs; empty without one, and for those of all models together
}

func timedOf(a *layout.Action, gpus int) timed {
	t := timed{stage: string(a.Kind), engine: stage.EngineOf(a.Params)}
	if t.engine != "" {
		t.gpus = gpus
	}
	return t
}

func (p *Plan) timed(a *layout.Action) timed { return timedOf(a, p.needs.Of(a).GPUs) }

// expect returns what an action is expected to take: as earlier ones or, where there are none, by the
// engine's estimate and the usual speed of a device.
func (p *Plan) expect(a *layout.Action) expected {
	n := p.needs.Of(a)
	x := p.pace.expect(a, n.GPUs)
	if e := p.estimated(a); e != nil {
		if x.basis == Unknown && e.Flops > 0 {
			x.seconds, x.basis = e.Flops/speed(n, p.pace.gpu), Guessed
		}
		if x.bytes == 0 {
			x.bytes = e.Disk
		}
	}
	return x
}

func (p *Plan) estimated(a *layout.Action) *engine.Estimate {
	if p.estimate == nil {
		return nil
	}
	return p.estimate(a)
}

// speed returns the operations a second that networks usually reach: about 40 % of the peak of a
// GPU's matrix units in 16 bits, by its model, and 40 GFLOP/s on a core. It is for guesses only.
func speed(n resource.Need, gpu string) float64 {
	if n.GPUs == 0 {
		return 40e9 * float64(max(1, n.CPUs))
	}
	rate := 25e12
	for model, r := range map[string]float64{"H100": 400e12, "H200": 400e12, "B200": 900e12, "A100": 125e12, "L40": 70e12, "4090": 65e12, "V100": 45e12, "T4": 20e12} {
		if strings.Contains(gpu, model) {
			rate = r
		}
	}
	return rate * float64(n.GPUs)
}

// pace has the time and size of earlier actions.
type pace struct {
	perCost map[timed]float64 // seconds per unit of layout.Action.Cost
	cost    map[timed]float64 // of the actions that were measured
	gpu     string            // model of the GPUs that actions are expected to have; empty if any will do
	overall float64           // the same of all native stages together; near 1 if little has run
	bytes   map[timed]int64   // mean, whatever the GPUs
}

// prior is how many seconds count as measured with a pace of 1 when the pace of a stage is
// guessed by that of the others. The first stages of a study are short, and mostly compile.
const prior = 60

// stagePrior is how many seconds of a stage count as measured with the pace of all stages. The
// first action of a stage in a process compiles, which takes longer than a short action.
const stagePrior = 10

func newPace(attempts []store.Attempt, entries []store.Entry) pace {
	seconds, cost := map[timed]float64{}, map[timed]float64{}
	p := pace{perCost: map[timed]float64{}, cost: cost, bytes: map[timed]int64{}}
	allSeconds, allCost := 0., 0.
	for _, a := range attempts {
		if a.Outcome != store.OutcomeOK || a.Seconds <= 0 || a.Cost <= 0 {
			continue
		}
		at := timed{stage: a.Stage, engine: a.Engine, gpus: a.GPUs}
		for _, at.gpu = range slices.Compact([]string{"", a.GPU}) {
			seconds[at] += a.Seconds
			cost[at] += a.Cost
		}
		if a.Engine == "" {
			allSeconds, allCost = allSeconds+a.Seconds, allCost+a.Cost
		}
	}
	for at, c := range cost {
		p.perCost[at] = seconds[at] / c
	}
	p.overall = (allSeconds + prior) / (allCost + prior)
	n := map[timed]int64{}
	for _, e := range entries {
		k, err := store.ParseKey(e.Key)
		if err != nil {
			continue // of another version
		}
		at := timed{stage: k.Stage, engine: stage.EngineIn(k.Lines)}
		p.bytes[at] += e.Bytes
		n[at]++
	}
	for at := range n {
		p.bytes[at] /= n[at]
	}
	return p
}

// expected is what an action is expected to take.
type expected struct {
	seconds float64 // on one core, or of an engine; 0 if it is not known
	basis   Basis
	bytes   int64 // 0 if it is not known
}

// expect returns what an action is expected to take. gpus are those that its engine has.
func (p pace) expect(a *layout.Action, gpus int) expected {
	at := timedOf(a, gpus)
	if gpus > 0 {
		at.gpu = p.gpu
	}
	x := expected{bytes: p.bytes[timedOf(a, 0)]}
	switch per, known := p.perCost[at]; {
	case known:
		x.seconds = per * a.Cost
	case at.engine != "":
		x.basis = Unknown
	default:
		x.seconds, x.basis = cmp.Or(p.overall, 1)*a.Cost, Guessed
	}
	return x
}

// String describes a difference: "finetune.beta changed from 0 to 0.5". A parameter that
// one of the two actions lacks has its absent value there, which is mostly 0.
func (d Difference) String() string {
	switch {
	case d.Old == "":
		return fmt.Sprintf("%s is set to %s", d.Path(), d.New)
	case d.New == "":
		return fmt.Sprintf("%s is no longer %s", d.Path(), d.Old)
	}
	return fmt.Sprintf("%s changed from %s to %s", d.Path(), d.Old, d.New)
}
