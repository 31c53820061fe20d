package project

import (
	"context"
	"encoding/json"
	"fmt"

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
func (e *Estimates) Of(a *layout.Action) *engine.Estimate {
	if e == nil {
		return nil
	}
	return e.of[a]
}

// Estimate asks the engines that estimate their tasks what actions will need. An engine that
// fails is a note. progress is called before an engine is asked, which may take minutes; the
// answers are kept.
func (p Project) Estimate(ctx context.Context, actions []*layout.Action, need func(*layout.Action) resource.Need, progress func(engine string, tasks int)) (*Estimates, error) {
	out := &Estimates{of: map[*layout.Action]*engine.Estimate{}}
	for _, declared := range p.Study.Engines {
		var tasks []engine.EstimateTask
		like := map[string][]*layout.Action{} // by task
		var order []string
		d, err := p.Describe(ctx, declared.Name)
		if err != nil {
			return nil, err
		}
		for _, a := range actions {
			if stage.EngineOf(a.Params) != declared.Name {
				continue
			}
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
			if like[string(text)] == nil {
				tasks, order = append(tasks, t), append(order, string(text))
			}
			like[string(text)] = append(like[string(text)], a)
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
		said := map[string]bool{}
		for i, e := range found {
			if note := fmt.Sprintf("engine %s has no estimate of %s: %s", declared.Name, tasks[i].Verb, e.Error); e.Error != "" && !said[note] {
				out.Notes, said[note] = append(out.Notes, note), true
			}
			for _, a := range like[order[i]] {
				out.of[a] = &found[i]
			}
		}
	}
	return out, nil
}
