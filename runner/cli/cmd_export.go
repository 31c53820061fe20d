package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ablate/runner/stage"
	"ablate/runner/study"
)

func newExport(g *globals) *cobra.Command {
	var f studyFlags
	var out string
	cmd := &cobra.Command{
		Use:   "export STUDY TRIAL -o DIR",
		Short: "Write a trial's fine-tuned checkpoint in the diffusers layout",
		Long: `Writes the fine-tuned model of a trial (or the pretrained one, where the trial
fine-tunes nothing) as a checkpoint folder in the layout of Hugging Face
diffusers: model_index.json, scheduler, text encoder and transformer, and the
embedder of its reward. 'model: checkpoint: path: "DIR"' in a study adopts it.

TRIAL is the beginning of a trial's id, or a view such as 'all data@1'.
` + exitHelp,
		Example: "  ablate export experiments/quickstart 'all data@1' -o all-data",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("export: name the folder to write with -o DIR")
			}
			return runExport(cmd.Context(), g, f, args[0], args[1], out)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "folder to write; it must not exist, or be empty")
	return cmd
}

func runExport(ctx context.Context, g *globals, f studyFlags, path, trial, out string) error {
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
	class, err := backendClass()
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
	dir, ok := found[model.Name]
	if !ok {
		return fmt.Errorf("export: %s has no model yet: run 'ablate run %s' first", v, path)
	}
	if err := copyTree(dir.Dir, out); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := os.Remove(filepath.Join(out, "curves.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("export: %w", err)
	}
	// The embedder is the pretraining's; any trial of the same pretraining has it.
	embedder := c.Embedder
	for _, o := range l.Graph.Chains {
		if embedder == nil && o.Model == c.Model && o.Embedder != nil {
			embedder = o.Embedder
		}
	}
	if embedder != nil && embedder.Kind == stage.Embed {
		if e, ok := found[embedder.Name]; ok {
			if err := copyTree(filepath.Join(e.Dir, "embedder"), filepath.Join(out, "embedder")); err != nil {
				return fmt.Errorf("export: %w", err)
			}
		}
	}
	fmt.Fprintln(g.stdout, out)
	return nil
}
