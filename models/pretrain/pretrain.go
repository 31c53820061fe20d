// Package pretrain trains a denoiser and its text encoder from scratch on
// image-caption pairs.
package pretrain

import (
	"math/rand/v2"

	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// Pairs are image-caption pairs.
type Pairs interface {
	Len() int
	// Fill writes pair i's image in the model's range and its words.
	Fill(i int, image, words []float32)
}

// Options of a pretraining.
type Options struct {
	Steps, Batch int
	LearningRate float64
	EMA          float64 // decay of the moving average of the weights, which is what is kept
	Progress     func(step int, r train.Result) error
}

// Run trains net from scratch on pairs: Adam with β₂ .99, a flat learning rate
// for 60% of the steps and then a linear one down to 3%. init draws the initial
// weights, order the pairs, noise and times of each step.
func Run(t *train.Trainer, net pipeline.Network, pairs Pairs, init, order *rand.Rand, o Options) (nn.Values, error) {
	state, err := t.Start(nn.Init(net.AllParams(), init))
	if err != nil {
		return nil, err
	}
	defer state.Free()
	px := net.Pixels()
	for step := range o.Steps {
		b := net.NewBatch(o.Batch)
		for i := range o.Batch {
			pairs.Fill(order.IntN(pairs.Len()), b.Images[i*px:(i+1)*px], b.Words[i*net.Words:(i+1)*net.Words])
			b.Coefficients[i] = 1 / float32(o.Batch)
		}
		b.Draw(order)
		opt := train.Default(o.LearningRate * train.WarmupDecay(step, o.Steps, 100, 0.6, 0.03))
		opt.Beta2, opt.EMA = 0.99, o.EMA
		r, err := t.Step(state, opt, b.Inputs()...)
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			if err := o.Progress(step, r); err != nil {
				return nil, err
			}
		}
	}
	return t.Average(state), nil
}
