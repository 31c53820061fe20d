package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ablate/runner/layout"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// Explanation is the state of one action of a trial, and why.
type Explanation struct {
	Stage   string       `json:"stage"`
	List    string       `json:"list,omitempty"` // list of prompts that the action works on
	State   State        `json:"state"`
	Reason  string       `json:"reason,omitempty"`
	Action  string       `json:"action,omitempty"` // id of the action in the store, if its inputs exist
	Key     []string     `json:"key"`
	Output  string       `json:"output,omitempty"`
	Made    []string     `json:"made,omitempty"`    // how an engine made it, as "NAME VALUE": source, packages, hardware, …
	Nearest string       `json:"nearest,omitempty"` // id of the most similar earlier action
	Changed []Difference `json:"changed,omitempty"`
}

// Explain explains each action of a chain, in the order of the graph.
func (p *Plan) Explain(chain layout.Chain, s *store.Store) ([]Explanation, error) {
	actions := chain.Actions()
	slices.SortFunc(actions, func(a, b *layout.Action) int { return cmp.Compare(a.Index(), b.Index()) })
	var list []Explanation
	for _, a := range actions {
		e, err := p.explain(p.Steps[a.Index()], s)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func (p *Plan) explain(step Step, s *store.Store) (Explanation, error) {
	a := step.Action
	e := Explanation{Stage: string(a.Kind), List: listOf(a), State: step.State, Reason: step.Reason}
	if out, ok := p.found.Get(a); ok {
		e.Made = stage.MadeLines(out.Made)
	}
	if !slices.ContainsFunc(a.Inputs, p.missing) {
		key := a.Key(p.Backend, p.found.ID)
		e.Action = key.ID().String()
		e.Key = strings.Split(strings.TrimSpace(key.Text()), "\n")
	} else {
		for _, l := range a.Lines() {
			e.Key = append(e.Key, "set "+l)
		}
		for i, in := range a.Inputs {
			if p.missing(in) {
				e.Key = append(e.Key, fmt.Sprintf("input of %s, not there yet: %s", in.Kind, a.Reads[i]))
			} else {
				e.Key = append(e.Key, fmt.Sprintf("input %s %s", p.found.ID(in), a.Reads[i])) // in the form of store.Key.Text
			}
		}
	}
	if step.State == Cached {
		e.Output = p.found.ID(a).String()
		return e, nil
	}
	near, diffs, ok, err := p.Nearest(a, s)
	if ok {
		e.Nearest, e.Changed = near.Action.String(), diffs
	}
	return e, err
}

// missing reports whether an action has no artifact, or a damaged one.
func (p *Plan) missing(a *layout.Action) bool { return p.Steps[a.Index()].State != Cached }
