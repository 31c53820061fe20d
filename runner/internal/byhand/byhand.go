// Package byhand makes actions for tests that no study has.
package byhand

import "ablate/runner/layout"

// Name returns a structural name that begins with the bytes of s.
func Name(s string) (n layout.Name) {
	copy(n[:], s)
	return n
}

// Action returns an action of a name that a view needs; none if view is empty.
func Action(name, view string, spec layout.Spec, inputs ...layout.Input) *layout.Action {
	a := &layout.Action{Name: Name(name), Spec: &spec}
	for _, in := range inputs {
		spec.Reads = append(spec.Reads, in.Name)
		a.Inputs = append(a.Inputs, in.Action)
	}
	if view != "" {
		a.Trial = &layout.Trial{View: view}
	}
	return a
}
