package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/device"
	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/resource"
	"ablate/runner/sample"
	"ablate/runner/stage"
	"ablate/runner/worker"
)

type sampleOptions struct {
	studyOptions
	prompts []string
	file    string
	n, step int
	seed    uint64
	output  string
	force   bool
	capacityOptions
	json bool
}

func (o *sampleOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringArrayVarP(&o.prompts, "prompt", "p", nil, "`TEXT` to draw images of (repeatable)")
	f.StringVar(&o.file, "prompts", "", "`FILE` of prompts, after those of --prompt: .txt, .jsonl or .tsv, as a study reads them")
	f.IntVarP(&o.n, "number", "n", 4, "draw `N` images of each prompt with each model")
	f.Uint64Var(&o.seed, "seed", 1, "seed `S` of the noise of each prompt's first image; the others have S+1, S+2, …")
	f.IntVar(&o.step, "step", 0, "draw with the checkpoint after step `N` of the fine-tuning (default: the last one)")
	f.StringVarP(&o.output, "output", "o", "", "`DIR` to write (required)")
	f.BoolVar(&o.force, "force", false, "replace files of the folder")
	o.capacityOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print what was drawn as JSON, as samples.json has it")
}

func newSample(g *globals) *cobra.Command {
	var o sampleOptions
	cmd := &cobra.Command{
		Use:   "sample STUDY TRIAL --prompt TEXT -o DIR",
		Short: "Draw images of your prompts with a trial's model, and with the pretrained one",
		Long: `Draws images with the fine-tuned model of a trial, and beside each the image that the
pretrained model draws from the same noise. The sampler has the parameters of the trial.
If the trial fine-tunes nothing, the pretrained model draws alone. Best of n is not
applied: each image is one draw.

DIR gets a PNG file of each image, the contact sheet sheet.png, and samples.json, which
names prompt, seed and model of each file. On the sheet, images of one column have the
same noise. Nothing is written before all images are drawn, and the store gets nothing.

The noise of an image depends on its seed alone. An image of the study is drawn again by
its prompt and the row seed that the artifact of its list of prompts has.

TRIAL is the beginning of a trial's id, or a row and a seed such as 'all data@1'. Models
that the store does not have yet are computed by 'ablate run'.
` + exitHelp,
		Example: "  ablate sample experiments/quickstart 'all data@1' --prompt 'two red circles' -n 8 -o circles\n" +
			"  ablate sample experiments/quickstart 'all data@1' --prompts prompts.txt --seed 7 -o pictures --force",
		Args:    cobra.ExactArgs(2),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return o.check(cmd.Flags()) },
		RunE:    func(cmd *cobra.Command, args []string) error { return runSample(cmd.Context(), g, o, args[0], args[1]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// check returns an error if a value is out of range or missing.
func (o *sampleOptions) check(f *pflag.FlagSet) error {
	if err := checkCounts("sample", f, "number", "step"); err != nil {
		return err
	}
	switch {
	case o.output == "":
		return usagef("sample: -o is missing: name the folder to write with -o DIR")
	case len(o.prompts) == 0 && o.file == "":
		return usagef("sample: no prompt: give --prompt TEXT, or --prompts FILE")
	case o.seed < 1 || o.seed > sample.MostSeed-uint64(o.n)+1:
		return usagef("sample: --seed is %d; must be from 1 to %d, so that -n %d images have seeds", o.seed, sample.MostSeed-o.n+1, o.n)
	}
	return o.capacityOptions.check("sample", f)
}

func runSample(ctx context.Context, g *globals, o sampleOptions, path, trial string) error {
	s := sample.Options{N: o.n, Seed: int64(o.seed), Step: o.step, Out: o.output, Force: o.force}
	for _, text := range o.prompts {
		s.Prompts = append(s.Prompts, stage.FilePrompt{Text: text})
	}
	if o.file != "" {
		list, err := stage.ReadPromptFile(o.file)
		if err != nil {
			return fmt.Errorf("sample: %w", err)
		}
		s.Prompts = append(s.Prompts, list...)
	}
	p, v, class, err := g.trial(ctx, path, o.studyOptions, trial)
	if err != nil {
		return err
	}
	d, err := sample.New(ctx, p, class, v, s)
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	doc, err := g.draw(ctx, p, d, class, o)
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(g.stderr, "ablate: interrupted; nothing was written")
		return printedError{context.Cause(ctx)}
	case err != nil:
		return fmt.Errorf("sample: %w", err)
	}
	g.warnSampled(ctx, d, doc)
	if o.json {
		err = printJSON(g.stdout, doc)
	} else {
		_, err = fmt.Fprintln(g.stdout, filepath.Join(o.output, doc.Sheet))
	}
	return errors.Join(err, undrawn(doc))
}

// warnSampled warns of prompts that the text encoder has not read to their end, and of images that the
// contact sheet leaves out.
func (g *globals) warnSampled(ctx context.Context, d *sample.Drawing, doc *sample.Document) {
	log, last := zerolog.Ctx(ctx), ""
	for _, x := range doc.Images {
		if x.Truncated && x.Prompt != last {
			last = x.Prompt
			log.Warn().Str("prompt", x.Prompt).Msg("the prompt is longer than the model's text encoder reads: its end has no effect")
		}
	}
	if prompts, images, all := d.Shown(); !all {
		log.Warn().Int("prompts", prompts).Int("images", images).Msg("the contact sheet shows only so many prompts, and images of each")
	}
}

// draw draws the images in a worker process, and shows the progress.
func (g *globals) draw(ctx context.Context, p project.Project, d *sample.Drawing, class string, o sampleOptions) (*sample.Document, error) {
	log := zerolog.Ctx(ctx)
	if d.Alone() {
		log.Info().Msg("the trial fine-tunes nothing: its images are those of the pretrained model")
	}
	chosen, err := device.Choose(ctx, class, g.fetchBar())
	if err != nil {
		return nil, p.Unavailable(class, err)
	}
	needs, err := plan.NewNeeds(p.Study, class)
	if err != nil {
		return nil, err
	}
	c, err := o.here(ctx, class)
	if err != nil {
		return nil, usageError{err}
	}
	need := plan.On(needs.Of, class, c)
	if err := unfit("sample", []*layout.Action{d.Action()}, need, c); err != nil {
		return nil, err
	}
	if err := p.SaveEngines(ctx); err != nil {
		return nil, err
	}
	pool, err := worker.NewPool(chosen, c)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	m := sample.Machine{Worker: pool, Need: need(d.Action()), CPU: device.CPUName()}
	if m.Grant, err = resource.NewAllocator(c).Acquire(ctx, m.Need); err != nil {
		return nil, err
	}
	log.Info().Str("backend", chosen.Class).Str("device", chosen.Name).Msg("drawing")
	shown := g.newCounting(log, "drawing images")
	defer shown.close()
	return d.Draw(ctx, m, shown.at)
}

// undrawn returns an error if an engine has drawn no picture for some rows.
func undrawn(doc *sample.Document) error {
	n, first := 0, ""
	for _, x := range doc.Images {
		if x.File == "" {
			if n++; n == 1 {
				first = fmt.Sprintf("%q, seed %d, %s: %s", x.Prompt, x.Seed, x.Model, x.Error)
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("sample: %s of %d could not be drawn; the first: %s", phrase.Count(n, "image"), len(doc.Images), first)
}
