package run

import (
	"context"
	"iter"
	"time"

	"ablate/runner/dag"
	"ablate/runner/layout"
)

// work is the actions of a graph, for the scheduler: their positions are its nodes.
type work struct {
	g *layout.Graph
	r *runner
}

func (w work) action(i int) *layout.Action { return w.g.Actions[i] }

func (w work) Len() int { return len(w.g.Actions) }

func (w work) Deps(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, in := range w.action(i).Inputs {
			if !yield(w.g.Position(in)) {
				return
			}
		}
	}
}

func (w work) Hint(i int) dag.Hint {
	a := w.action(i)
	return dag.Hint{Priority: -int(a.Turn), Cost: time.Duration(a.Cost * float64(time.Second)), Need: w.r.o.Need(a).String()}
}

func (w work) Lookup(_ context.Context, i int) (bool, error) {
	_, ok, err := w.r.lookup(w.action(i))
	return ok, err
}

func (w work) Run(ctx context.Context, i int) error {
	a := w.action(i)
	_, err := w.r.run(ctx, a, func() { w.r.emit(Event{Action: a, Kind: Started}) })
	return err
}

// Begin, Take and Give make the work its own room.
func (w work) Begin()          { w.r.o.Room.Begin() }
func (w work) Take(i int) bool { return w.r.room.take(w.action(i)) }
func (w work) Give(i int)      { w.r.room.give(w.action(i)) }

func (w work) admit(i int) bool     { return w.r.admit(w.action(i)) }
func (w work) elsewhere(i int) bool { return w.r.room.elsewhere(w.action(i)) }
