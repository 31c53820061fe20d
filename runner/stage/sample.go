package stage

import (
	"context"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/shapes"
)

// Sample draws images of the base model for feedback.
const Sample Kind = "sample"

var sampleDef = define(runSample, Def{
	Kind: Sample, Revision: 1, Backend: true,
	Inputs: []Input{{Name: ModelInput}},
	Files:  required(imagesFile, promptsFile),
})

// Splits of the images of a base model. Prompts and noise of each have streams of their own.
const (
	LabelledSplit   = "labelled"   // the annotator labels these, and rewards learn from them
	UnlabelledSplit = "unlabelled" // a reward scores these
	AssessSplit     = "assess"     // a reward is assessed on these
)

// SampleParams of images for feedback.
type SampleParams struct {
	Seed    int64           `json:"seed" key:"seed.feedback"`
	Split   string          `json:"split"`
	Images  int             `json:"images"`
	Unseen  bool            `json:"unseen,omitempty"` // held-out prompts too: nothing may learn from these
	Sampler sampler.Options `json:"sampler"`
}

func (p SampleParams) memory() float64 { return drawn(p.Images, p.Sampler) }

func (p SampleParams) cost() float64 { return float64(p.Images) / 500 }

func runSample(ctx context.Context, e *Env, t Task, p SampleParams, progress Progress) error {
	_, m, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	catalogue := shapes.Prompts()
	prompts := make([]shapes.Prompt, p.Images)
	for i := range prompts {
		// Feedback sees no held-out prompt.
		prompts[i] = catalogue.All()[catalogue.Draw(t.stream(p.Seed, p.Split+" prompt", i), !p.Unseen)].Prompt
	}
	images, err := e.draw(ctx, m, prompts, p.Sampler, func(i int, dst []float32) {
		random.Normal(t.stream(p.Seed, p.Split+" noise", i), dst)
	}, progress)
	if err != nil {
		return err
	}
	if err := writeImages(t.Out, map[string][]uint8{"images": images}); err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, promptsFile), promptStrings(prompts))
}

// draw samples one image a prompt, as bytes.
func (e *Env) draw(ctx context.Context, m *pipeline.Model, prompts []shapes.Prompt, o sampler.Options, noise func(i int, dst []float32), progress Progress) ([]uint8, error) {
	fn, err := e.sampler(m.Network)
	if err != nil {
		return nil, err
	}
	cond, err := e.conditioning(m, prompts)
	if err != nil {
		return nil, err
	}
	x, err := fn.Draw(m, cond, noise, o, 0, func(done int) error {
		progress(done, len(prompts), "images")
		return context.Cause(ctx)
	})
	if err != nil {
		return nil, err
	}
	return quantizeModel(x)
}

// conditioning is what the model's text encoder makes of prompts, float32[n, Cond].
func (e *Env) conditioning(m *pipeline.Model, prompts []shapes.Prompt) ([]float32, error) {
	enc, err := e.textEncoder(m.Network)
	if err != nil {
		return nil, err
	}
	return enc.Encode(m.Weights, bags(prompts))
}
