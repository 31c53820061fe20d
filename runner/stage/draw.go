package stage

import (
	"context"
	"fmt"

	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/train"
	"ablate/runner/world"
)

// Draw is the stage that draws an image for each prompt.
const Draw Kind = "draw"

var drawDef = define(runDraw, Def{
	Kind: Draw, Revision: 1, Backend: true,
	Inputs: []Input{{Name: ModelInput}, {Name: TunedInput, Optional: true}, {Name: PromptsInput}},
	Files:  required(imagesFile),
})

// DrawParams are the parameters of [Draw].
type DrawParams struct {
	Candidate int             `json:"candidate,omitempty"` // number of the candidate for best of n; each has other noise for the same prompts
	Steps     bool            `json:"steps,omitempty"`     // draw with each checkpoint of the fine-tuning, from the same noise
	Step      int             `json:"step,omitempty"`      // draw with the checkpoint after this step; 0 means the end of the fine-tuning
	Sampler   sampler.Options `json:"sampler"`
	Images    int             `json:"images" key:"-"` // number of images of a set, for the estimate of the cost
	Models    int             `json:"models" key:"-"` // number of models, each of which draws a set
}

func (p DrawParams) memory() float64 {
	return drawn(p.Images, p.Sampler) + float64(max(p.Models-1, 0))*float64(p.Images)*world.Pixels
}

func (p DrawParams) cost() float64 { return .1 + float64(p.Models)*float64(p.Images)/500 }

func runDraw(ctx context.Context, e *Env, t Task, p DrawParams, progress Progress) error {
	prompts, err := ReadPrompts(t.in(PromptsInput))
	if err != nil {
		return err
	}
	_, base, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	steps := []int{p.Step}
	if p.Steps {
		if steps, err = checkpointSteps(t.in(TunedInput)); err != nil {
			return err
		}
	}
	var sets []ImageSet
	for k, step := range steps {
		m := base
		if t.has(TunedInput) {
			if m, err = tunedAt(base, t.in(TunedInput), step); err != nil {
				return err
			}
		}
		images, err := e.draw(ctx, m, texts(prompts), p.Sampler, func(i int, dst []float32) {
			Noise(t.Kind, prompts[i].Seed, p.Candidate, dst)
		}, func(r Report) {
			r.Step, r.Total = k*r.Total+r.Step, len(steps)*r.Total
			progress(r)
		})
		if err != nil {
			return err
		}
		sets = append(sets, ImageSet{step, images})
	}
	return WriteImages(t.Out, sets)
}

// Noise fills the initial noise of an image of a stage, float32[Size, Size, Channels]: a
// function of its row's seed and the number of the candidate.
func Noise(kind Kind, seed int64, candidate int, dst []float32) {
	purpose := "noise"
	if candidate > 0 {
		purpose = fmt.Sprintf("noise of candidate %d", candidate)
	}
	random.Normal(Task{Kind: kind}.stream(seed, purpose, 0), dst)
}

// draw draws one image for each prompt. It returns bytes, uint8[n, Size, Size, Channels].
func (e *Env) draw(ctx context.Context, m *pipeline.Model, prompts []string, o sampler.Options, noise func(i int, dst []float32), progress Progress) ([]uint8, error) {
	fn, err := e.sampler(m.Network)
	if err != nil {
		return nil, err
	}
	cond, err := e.conditioning(m, prompts)
	if err != nil {
		return nil, err
	}
	progress(Report{train.Report{Total: len(prompts), Compiling: fn.Compiled() == 0}, "images"})
	x, err := fn.Draw(m, cond, noise, o, 0, func(done int) error {
		progress.count(done, len(prompts), "images")
		return context.Cause(ctx)
	})
	if err != nil {
		return nil, err
	}
	return quantizeModel(x)
}

// conditioning returns the output of the model's text encoder for prompts, float32[n,
// Cond].
func (e *Env) conditioning(m *pipeline.Model, prompts []string) ([]float32, error) {
	enc, err := e.textEncoder(m.Network)
	if err != nil {
		return nil, err
	}
	x, err := e.textInput(prompts)
	if err != nil {
		return nil, err
	}
	return enc.Encode(m.Weights, x)
}
