package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// An Overlap is the number of prompts on which a trial's model is evaluated that it is also trained
// on, of all of them: prompts of its training images and captions of its pretraining images. Of a
// grammar, all that are held out count as evaluated.
type Overlap struct{ N, Of int }

// overlaps returns the overlaps of trials that have one. It returns an error if there is more than the
// study allows.
func (p Project) overlaps(files promptFiles, folder pictureFolders) (map[language.ID]Overlap, error) {
	type names struct{ train, pretraining, evaluate, grammar string }
	seen, folders := map[names]Overlap{}, map[string][]string{}
	captionsOf := func(name string) ([]string, error) {
		if list, ok := folders[name]; ok || name == "" {
			return list, nil
		}
		list, err := captions(folder, p.path(name))
		if err != nil {
			return nil, p.mistake("finetune.pretraining", name, err.Error(), "")
		}
		folders[name] = list
		return list, nil
	}
	file := func(axis, name string) (texts []string, err error) {
		if name == "" {
			return nil, nil
		}
		list, err := p.prompts(files, axis, name)
		for _, q := range list {
			texts = append(texts, q.Text)
		}
		return texts, err
	}
	out := map[language.ID]Overlap{}
	for _, v := range p.Study.Views {
		c := v.Trial.Content
		of := names{c.Name("prompts.train"), c.Name("finetune.pretraining"), c.Name("prompts.evaluate"), c.Name("prompts.grammar")}
		if of.evaluate == "" && of.grammar == "" || of.train == "" && of.pretraining == "" {
			continue
		}
		o, ok := seen[of]
		if !ok {
			evaluated, err := file("prompts.evaluate", of.evaluate)
			if err == nil && of.grammar != "" {
				var g *world.Grammar
				if g, err = world.GrammarOf(of.grammar); err == nil {
					evaluated = g.HeldOut()
				}
			}
			if err != nil {
				return nil, err
			}
			trained, err := file("prompts.train", of.train)
			if err != nil {
				return nil, err
			}
			captions, err := captionsOf(of.pretraining)
			if err != nil {
				return nil, err
			}
			o.Of = len(evaluated)
			in, example, where := map[string]string{}, "", ""
			for axis, list := range map[string][]string{"prompts.train": trained, "finetune.pretraining": captions} {
				for _, text := range list {
					in[stage.Normal(text)] = max(axis, in[stage.Normal(text)])
				}
			}
			for _, text := range evaluated {
				if axis, ok := in[stage.Normal(text)]; ok {
					if o.N++; o.N == 1 {
						example, where = text, axis
					}
				}
			}
			if o.N > p.Study.Overlap && of.grammar != "" {
				return nil, p.mistake(where, of.pretraining, fmt.Sprintf("%d of the %d prompts of the grammar that are held out are among its captions (as %q)", o.N, o.Of, example),
					fmt.Sprintf("leave these pictures out, or write overlap: %d in the study if that is meant", o.N))
			}
			if o.N > p.Study.Overlap {
				return nil, p.mistake("prompts.evaluate", of.evaluate, fmt.Sprintf("%d of %d prompts are in %s (as %q)", o.N, o.Of, where, example),
					fmt.Sprintf("leave them out of one of the two, or write overlap: %d in the study if that is meant", o.N))
			}
			seen[of] = o
		}
		if o.N > 0 {
			out[v.Trial.ID()] = o
		}
	}
	return out, nil
}

// promptFiles reads files of prompts, each once.
type promptFiles func(path string) ([]stage.FilePrompt, error)

func newPromptFiles() promptFiles {
	known := map[string][]stage.FilePrompt{}
	return func(path string) ([]stage.FilePrompt, error) {
		if list, ok := known[path]; ok {
			return list, nil
		}
		list, err := stage.ReadPromptFile(path)
		if err == nil {
			known[path] = list
		}
		return list, err
	}
}

// prompts returns the prompts of a file that a trial has at an axis. The error names its place in the
// study.
func (p Project) prompts(files promptFiles, axis, name string) ([]stage.FilePrompt, error) {
	list, err := files(p.path(name))
	if err != nil {
		return nil, p.mistake(axis, name, err.Error(), "")
	}
	return list, nil
}

// captions returns the captions of a folder of pictures. Those that are missing are an error of the
// training that needs them.
func captions(folder pictureFolders, dir string) (texts []string, err error) {
	files, err := folder(dir)
	if files == nil || err != nil {
		return nil, err
	}
	for _, f := range files.Files {
		if filepath.Ext(f.Name) == ".txt" {
			text, err := os.ReadFile(filepath.Join(files.Root, f.Name))
			if err != nil {
				return nil, err
			}
			texts = append(texts, strings.TrimSpace(string(text)))
		}
	}
	return texts, nil
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
