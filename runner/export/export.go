// Package export writes a trial's model as a checkpoint folder in the layout of Hugging
// Face diffusers, together with a Python script that draws images from it.
package export

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/stage"
)

//go:embed sample.py
var samplePython []byte

//go:embed README.md
var readme []byte

// Write writes the model of a view's trial into the folder out, which must be empty or
// not exist. The model is the fine-tuned one, or the pretrained one if the trial
// fine-tunes nothing. The embedder of the trial's reward is written too, if the store has
// it. class is the class of backend that computed the model. Of an engine's model, the checkpoint
// is written as the engine made it, and the one on which it is based below base.
func Write(ctx context.Context, p project.Project, class string, v language.View, out string) error {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: give another folder", out)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	found, err := p.Find(p.Graph, class)
	if err != nil {
		return err
	}
	m, err := p.Model(ctx, found, v)
	if err != nil {
		return err
	}
	c, model, tuned := p.Graph.Chains[v.Trial.ID()], m.Base, m.Tuned
	if stage.EngineOf(c.Action(layout.Model).Params) != "" {
		return stage.ExportEngine(p.Store.Dir(), c.Action(layout.Model).Params.(stage.EngineLoadParams), model, tuned, out)
	}
	files, embedder := stage.CheckpointFiles()
	if tuned == "" {
		err = copyFiles(model, out, slices.Concat(files, embedder))
	} else if err = stage.Merge(model, tuned, out); err == nil {
		err = copyFiles(tuned, out, stage.AdapterFiles())
	}
	if err != nil {
		return err
	}
	if from := embedderOf(p.Graph, c); from != nil {
		dir, err := found.Verified(ctx, p.Store, from)
		if err != nil {
			return err
		}
		if dir != "" {
			if err := copyFiles(dir, out, embedder); err != nil {
				return err
			}
		}
	}
	if err := stage.WriteScheduler(out, v.Trial.Content.Whole("sampler.steps"), v.Trial.Content.Real("sampler.shift")); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"sample.py": samplePython, "README.md": readme} {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// embedderOf returns the action whose artifact has the embedder for the model of a chain,
// nil if there is none. A trial without an embedder may share its model with a trial that
// has one. An adopted model has its embedder in the adopted folder.
func embedderOf(g *layout.Graph, c layout.Chain) *layout.Action {
	if own := c.Action(layout.Embedder); own != nil {
		return own
	}
	model := c.Action(layout.Model)
	for _, other := range g.Chains {
		if embedder := other.Action(layout.Embedder); embedder != nil && other.Action(layout.Model) == model {
			return embedder
		}
	}
	if _, files := stage.CheckpointFiles(); model.Kind.Def().Writes(files[0]) {
		return model
	}
	return nil
}

// copyFiles copies the files of names that exist in a folder.
func copyFiles(from, to string, names []string) error {
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(name)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(target, b, 0o666); err != nil {
			return err
		}
	}
	return nil
}
