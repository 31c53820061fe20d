package pretrain_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"ablate/models/dit"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/pretrain"
	"ablate/models/random"
	"ablate/models/train"
)

// pairs are random images with one word each.
type pairs struct{}

func (pairs) Len() int { return 8 }
func (pairs) Fill(i int, image, text []float32) {
	random.Normal(random.Stream(1, "test", "pair", i), image)
	text[i%4] = 1
}

// TestResume: a pretraining that is stopped after any saved step ends with the same bytes.
func TestResume(t *testing.T) {
	c := dit.Default(12)
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 16, 16, 2
	net := pipeline.Shapes(c)
	trainer, err := train.New(modeltest.Backend(t), net.PretrainingStep())
	if err != nil {
		t.Fatal(err)
	}
	const steps = 4
	modeltest.Resume(t, steps, func(ctx context.Context, r train.Resume, progress func(train.Report)) (nn.Values, *train.Curve, error) {
		return pretrain.Run(ctx, trainer, net, pairs{}, random.Stream(1, "test", "init", 0), func(step int) *rand.Rand { return random.Stream(1, "test", "order", step) },
			pretrain.Options{Steps: steps, Batch: 4, LearningRate: 1e-2, Adam: train.Default(0).Adam, EMA: .9, Resume: r, Progress: progress})
	})
}
