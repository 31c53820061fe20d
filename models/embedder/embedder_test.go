package embedder_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"ablate/models/embedder"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/train"
)

// pairs are random images with one word each.
type pairs struct{}

func (pairs) Len() int          { return 8 }
func (pairs) Caption(i int) int { return i % 4 }
func (pairs) Fill(i int, image, text []float32) {
	random.Normal(random.Stream(1, "test", "pair", i), image)
	text[i%4] = 1
}

// TestResume: an embedder's training that is stopped after any saved step ends with the
// same bytes.
func TestResume(t *testing.T) {
	b, c := modeltest.Backend(t), embedder.Default(12)
	c.Features, c.Width = [3]int{4, 4, 4}, 8
	const steps = 3
	modeltest.Resume(t, steps, func(ctx context.Context, r train.Resume, progress func(train.Report)) (nn.Values, *train.Curve, error) {
		return embedder.Train(ctx, b, c, pairs{}, random.Stream(1, "test", "init", 0), func(step int) *rand.Rand { return random.Stream(1, "test", "order", step) },
			embedder.Options{Steps: steps, Batch: 4, LearningRate: 1e-2, Adam: train.Default(0).Adam, Resume: r, Progress: progress})
	})
}
