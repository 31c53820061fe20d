package pipeline

import (
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/random"
)

// A Batch is the host's side of one denoising step: images, words and
// coefficients that the caller fills, noise and times that Draw fills.
type Batch struct {
	net          Network
	Images       []float32 // [B, H, W, C] in the model's range
	Words        []float32 // [B, Words]
	Coefficients []float32 // [B]
	Times        []float32 // [B]
	noise        []float32
	size         int
}

// NewBatch makes room for size images.
func (n Network) NewBatch(size int) *Batch {
	return &Batch{
		net: n, size: size,
		Images: make([]float32, size*n.Pixels()), noise: make([]float32, size*n.Pixels()),
		Words: make([]float32, size*n.Words), Coefficients: make([]float32, size), Times: make([]float32, size),
	}
}

// Draw draws the step's noise and times from r: randomness comes from the
// host, so that every backend sees the same.
func (b *Batch) Draw(r *rand.Rand) {
	b.net.Schedule.Times(r, b.Times)
	random.Normal(r, b.noise)
}

// Repeat gives the images of the batch's second n the noise and times of the
// first n: a pair is compared on the same noisy step.
func (b *Batch) Repeat(n int) {
	copy(b.Times[n:2*n], b.Times[:n])
	copy(b.noise[n*b.net.Pixels():2*n*b.net.Pixels()], b.noise[:n*b.net.Pixels()])
}

// Inputs are the batch as WeightedLoss takes it.
func (b *Batch) Inputs() []*tensors.Tensor {
	h, w, c := b.net.Image[0], b.net.Image[1], b.net.Image[2]
	return []*tensors.Tensor{
		tensors.FromFlatDataAndDimensions(b.Images, b.size, h, w, c),
		tensors.FromFlatDataAndDimensions(b.noise, b.size, h, w, c),
		tensors.FromFlatDataAndDimensions(b.Times, b.size),
		tensors.FromFlatDataAndDimensions(b.Words, b.size, b.net.Words),
		tensors.FromFlatDataAndDimensions(b.Coefficients, b.size),
	}
}
