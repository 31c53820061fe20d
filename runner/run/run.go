// Package run runs the actions of a study that are missing in the store: with retries,
// repairs of damaged artifacts, a journal and logs.
package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"ablate/runner/dag"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/lookup"
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
	Machine  Machine // recorded with each attempt and entry
	Logs     string  // folder for the logs of failed actions, made when it is needed
	Events   func(Event)
	Now      func() time.Time
}

// Machine says what an attempt ran on.
type Machine struct {
	Device, Backend, Versions, CPU string

	// Environment are the lines of what may change the last digits of a result on
	// a backend of the same class: plugin, driver, processor, flags.
	Environment string
	Build       string // of this program
}

// Event tells of a run's course.
type Event struct {
	Action   *layout.Action
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
	Outputs     map[string]lookup.Output // by an action's structural name
	Cached, Ran int
	Left        int // actions that Options.Limit left for another run
	Failures    []Failure
}

// Failure is an action that failed for good.
type Failure struct {
	Action *layout.Action
	Err    error
}

// attempts is how often an action is tried when its worker dies.
const attempts = 2

// Run runs what is missing of a graph. The outcome is there even with an error,
// which is the cause of ctx's end or that of the store; failures of actions are
// in the outcome.
func Run(ctx context.Context, g *layout.Graph, s *store.Store, j *store.Journal, w Worker, o Options) (*Outcome, error) {
	r := &runner{byName: map[string]*layout.Action{}, s: s, j: j, w: w, o: o, log: zerolog.Ctx(ctx), outputs: map[string]lookup.Output{}, out: &Outcome{Outputs: map[string]lookup.Output{}}}
	if r.o.Now == nil {
		r.o.Now = time.Now
	}
	nodes := make([]dag.Node[lookup.Output], len(g.Actions))
	for i, a := range g.Actions {
		r.byName[a.Name] = a
		deps := make([]string, len(a.Inputs))
		for k, in := range a.Inputs {
			deps[k] = in.Action.Name
		}
		nodes[i] = dag.Node[lookup.Output]{
			Name: a.Name, Stage: string(a.Kind), Label: a.Label(), Deps: deps, Priority: -a.Turn, Cost: time.Duration(a.Cost * float64(time.Second)),
			Lookup: func(ctx context.Context, deps map[string]lookup.Output) (lookup.Output, bool, error) {
				return r.lookup(ctx, a, deps)
			},
			Run: func(ctx context.Context, deps map[string]lookup.Output) (lookup.Output, error) {
				return r.run(ctx, a, deps)
			},
		}
	}
	graph, err := dag.New(nodes)
	if err != nil {
		return r.out, err
	}
	outcome, err := graph.Run(ctx, dag.Options{Slots: o.Slots, FailFast: o.FailFast, Limit: o.Limit, Events: r.event})
	for name, st := range outcome {
		switch {
		case st.State.OK():
			r.out.Outputs[name] = st.Result
		case st.State == dag.Waiting:
			r.out.Left++
		}
	}
	var failed *dag.FailedError
	if errors.As(err, &failed) {
		err = nil
	}
	return r.out, err
}

type runner struct {
	byName map[string]*layout.Action
	s      *store.Store
	j      *store.Journal
	w      Worker
	o      Options
	log    *zerolog.Logger

	repairs singleflight.Group // by action: its damaged artifact is computed again once

	mu      sync.Mutex
	outputs map[string]lookup.Output // of what was looked up or run, by name
	out     *Outcome
}

// outputs gives the artifacts of what an action reads.
func outputs(deps map[string]lookup.Output) func(*layout.Action) store.OutputID {
	return func(a *layout.Action) store.OutputID { return deps[a.Name].ID }
}

// lookup finds an action's artifact in the index. Its bytes are checked when
// something reads them.
func (r *runner) lookup(ctx context.Context, a *layout.Action, deps map[string]lookup.Output) (lookup.Output, bool, error) {
	id := a.Key(r.o.Backend, outputs(deps)).ID()
	e, err := r.s.Lookup(id)
	switch {
	case err == nil:
		return r.keep(a, lookup.Output{ID: e.Output, Action: id, Dir: r.s.Path(e.Output)}), true, nil
	case errors.Is(err, store.ErrNotFound):
		r.damaged(a, err)
		return lookup.Output{}, false, nil
	}
	return lookup.Output{}, false, err
}

// damaged warns of an artifact that was there and cannot be read.
func (r *runner) damaged(a *layout.Action, err error) {
	if store.Damaged(err) {
		r.log.Warn().Str("stage", string(a.Kind)).Str("action", a.Name[:12]).Str("arm", a.Rows()).Err(err).Msg("damaged in the store; computing it again")
	}
}

// keep remembers the output of an action, for those that read it.
func (r *runner) keep(a *layout.Action, out lookup.Output) lookup.Output {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outputs[a.Name] = out
	return out
}

// inputs checks every byte of what an action reads, and computes again what is
// damaged.
func (r *runner) inputs(ctx context.Context, a *layout.Action, deps map[string]lookup.Output) error {
	for _, in := range a.Inputs {
		want := deps[in.Action.Name]
		_, err := r.s.Artifact(ctx, want.ID)
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		r.damaged(in.Action, err)
		_, err, _ = r.repairs.Do(in.Action.Name, func() (any, error) { return nil, r.repair(ctx, in.Action, want) })
		if err != nil {
			return fmt.Errorf("its %s is damaged in the store: %w", in.Name, err)
		}
	}
	return nil
}

// repair computes an action again whose artifact is damaged.
func (r *runner) repair(ctx context.Context, a *layout.Action, want lookup.Output) error {
	deps := map[string]lookup.Output{}
	r.mu.Lock()
	for _, in := range a.Inputs {
		deps[in.Action.Name] = r.outputs[in.Action.Name]
	}
	r.mu.Unlock()
	got, err := r.run(ctx, a, deps)
	if err == nil && got.ID != want.ID {
		return fmt.Errorf("%s gave %s where it gave %s before: run again, so that what reads it is computed from the new one",
			a.Label(), got.ID.Short(), want.ID.Short())
	}
	return err
}

// run computes an action, again if its worker died.
func (r *runner) run(ctx context.Context, a *layout.Action, deps map[string]lookup.Output) (lookup.Output, error) {
	if err := r.inputs(ctx, a, deps); err != nil {
		return lookup.Output{}, err
	}
	for try := 1; ; try++ {
		out, err := r.attempt(ctx, a, deps)
		if err == nil {
			return r.keep(a, out), nil
		}
		if ctx.Err() != nil || try == attempts || launch.Class(err) != launch.ClassCrash {
			return out, err
		}
		r.log.Warn().Str("stage", string(a.Kind)).Str("action", a.Name[:12]).Str("arm", a.Rows()).Err(err).Msg("trying once more")
	}
}

func (r *runner) attempt(ctx context.Context, a *layout.Action, deps map[string]lookup.Output) (out lookup.Output, err error) {
	key := a.Key(r.o.Backend, outputs(deps))
	event := store.Event{Kind: store.Started, Time: r.o.Now(), Action: key.ID(), Stage: string(a.Kind), Cost: a.Cost,
		Device: r.o.Machine.Device, Backend: r.o.Machine.Backend, Versions: r.o.Machine.Versions, CPU: r.o.Machine.CPU}
	event.Environment = r.o.Machine.Environment
	if len(a.Trials) > 0 {
		event.Trial, event.View = a.Trials[0], a.Views[0]
	}
	if err := r.j.Append(event); err != nil {
		return out, err
	}
	r.log.Debug().Str("stage", string(a.Kind)).Str("arm", a.Rows()).Str("action", a.Name[:12]).Str("id", key.ID().String()).Str("key", key.Text()).Msg("key")
	defer func() {
		now := r.o.Now()
		end := store.Event{Kind: store.Finished, Time: now, Action: key.ID(), Worker: event.Worker, Seconds: now.Sub(event.Time).Seconds()}
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
		t.Inputs[in.Name] = deps[in.Action.Name].Dir
	}
	reply, err := r.w.Do(ctx, t, string(a.Kind), func(p launch.Progress) { r.tell(Event{Action: a, Kind: Working, Progress: p}) })
	event.Worker = reply.Worker
	if err != nil {
		if ctx.Err() == nil {
			err = r.logged(a, key, t, err)
		}
		return out, r.s.Diagnose(declassify(err))
	}
	var made Made
	if err := json.Unmarshal(reply.Values, &made); err != nil {
		return out, fmt.Errorf("%s: the worker's reply: %w", a.Kind, err)
	}
	e, err := w.Commit(ctx, store.Commit{Made: r.o.Machine.Environment, Build: r.o.Machine.Build, Written: made.Manifest})
	if err != nil {
		return out, err
	}
	warn := func(msg string, was store.OutputID) {
		r.log.Warn().Str("stage", string(a.Kind)).Str("action", a.Name[:12]).Str("arm", a.Rows()).Str("kept", e.Output.Short()).Str("other", was.Short()).
			Str("differs", e.Difference).Msg(msg)
	}
	switch {
	case !e.Replaced.IsZero():
		warn("its earlier bytes were lost, and it gave others now", e.Replaced)
	case !e.Rejected.IsZero():
		warn("another run has computed it meanwhile, with other bytes; the first result is kept. Processors, drivers or flags differ", e.Rejected)
	}
	r.forget(a, key)
	return lookup.Output{ID: e.Output, Action: e.Action, Dir: r.s.Path(e.Output)}, nil
}

// Made is what a worker replies: the manifest of what it wrote, so that files
// which are lost before they reach the store are missed.
type Made struct {
	Manifest string `json:"manifest"`
}

// event passes on what the graph says and counts it.
func (r *runner) event(e dag.Event) {
	a := r.byName[e.Name]
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
		out.Kind = Failed
		r.out.Failures = append(r.out.Failures, Failure{a, e.Err})
	case dag.EventSkipped:
		out.Kind, out.Err = Skipped, fmt.Errorf("%s failed", r.byName[e.Root].Label())
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
