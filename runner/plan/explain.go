package plan

import (
	"fmt"
	"strings"

	"ablate/runner/layout"
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
	Nearest string       `json:"nearest,omitempty"` // id of the most similar earlier action
	Changed []Difference `json:"changed,omitempty"`
}

// Explain explains each action of a chain, in the order of the graph.
func (p *Plan) Explain(chain layout.Chain, s *store.Store) ([]Explanation, error) {
	in := map[*layout.Action]bool{}
	for _, a := range chain.Actions() {
		in[a] = true
	}
	var list []Explanation
	there := map[*layout.Action]store.OutputID{}
	for _, step := range p.Steps {
		if step.State == Cached {
			there[step.Action] = step.Output
		}
		if !in[step.Action] {
			continue
		}
		e, err := p.explain(step, there, s)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// explain explains a step. there has the artifacts of the cached steps before it.
func (p *Plan) explain(step Step, there map[*layout.Action]store.OutputID, s *store.Store) (Explanation, error) {
	a := step.Action
	e := Explanation{Stage: string(a.Kind), List: listOf(a), State: step.State, Reason: step.Reason}
	if step.Key != nil {
		e.Action = step.Key.ID().String()
		e.Key = strings.Split(strings.TrimSpace(step.Key.Text()), "\n")
	} else {
		for _, l := range a.Lines {
			e.Key = append(e.Key, "set "+l)
		}
		for _, i := range a.Inputs {
			if output, ok := there[i.Action]; ok {
				e.Key = append(e.Key, fmt.Sprintf("input %s %s", output, i.Name)) // in the form of store.Key.Text
			} else {
				e.Key = append(e.Key, fmt.Sprintf("input of %s, not there yet: %s", i.Action.Kind, i.Name))
			}
		}
	}
	if step.State == Cached {
		e.Output = step.Output.String()
		return e, nil
	}
	near, diffs, ok, err := p.Nearest(a, s)
	if ok {
		e.Nearest, e.Changed = near.Action.String(), diffs
	}
	return e, err
}
