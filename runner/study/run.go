package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"ablate/runner/dag"
	"ablate/runner/launch"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// A Worker runs one task somewhere and returns when its folder is written.
// Tasks with the same hint compile the same graphs. *launch.Pool is one.
type Worker interface {
	Do(ctx context.Context, t launch.Task, hint string, progress func(launch.Progress)) (launch.Reply, error)
}

// Options of a run. None of them changes a result.
type Options struct {
	Slots    int  // workers
	FailFast bool // stop at the first failure
	Limit    int  // run at most so many actions that are not cached; 0 is no limit
	Backend  string
	Machine  Machine // recorded with each attempt
	Events   func(Event)
	Now      func() time.Time
}

// Machine says what an attempt ran on.
type Machine struct{ Device, Backend, Versions, CPU string }

// Event tells of a run's course.
type Event struct {
	Action   *Action
	Kind     EventKind
	Progress launch.Progress
	Seconds  float64
	Err      error
	Finished int // actions with an outcome, of Total
	Total    int
}

// EventKind is a kind of event.
type EventKind int

// The kinds of events.
const (
	Started EventKind = iota
	Cached
	Finished
	Failed
	Skipped
	Working // Progress of a started action
)

// Outcome is what a run left.
type Outcome struct {
	Outputs              map[string]Output // by an action's structural name
	Cached, Ran, Limited int
	Failures             []Failure
}

// Output is an action's artifact.
type Output struct {
	ID     store.OutputID
	Action store.ActionID
	Dir    string
}

// Failure is an action that failed for good.
type Failure struct {
	Action *Action
	Err    error
}

// errLimit is why an action was not run under Options.Limit.
var errLimit = errors.New("not run: --limit was reached")

// attempts is how often an action is tried when its worker dies.
const attempts = 2

// Run runs what is missing of a graph. The outcome is there even with an error,
// which is the cause of ctx's end or that of the store; failures of actions are
// in the outcome.
func Run(ctx context.Context, g *Graph, s *store.Store, j *store.Journal, w Worker, o Options) (*Outcome, error) {
	r := &runner{g: g, s: s, j: j, w: w, o: o, log: zerolog.Ctx(ctx), out: &Outcome{Outputs: map[string]Output{}}}
	if r.o.Now == nil {
		r.o.Now = time.Now
	}
	nodes := make([]dag.Node[Output], len(g.Actions))
	for i, a := range g.Actions {
		deps := make([]string, len(a.Inputs))
		for k, in := range a.Inputs {
			deps[k] = in.Action.Name
		}
		nodes[i] = dag.Node[Output]{
			Name: a.Name, Stage: string(a.Kind), Label: a.Label(), Deps: deps, Cost: time.Duration(a.Cost * float64(time.Second)),
			Lookup: func(ctx context.Context, deps map[string]Output) (Output, bool, error) { return r.lookup(a, deps) },
			Run:    func(ctx context.Context, deps map[string]Output) (Output, error) { return r.run(ctx, a, deps) },
		}
	}
	graph, err := dag.New(nodes)
	if err != nil {
		return r.out, err
	}
	outcome, err := graph.Run(ctx, dag.Options{Slots: o.Slots, FailFast: o.FailFast, Events: r.event})
	for name, st := range outcome {
		if st.State.OK() {
			r.out.Outputs[name] = st.Result
		}
	}
	var failed *dag.FailedError
	if errors.As(err, &failed) {
		err = nil
	}
	return r.out, err
}

// Label is what people see of an action: its stage and the trial that needs it
// first, if one does.
func (a *Action) Label() string {
	if len(a.Trials) == 1 {
		return fmt.Sprintf("%s %s", a.Kind, a.Trials[0])
	}
	return fmt.Sprintf("%s (%d trials)", a.Kind, len(a.Trials))
}

type runner struct {
	g   *Graph
	s   *store.Store
	j   *store.Journal
	w   Worker
	o   Options
	log *zerolog.Logger

	mu      sync.Mutex
	started int
	out     *Outcome
}

// Key is the store's key of an action whose inputs have become artifacts.
func (a *Action) Key(backend string, deps map[string]Output) store.Key {
	k := store.Key{Stage: string(a.Kind), Revision: stage.Revision[a.Kind], Lines: a.Lines, Backend: backend}
	if !a.Kind.Computes() {
		k.Backend = ""
	}
	for _, in := range a.Inputs {
		k.Inputs = append(k.Inputs, store.Input{Name: in.Role, Output: deps[in.Action.Name].ID})
	}
	return k
}

// lookup finds an action's artifact, every byte of it checked.
func (r *runner) lookup(a *Action, deps map[string]Output) (Output, bool, error) {
	id := a.Key(r.o.Backend, deps).ID()
	out, err := find(r.s, id)
	switch {
	case err == nil:
		return out, true, nil
	case errors.Is(err, store.ErrNotFound):
		if store.Damaged(err) {
			r.log.Warn().Str("stage", string(a.Kind)).Str("action", id.Short()).Err(err).Msg("damaged in the store; computing it again")
		}
		return Output{}, false, nil
	}
	return Output{}, false, err
}

func find(s *store.Store, id store.ActionID) (Output, error) {
	e, err := s.Lookup(id)
	if err != nil {
		return Output{}, err
	}
	dir, err := s.Artifact(e.Output)
	return Output{ID: e.Output, Action: id, Dir: dir}, err
}

// run computes an action, again if its worker died.
func (r *runner) run(ctx context.Context, a *Action, deps map[string]Output) (Output, error) {
	r.mu.Lock()
	r.started++
	over := r.o.Limit > 0 && r.started > r.o.Limit
	r.mu.Unlock()
	if over {
		return Output{}, errLimit
	}
	for try := 1; ; try++ {
		out, err := r.attempt(ctx, a, deps)
		if err == nil || ctx.Err() != nil || try == attempts || launch.Class(err) != launch.ClassCrash {
			return out, err
		}
		r.log.Warn().Str("stage", string(a.Kind)).Err(err).Msg("trying once more")
	}
}

func (r *runner) attempt(ctx context.Context, a *Action, deps map[string]Output) (out Output, err error) {
	key := a.Key(r.o.Backend, deps)
	event := store.Event{Kind: store.Started, Time: r.o.Now(), Action: key.ID(), Stage: string(a.Kind), Cost: a.Cost,
		Device: r.o.Machine.Device, Backend: r.o.Machine.Backend, Versions: r.o.Machine.Versions, CPU: r.o.Machine.CPU}
	if len(a.Trials) > 0 {
		event.Trial = a.Trials[0]
	}
	if err := r.j.Append(event); err != nil {
		return out, err
	}
	defer func() {
		end := store.Event{Kind: store.Finished, Time: r.o.Now(), Action: key.ID(), Worker: event.Worker}
		switch {
		case err == nil:
			end.Output = out.ID.String()
		case ctx.Err() != nil:
			end.Kind = store.Interrupted
		default:
			end.Kind, end.Error = store.Failed, err.Error()
		}
		if jerr := r.j.Append(end); err == nil {
			err = jerr
		}
	}()

	w, err := r.s.Begin(key)
	if err != nil {
		return out, err
	}
	defer w.Abort()
	params, err := json.Marshal(a.Params)
	if err != nil {
		return out, fmt.Errorf("%s: parameters: %w", a.Kind, err)
	}
	t := launch.Task{Action: key.ID().Short(), Stage: string(a.Kind), Params: params, Inputs: map[string]string{}, Out: w.Dir()}
	for _, in := range a.Inputs {
		t.Inputs[in.Role] = deps[in.Action.Name].Dir
	}
	reply, err := r.w.Do(ctx, t, string(a.Kind), func(p launch.Progress) { r.tell(Event{Action: a, Kind: Working, Progress: p}) })
	event.Worker = reply.Worker
	if err != nil {
		return out, r.s.Diagnose(declassify(err))
	}
	e, err := w.Commit()
	if err != nil {
		return out, err
	}
	if !e.Replaced.IsZero() {
		r.log.Warn().Str("stage", string(a.Kind)).Str("was", e.Replaced.Short()).Str("is", e.Output.Short()).Msg("its earlier bytes were lost and have come out different")
	}
	return find(r.s, e.Action)
}

// event passes on what the graph says and counts it.
func (r *runner) event(e dag.Event) {
	a := r.g.byName[e.Name]
	out := Event{Action: a, Err: e.Err, Finished: e.Finished, Total: e.Total}
	switch e.Kind {
	case dag.EventStarted:
		out.Kind = Started
	case dag.EventHit:
		out.Kind = Cached
		r.out.Cached++
	case dag.EventFinished:
		out.Kind = Finished
		r.out.Ran++
	case dag.EventFailed:
		if errors.Is(e.Err, errLimit) {
			r.out.Limited++
			return
		}
		out.Kind = Failed
		r.out.Failures = append(r.out.Failures, Failure{a, e.Err})
	case dag.EventSkipped:
		out.Kind = Skipped
	default:
		return
	}
	r.tell(out)
}

func (r *runner) tell(e Event) {
	if r.o.Events != nil {
		r.o.Events(e)
	}
}

// Collect finds what there is of a graph without running anything.
func Collect(g *Graph, s *store.Store, backend string) (map[string]Output, error) {
	found := map[string]Output{}
	for _, a := range g.Actions {
		whole := true
		for _, in := range a.Inputs {
			if _, ok := found[in.Action.Name]; !ok {
				whole = false
			}
		}
		if !whole {
			continue
		}
		out, err := find(s, a.Key(backend, found).ID())
		if err == nil {
			found[a.Name] = out
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return found, nil
}
