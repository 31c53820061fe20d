package result

import (
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

// first is the set of a model at its end; false where there is none.
func first[S any](r *reader, a *layout.Action, read func(dir string) ([]S, error)) (s S, ok bool, err error) {
	all, err := sets(r, a, read)
	if err != nil || len(all) == 0 {
		return s, false, err
	}
	return all[0], true, nil
}
