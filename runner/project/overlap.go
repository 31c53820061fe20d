package project

import (
	"errors"
	"fmt"
	"path/filepath"

	"ablate/experiments/language"
	"ablate/runner/stage"
)

// checkOverlap returns an error if a trial is trained on prompts on which models are evaluated,
// more of them than the study allows.
func (p Project) checkOverlap() error {
	seen := map[[2]string]bool{}
	for _, v := range p.Study.Views {
		c := v.Trial.Content
		train, evaluate := c.Name("prompts.train"), c.Name("prompts.evaluate")
		if train == "" || evaluate == "" || seen[[2]string{train, evaluate}] {
			continue
		}
		seen[[2]string{train, evaluate}] = true
		in := map[string]bool{}
		trained, err := stage.ReadPromptFile(p.path(train))
		if err != nil {
			return p.mistake("prompts.train", train, err.Error(), "")
		}
		for _, q := range trained {
			in[stage.Normal(q.Text)] = true
		}
		evaluated, err := stage.ReadPromptFile(p.path(evaluate))
		if err != nil {
			return p.mistake("prompts.evaluate", evaluate, err.Error(), "")
		}
		n, example := 0, ""
		for _, q := range evaluated {
			if in[stage.Normal(q.Text)] {
				if n++; n == 1 {
					example = q.Text
				}
			}
		}
		if n > p.Study.Overlap {
			return p.mistake("prompts.evaluate", evaluate, fmt.Sprintf("%d of %d prompts are in prompts.train (as %q)", n, len(evaluated), example),
				fmt.Sprintf("leave them out of one of the files, or write overlap: %d in the study if that is meant", n))
		}
	}
	return nil
}

// path returns the absolute path of a file that the study names.
func (p Project) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Study.Dir, name)
}

// mistake returns an error about a file that a trial has at an axis, at the place where the study
// names it.
func (p Project) mistake(axis, name, msg, hint string) error {
	for _, f := range p.Study.Files {
		if f.Axis == axis && f.Path == p.path(name) {
			return &language.Errors{List: []*language.Error{f.Mistake(msg, hint)}}
		}
	}
	return errors.New(axis + ": " + msg)
}
