package project

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"ablate/runner/engine"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// Estimates are what engines say that actions will need.
type Estimates struct {
	of    map[*layout.Action]*engine.Estimate
	Notes []string // why there are no estimates of some, for people
}

// Of returns the estimate of an action; nil if there is none.
func (e *Estimates) Of(a *layout.Action) *engine.Estimate { return e.of[a] }

// Any reports whether there is an estimate.
func (e *Estimates) Any() bool { return len(e.of) > 0 }

// Estimate asks the engines that estimate their tasks what actions will need. An engine that
// fails is a note. progress is called before an engine is asked, which may take minutes; the
// answers are kept.
func (p Project) Estimate(ctx context.Context, actions []*layout.Action, need func(*layout.Action) resource.Need, progress func(engine string, tasks int)) (*Estimates, error) {
	out := &Estimates{of: map[*layout.Action]*engine.Estimate{}}
	by := map[string][]*layout.Action{} // by engine
	for _, a := range actions {
		if name := stage.EngineOf(a.Params); name != "" {
			by[name] = append(by[name], a)
		}
	}
	for _, declared := range p.Study.Engines {
		if len(by[declared.Name]) == 0 {
			continue
		}
		d, err := p.Describe(ctx, declared.Name)
		if err != nil {
			return nil, err
		}
		var tasks []engine.EstimateTask
		known, at := map[string]int{}, map[*layout.Action]int{} // indices of tasks, by their text and by action
		for _, a := range by[declared.Name] {
			if v := d.Description.Verbs[a.Kind.Def().Verb]; v == nil || !v.Estimate {
				continue
			}
			t, ok, err := stage.EstimateOf(a.Params)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			n := need(a)
			t.GPUs, t.CPUs = n.GPUs, max(1, n.CPUs)
			text, err := json.Marshal(t)
			if err != nil {
				return nil, err
			}
			if _, ok := known[string(text)]; !ok {
				known[string(text)] = len(tasks)
				tasks = append(tasks, t)
			}
			at[a] = known[string(text)]
		}
		if len(tasks) == 0 {
			continue
		}
		found, err := d.Engine.Estimate(ctx, engine.Cache(), d.source, tasks, func(n int) { progress(declared.Name, n) })
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			out.Notes = append(out.Notes, err.Error())
			continue
		}
		for a, i := range at {
			out.of[a] = &found[i]
		}
		for i, e := range found {
			if note := fmt.Sprintf("engine %s has no estimate of %s: %s", declared.Name, tasks[i].Verb, e.Error); e.Error != "" && !slices.Contains(out.Notes, note) {
				out.Notes = append(out.Notes, note)
			}
		}
	}
	return out, nil
}
