package result

import (
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
)

// A reader reads the artifacts from which tables are made. It reads each list of prompts
// only once, because all trials of a seed share it.
type reader struct {
	found   *lookup.Found
	prompts map[*layout.Action][]stage.Prompt
}

// list reads a list of prompts. It is nil if the store does not have it.
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
	r.prompts[a] = rows
	return rows, nil
}

// sets reads the sets of an action's artifact, none if the store does not have it.
func sets[S any](r *reader, a *layout.Action, read func(dir string) ([]S, error)) ([]S, error) {
	dir, ok := r.found.Dir(a)
	if !ok {
		return nil, nil
	}
	return read(dir)
}

// one reads an artifact that has exactly one set. ok is false if the store does not have
// the artifact.
func one[S any](r *reader, a *layout.Action, read func(dir string) ([]S, error)) (s S, ok bool, err error) {
	dir, ok := r.found.Dir(a)
	if !ok {
		return s, false, nil
	}
	s, err = stage.Only(read(dir))
	return s, true, err
}

// judged reads the prompts of the alignment images of a trial and the verdicts on these
// images. ok is false if the store lacks either.
func (r *reader) judged(c layout.Chain) (prompts []stage.Prompt, v stage.VerdictSet, ok bool, err error) {
	if prompts, err = r.list(c.Action(layout.AlignmentPrompts)); err != nil || prompts == nil {
		return nil, v, false, err
	}
	v, ok, err = r.verdicts(c.Action(layout.AlignmentVerdicts), len(prompts))
	return prompts, v, ok, err
}

// verdicts reads a judge's verdicts or numbers on the images of n prompts.
func (r *reader) verdicts(a *layout.Action, n int) (stage.VerdictSet, bool, error) {
	return one(r, a, func(dir string) ([]stage.VerdictSet, error) { return stage.ReadVerdictsOf(dir, n) })
}

// beside returns the values by image of each of the study's judges, nil where the store does not have
// them. They are in the order of the judges.
func (r *reader) beside(c layout.Chain) (out [][]float64, err error) {
	prompts, err := r.list(c.Action(layout.AlignmentPrompts))
	if err != nil || prompts == nil {
		return nil, err
	}
	for _, a := range c.All(layout.Judgements) {
		v, ok, err := r.verdicts(a, len(prompts))
		if err != nil {
			return nil, err
		}
		var values []float64
		if ok {
			values = v.Values()
		}
		out = append(out, values)
	}
	return out, nil
}
