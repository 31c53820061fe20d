package cli

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"ablate/runner/stage"
	"ablate/runner/study"
)

//go:embed export/sample.py
var samplePython []byte

//go:embed export/README.md
var exportReadme []byte

func newExport(g *globals) *cobra.Command {
	var f studyFlags
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "export STUDY TRIAL -o DIR",
		Short: "Write a trial's fine-tuned checkpoint in the diffusers layout",
		Long: `Writes the fine-tuned model of a trial (or the pretrained one, where the trial
fine-tunes nothing) as a checkpoint folder in the layout of Hugging Face
diffusers: model_index.json, scheduler, text encoder and transformer, the embedder
of its reward, and the adapter of a low-rank fine-tuning. sample.py beside them
draws images with numpy and safetensors alone; diffusers itself has no pipeline of
the shapes world. 'model: checkpoint: path: "DIR"' in a study adopts the folder.

TRIAL is the beginning of a trial's id, or a view such as 'all data@1'.
` + exitHelp,
		Example: "  ablate export experiments/quickstart 'all data@1' -o all-data",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("export: name the folder to write with -o DIR")
			}
			return runExport(cmd.Context(), g, f, args[0], args[1], out, asJSON)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "folder to write; it must not exist, or be empty")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was written as JSON")
	return cmd
}

func runExport(ctx context.Context, g *globals, f studyFlags, path, trial, out string, asJSON bool) error {
	l, err := g.load(ctx, path, f)
	if err != nil {
		return err
	}
	v, err := l.findTrial(trial)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return fmt.Errorf("export: %s is not empty: name another folder", out)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("export: %w", err)
	}
	class, err := l.class(f.backend)
	if err != nil {
		return err
	}
	found, err := study.Collect(l.Graph, l.Store, class)
	if err != nil {
		return err
	}
	c := l.Graph.Chains[v.Trial.ID()]
	model := c.Finetune
	if model == nil {
		model = c.Model
	}
	dir, err := found.Verified(ctx, l.Store, model)
	if err != nil {
		return err
	}
	if dir == "" {
		return fmt.Errorf("export: %s has no model, or a damaged one: run 'ablate run %s' first", v, path)
	}
	required, embedder := stage.CheckpointFiles()
	if err := copyFiles(dir, out, slices.Concat(required, embedder, stage.AdapterFiles())); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	// The embedder is the pretraining's; any trial of the same pretraining has it.
	// That of an adopted model is in the adopted folder.
	from := c.Embedder
	for _, o := range l.Graph.Chains {
		if from == nil && o.Model == c.Model && o.Embedder != nil {
			from = o.Embedder
		}
	}
	if from == nil && c.Model.Kind == stage.Adopt {
		from = c.Model
	}
	if from != nil {
		dir, err := found.Verified(ctx, l.Store, from)
		if err != nil {
			return err
		}
		if dir != "" {
			if err := copyFiles(dir, out, embedder); err != nil {
				return fmt.Errorf("export: %w", err)
			}
		}
	}
	s := v.Trial.Content.Config().Sampler
	if err := stage.WriteScheduler(out, s.Steps, s.Shift); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	for name, text := range map[string][]byte{"sample.py": samplePython, "README.md": exportReadme} {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o666); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	if asJSON {
		return writeJSON(g.stdout, map[string]string{"folder": out, "view": v.String(), "trial": v.Trial.ID().String()})
	}
	_, err = fmt.Fprintln(g.stdout, out)
	return err
}

// copyFiles copies those of some files that a folder has.
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
