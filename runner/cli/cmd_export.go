package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/experiments/language"
	"ablate/runner/export"
	"ablate/runner/project"
	"ablate/runner/selection"
)

type exportOptions struct {
	studyOptions
	output string
	json   bool
}

func (o *exportOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringVarP(&o.output, "output", "o", "", "folder to write, which must be empty or not exist (required)")
	f.BoolVar(&o.json, "json", false, "print what was written as JSON")
}

const exportFormat = "ablate.export/1"

// exportDocument is what export prints as JSON.
type exportDocument struct {
	head
	Folder string `json:"folder"` // path of the folder that was written
	View   string `json:"view"`   // row and seed of the trial, "ROW@SEED"
	Trial  string `json:"trial"`  // id of the trial
}

func newExport(g *globals) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export STUDY TRIAL -o DIR",
		Short: "Write a trial's fine-tuned checkpoint in the diffusers layout",
		Long: `Writes the fine-tuned model of a trial as a checkpoint folder in the layout of Hugging
Face diffusers. If the trial fine-tunes nothing, the pretrained model is written. The
folder contains model_index.json, scheduler, text encoder and transformer, the embedder
that the trial's reward was learned on, and the adapter of a low-rank fine-tuning.
diffusers has no pipeline for the shapes world; sample.py in the folder draws images
with numpy and safetensors alone. A study starts from the folder if it declares
'model: checkpoint: path: "DIR"'.

TRIAL is the beginning of a trial's id, or a row and a seed such as 'all data@1'.
` + exitHelp,
		Example: "  ablate export experiments/quickstart 'all data@1' -o all-data",
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return runExport(cmd.Context(), g, o, args[0], args[1]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runExport(ctx context.Context, g *globals, o exportOptions, path, trial string) error {
	if o.output == "" {
		return usagef("export: -o is missing: name the folder to write with -o DIR")
	}
	p, v, class, err := g.trial(ctx, path, o.studyOptions, trial)
	if err != nil {
		return err
	}
	if err := export.Write(ctx, p, class, v, o.output); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if o.json {
		return printJSON(g.stdout, exportDocument{head{exportFormat}, o.output, v.String(), v.Trial.ID().String()})
	}
	_, err = fmt.Fprintln(g.stdout, o.output)
	return err
}

// trial loads a study, and returns one of its trials and the class of backend of its results.
func (g *globals) trial(ctx context.Context, path string, o studyOptions, name string) (p project.Project, v language.View, class string, err error) {
	if p, err = g.load(ctx, path, o); err == nil {
		v, err = selection.Trial(p.Study, name)
	}
	if err == nil {
		class, err = p.Class(o.backend)
	}
	return p, v, class, err
}
