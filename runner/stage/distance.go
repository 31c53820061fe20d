package stage

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/distance"
	"ablate/models/pipeline"
	"ablate/runner/world"
)

// Distance is the stage that measures the distance of a fine-tuned model from the
// pretrained one.
const Distance Kind = "distance"

var distanceDef = define(runDistance, Def{
	Kind: Distance, Revision: 1, Backend: true,
	Inputs: []Input{{Name: ModelInput}, {Name: TunedInput, Optional: true}, {Name: ImagesInput}, {Name: PromptsInput}},
	Files:  tabled(metricsFile),
})

// DistanceParams are the parameters of [Distance]. Without a fine-tuned model, the
// distance is that of the pretrained model from itself.
type DistanceParams struct {
	Seed   int64 `json:"seed" key:"seed.feedback"`
	Images int   `json:"images" key:"evaluate.distance.images"` // number of drawn images, and of real pairs, from which the distance is estimated
	Batch  int   `json:"batch" key:"evaluate.distance.batch"`   // number of them at a time
	Models int   `json:"models" key:"-"`                        // number of models to measure, for the estimate of the cost; 0 if there is no fine-tuned one
}

func (p DistanceParams) memory() float64 {
	return 2*number*float64(p.Images)*world.Pixels + 4*number*float64(p.Batch)*world.Pixels
}

func (p DistanceParams) cost() float64 { return .1 + float64(p.Models)*float64(p.Images)/500 }

func runDistance(ctx context.Context, e *Env, t Task, p DistanceParams, progress Progress) error {
	prompts, sets, err := readDrawn(t)
	if err != nil {
		return err
	}
	_, base, err := readModel(t.in(ModelInput))
	if err != nil {
		return err
	}
	n := min(len(prompts), p.Images)
	var from *origin
	if t.has(TunedInput) {
		if from, err = e.origin(t, p, base, texts(prompts[:n])); err != nil {
			return err
		}
	}
	out, err := eachSet(ctx, sets, progress, "models", func(s ImageSet) (MetricSet, error) {
		kl, gap := 0., 0.
		if from != nil {
			m, err := tunedAt(base, t.in(TunedInput), s.Step)
			if err != nil {
				return MetricSet{}, err
			}
			if kl, gap, err = from.distance(m, s.Images[:n*world.Pixels]); err != nil {
				return MetricSet{}, err
			}
			if kl-kl != 0 || gap-gap != 0 {
				return MetricSet{}, fmt.Errorf("the distance to the pretrained model is %v, and the gap of their losses %v: the fine-tuning diverged (a smaller finetune.learningRate helps)", kl, gap)
			}
		}
		return MetricSet{s.Step, []Metric{{"distance.kl", kl, n}, {"distance.gap", gap, p.Images}}}, nil
	})
	if err != nil {
		return err
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, metricsFile), out)
}

// BestOfDivergence returns the divergence that choosing the best of n images adds,
// whatever the criterion is: log n - (n-1)/n (Gao et al. 2022, arXiv 2210.10760, section
// 2). The model's own divergence is then estimated on the chosen images.
func BestOfDivergence(n int) float64 {
	if n <= 1 {
		return 0
	}
	return math.Log(float64(n)) - float64(n-1)/float64(n)
}

// An origin is the pretrained model, with values that are the same for every model whose
// distance is measured.
type origin struct {
	e         *Env
	t         Task
	p         DistanceParams
	meter     *distance.Meter
	model     *pipeline.Model
	prompts   []string
	real      distance.Pairs // images and captions of the real set
	captions  []string
	ofPrompts []float32 // conditioning of the prompts by the pretrained model
}

func (e *Env) origin(t Task, p DistanceParams, base *pipeline.Model, prompts []string) (*origin, error) {
	o := &origin{e: e, t: t, p: p, model: base, prompts: prompts}
	var err error
	if o.meter, err = e.meter(base.Network); err != nil {
		return nil, err
	}
	var images []uint8
	images, o.captions = e.world.Images.Real(realSet, p.Images)
	o.real.Images = modelRange(images)
	if o.real.Base, err = e.conditioning(base, o.captions); err != nil {
		return nil, err
	}
	o.ofPrompts, err = e.conditioning(base, prompts)
	return o, err
}

// distance returns two distances of a model from the origin: the divergence kl, on images
// that the model drew, and gap, the difference of denoising losses, on pairs of the real
// set. Noise and times are the same for all models of a seed, so that their distances are
// comparable.
func (o *origin) distance(m *pipeline.Model, images []uint8) (kl, gap float64, err error) {
	drawn := distance.Pairs{Images: modelRange(images), Base: o.ofPrompts}
	if drawn.Model, err = o.e.conditioning(m, o.prompts); err != nil {
		return 0, 0, err
	}
	if o.real.Model, err = o.e.conditioning(m, o.captions); err != nil {
		return 0, 0, err
	}
	if kl, err = o.meter.Divergence(m.Weights, o.model.Weights, drawn, o.p.Batch, o.t.stream(o.p.Seed, "divergence", 0)); err != nil {
		return 0, 0, err
	}
	gap, err = o.meter.Gap(m.Weights, o.model.Weights, o.real, o.p.Batch, o.t.stream(o.p.Seed, "gap", 0))
	return kl, gap, err
}
