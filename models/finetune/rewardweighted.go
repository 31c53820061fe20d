// Package finetune adapts a pretrained model to rewards; one file an
// objective. Today reward-weighted likelihood with a pretraining term.
package finetune

import (
	"fmt"
	"math/rand/v2"

	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// Source is a set of generated images with their prompts and weights.
type Source struct {
	Images  func(i int, dst []float32) // fills image i in the model's range
	Words   func(i int, dst []float32) // fills the words of image i's prompt
	Weights []float32                  // r of each image, in [0, 1]
	Mix     float64                    // relative weight of one of its images in the draw
}

// Pairs are pretraining image-caption pairs.
type Pairs interface {
	Len() int
	Fill(i int, image, words []float32)
}

// Options of a fine-tuning.
type Options struct {
	Steps, Batch int
	LearningRate float64
	Warmup       int
	Constant     bool // flat learning rate; otherwise linear to 0 over the second half
	EMA          float64
	Beta         float64 // β, weight of the pretraining term
	PairsPerStep int     // pretraining pairs in a step; 0 leaves the term out
	Progress     func(step int, r Result) error
}

// Result is what a step reports.
type Result struct {
	train.Result
	LearningRate        float64
	EffectiveSampleSize float64 // (Σw)²/Σw² of the generated images of the step, of at most Batch
}

// PairsPerStep is the number of pretraining pairs beside a batch of generated
// images: half as many, times the mix weight, at least 1 when that is positive.
func PairsPerStep(mix float64, batch int) int {
	if mix <= 0 {
		return 0
	}
	return max(1, int(mix*float64(batch)/2+0.5))
}

// RewardWeighted minimizes E_model[r·ℓ] + β·E_pretraining[ℓ], with ℓ the
// denoising loss in the place of -log p (Lee et al. 2023, arXiv 2302.12192,
// section 3.3). Without sources a step takes pretraining pairs alone. order draws
// images, pairs, noise and times.
func RewardWeighted(t *train.Trainer, m *pipeline.Model, sources []Source, pairs Pairs, order *rand.Rand, o Options) (nn.Values, error) {
	batch := o.Batch
	var total float64
	for _, s := range sources {
		total += s.Mix * float64(len(s.Weights))
	}
	if total == 0 {
		batch = 0
	}
	if batch+o.PairsPerStep == 0 {
		return nil, fmt.Errorf("finetune: there is neither a generated image nor a pretraining pair to learn from")
	}
	state, err := t.Start(m.Weights)
	if err != nil {
		return nil, err
	}
	defer state.Free()
	px := m.Pixels()
	for step := range o.Steps {
		b := m.NewBatch(batch + o.PairsPerStep)
		image := func(i int) []float32 { return b.Images[i*px : (i+1)*px] }
		words := func(i int) []float32 { return b.Words[i*m.Words : (i+1)*m.Words] }
		var sum, squares float64
		for i := range batch {
			s, k := pick(sources, total*order.Float64())
			s.Images(k, image(i))
			s.Words(k, words(i))
			w := float64(s.Weights[k])
			sum, squares = sum+w, squares+w*w
			b.Coefficients[i] = float32(w / float64(batch))
		}
		for i := range o.PairsPerStep {
			pairs.Fill(order.IntN(pairs.Len()), image(batch+i), words(batch+i))
			b.Coefficients[batch+i] = float32(o.Beta / float64(o.PairsPerStep))
		}
		b.Draw(order)
		opt := train.Default(o.LearningRate)
		hold := 0.5
		if o.Constant {
			hold = 1
		}
		opt.LearningRate *= train.WarmupDecay(step, o.Steps, o.Warmup, hold, 0)
		opt.Beta2, opt.EMA = 0.99, o.EMA
		r, err := t.Step(state, opt, b.Inputs()...)
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			ess := 0.0
			if squares > 0 {
				ess = sum * sum / squares
			}
			if err := o.Progress(step, Result{r, opt.LearningRate, ess}); err != nil {
				return nil, err
			}
		}
	}
	return t.Average(state), nil
}

// pick finds the image at position u of the sources laid end to end, each
// image as long as its source's mix weight.
func pick(sources []Source, u float64) (Source, int) {
	for i, s := range sources {
		length := s.Mix * float64(len(s.Weights))
		if u < length || i == len(sources)-1 {
			return s, min(int(u/s.Mix), len(s.Weights)-1)
		}
		u -= length
	}
	panic(fmt.Errorf("finetune: no source to pick from"))
}
