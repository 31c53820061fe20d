package stage

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/distance"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/runner/world"
)

// Distance measures how far a fine-tuned model is from the pretrained one.
const Distance Kind = "distance"

var distanceDef = define(runDistance, Def{
	Kind: Distance, Revision: 1, Backend: true,
	Inputs: []Input{{Name: ModelInput}, {Name: TunedInput, Optional: true}, {Name: ImagesInput}, {Name: PromptsInput}},
	Files:  tabled(metricsFile),
})

// DistanceParams of the distance to the pretrained model. Without a fine-tuned one the
// model is the pretrained one.
type DistanceParams struct {
	Seed   int64 `json:"seed" key:"seed.feedback"`
	Images int   `json:"images" key:"evaluate.distance.images"` // drawn ones, and real pairs, that it is estimated from
	Batch  int   `json:"batch" key:"evaluate.distance.batch"`   // of them at a time
	BestOf int   `json:"bestOf" key:"evaluate.bestOf"`
}

func (p DistanceParams) memory() float64 {
	return 2*number*float64(p.Images)*world.Pixels + 4*number*float64(p.Batch)*world.Pixels
}

func (p DistanceParams) cost() float64 { return float64(p.Images) / 500 }

func runDistance(ctx context.Context, e *Env, t Task, p DistanceParams, progress Progress) error {
	prompts, err := ReadPrompts(t.in(PromptsInput))
	if err != nil {
		return err
	}
	sets, err := readImagesOf(t.in(ImagesInput), len(prompts))
	if err != nil {
		return err
	}
	_, base, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	n := min(len(prompts), p.Images)
	out := make([]MetricSet, len(sets))
	for k, s := range sets {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		progress(k, len(sets), "models")
		kl, gap := 0., 0.
		if t.has(TunedInput) {
			_, m, err := readModelAt(t.in(ModelInput), t.in(TunedInput), s.Step)
			if err != nil {
				return err
			}
			if kl, gap, err = e.distance(t, p, m, base, s.Images[:n*world.Pixels], texts(prompts[:n])); err != nil {
				return err
			}
			if kl-kl != 0 || gap-gap != 0 {
				return fmt.Errorf("the distance to the pretrained model is %v, and the gap of their losses %v: the fine-tuning diverged (a smaller finetune.learningRate helps)", kl, gap)
			}
		}
		out[k] = MetricSet{s.Step, []Metric{{"distance.kl", kl + bestOfDivergence(p.BestOf), n}, {"distance.gap", gap, p.Images}}}
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, metricsFile), out)
}

// bestOfDivergence is what choosing the best of n adds to the divergence, whatever it is
// chosen by: log n - (n-1)/n (Gao et al. 2022, arXiv 2210.10760, section 2). The model's
// own part is then estimated on the images that were selected.
func bestOfDivergence(n int) float64 {
	if n <= 1 {
		return 0
	}
	return math.Log(float64(n)) - float64(n-1)/float64(n)
}

// distance is how far a model is from base: the divergence, on images that it drew, and
// the gap of denoising losses, on pairs of the reference set.
func (e *Env) distance(t Task, p DistanceParams, m, base *pipeline.Model, images []uint8, prompts []string) (kl, gap float64, err error) {
	meter, err := e.meter(m.Network)
	if err != nil {
		return 0, 0, err
	}
	of := func(images []uint8, prompts []string) (p distance.Pairs, err error) {
		p.Images = modelRange(images)
		if p.Model, err = e.conditioning(m, prompts); err != nil {
			return p, err
		}
		p.Base, err = e.conditioning(base, prompts)
		return p, err
	}
	drawn, err := of(images, prompts)
	if err != nil {
		return 0, 0, err
	}
	// The same noise and times for every model of a seed, so that they compare.
	if kl, err = meter.Divergence(m.Weights, base.Weights, drawn, p.Batch, random.Stream(p.Seed, string(t.Kind), "divergence", 0)); err != nil {
		return 0, 0, err
	}
	real, err := of(e.world.Images.Real(realSet, p.Images))
	if err != nil {
		return 0, 0, err
	}
	gap, err = meter.Gap(m.Weights, base.Weights, real, p.Batch, random.Stream(p.Seed, string(t.Kind), "gap", 0))
	return kl, gap, err
}
