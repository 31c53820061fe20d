package result

import (
	"fmt"

	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
)

// A reader reads what tables are made from. Lists of prompts, which all trials of a seed
// share, are read once.
type reader struct {
	found   *lookup.Found
	prompts map[*layout.Action][]stage.Prompt
}

// list is a list of prompts, nil where there is none.
func (r *reader) list(a *layout.Action) ([]stage.Prompt, error) {
	if rows, ok := r.prompts[a]; ok {
		return rows, nil
	}
	dir, ok := r.found.Dir(a)
	if !ok {
		return nil, nil
	}
	rows, err := stage.ReadPrompts(dir)
	if err != nil {
		return nil, err
	}
	if r.prompts == nil {
		r.prompts = map[*layout.Action][]stage.Prompt{}
	}
	r.prompts[a] = rows
	return rows, nil
}

// sets reads the sets of an action's artifact, none where there is none.
func sets[S any](r *reader, a *layout.Action, read func(dir string) ([]S, error)) ([]S, error) {
	dir, ok := r.found.Dir(a)
	if !ok {
		return nil, nil
	}
	return read(dir)
}

// one is the set of an artifact that must have one; false where there is none.
func one[S any](r *reader, a *layout.Action, read func(dir string) ([]S, error)) (s S, ok bool, err error) {
	dir, ok := r.found.Dir(a)
	if !ok {
		return s, false, nil
	}
	s, err = stage.Only(read(dir))
	return s, true, err
}

// judged are the prompts of a trial's alignment, and the verdicts on their images; false
// where there are none.
func (r *reader) judged(c layout.Chain) (prompts []stage.Prompt, v stage.VerdictSet, ok bool, err error) {
	if prompts, err = r.list(c.Action(layout.AlignmentPrompts)); err != nil || prompts == nil {
		return nil, v, false, err
	}
	a := c.Action(layout.AlignmentVerdicts)
	if v, ok, err = one(r, a, stage.ReadVerdicts); err == nil && ok && len(v.Labels) != len(prompts) {
		err = fmt.Errorf("%s has %d verdicts for %d prompts", r.found.Outputs[a.Name].Dir, len(v.Labels), len(prompts))
	}
	return prompts, v, ok, err
}
