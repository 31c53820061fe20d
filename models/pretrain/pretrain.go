// Package pretrain trains a denoiser and its text encoder from scratch on image-caption
// pairs, by the denoising loss of the network's forward process.
package pretrain

import (
	"context"
	"math/rand/v2"

	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/train"
)

// Pairs are image-caption pairs.
type Pairs interface {
	Len() int
	// Fill writes pair i's image in the model's range and the text encoder's input.
	Fill(i int, image, text []float32)
}

// Options of a pretraining.
type Options struct {
	Steps, Batch int
	LearningRate float64
	Adam         train.Adam
	EMA          float64 // decay of the moving average of the weights, which Run returns; 0 returns the weights
	Resume       train.Resume
	Progress     func(train.Report)
}

// Run trains net from scratch on pairs by AdamW. The learning rate warms up over 100 steps,
// is constant for 60% of the steps, and falls linearly to 3%. init draws the initial weights,
// and order the pairs, noise and times of each step. t is a trainer of the network's
// PretrainingStep.
func Run(ctx context.Context, t *train.Trainer, net pipeline.Network, pairs Pairs, init *rand.Rand, order random.Steps, o Options) (nn.Values, *train.Curve, error) {
	state, err := t.Start(nn.Init(net.AllParams(), init), o.EMA > 0)
	if err != nil {
		return nil, nil, err
	}
	defer state.Free()
	loop := train.Loop{Trainer: t, State: state, Steps: o.Steps, Resume: o.Resume, Progress: o.Progress,
		Batch: func(_ context.Context, step int) (train.Inputs, train.Options, []float64, error) {
			r, b := order(step), net.NewBatch(o.Batch, true)
			for i := range o.Batch {
				pairs.Fill(r.IntN(pairs.Len()), b.Image(i), b.CondRow(i))
				b.Coefficients[i] = 1 / float32(o.Batch)
			}
			b.Draw(r)
			opt := train.Options{LearningRate: o.LearningRate * train.WarmupDecay(step, o.Steps, 100, 0.6, 0.03), Adam: o.Adam, Clip: 1, EMA: o.EMA}
			return b.Inputs(), opt, nil, nil
		}}
	curve, err := loop.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	return t.Average(state), curve, nil
}
