// Package run runs the actions of a study that are missing in the store: with retries,
// repairs of damaged artifacts, a journal and logs.
package run

import (
	"context"
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

// Machine is what an attempt ran on.
type Machine struct {
	Device, Backend, Versions, CPU string

	// Environment lists, a line each, what may change the last digits of a result on a
	// backend of the same class: plugin, driver, processor, flags.
	Environment string
	Build       string // of this program
}

// Event is a step of a run.
type Event struct {
	Action   *layout.Action
	Kind     EventKind
	Progress launch.Progress
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

// Outcome is the result of a run.
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

// Run runs the actions of a graph that are missing in the store. The outcome is not nil
// even with an error, which is the cause of ctx's end or comes from the store; failures of
// actions are in the outcome.
func Run(ctx context.Context, g *layout.Graph, s *store.Store, j *store.Journal, w Worker, o Options) (*Outcome, error) {
	r := &runner{s: s, j: j, w: w, o: o, log: zerolog.Ctx(ctx), out: &Outcome{Outputs: map[string]lookup.Output{}},
		byName: map[string]*layout.Action{}, outputs: map[string]lookup.Output{}}
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
			Lookup: func(_ context.Context, in outputs) (lookup.Output, bool, error) { return r.lookup(a, in) },
			Run:    func(ctx context.Context, in outputs) (lookup.Output, error) { return r.run(ctx, a, in) },
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
	s   *store.Store
	j   *store.Journal
	w   Worker
	o   Options
	log *zerolog.Logger
	out *Outcome

	byName  map[string]*layout.Action
	repairs singleflight.Group // by action: a damaged artifact that several actions read is computed again once

	mu      sync.Mutex
	outputs map[string]lookup.Output // of actions that were looked up or run, by name
}

// event counts an event of the graph, and passes it on.
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
	r.emit(out)
}

func (r *runner) emit(e Event) {
	if r.o.Events != nil {
		r.o.Events(e)
	}
}
