package pipeline

import (
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/random"
	"ablate/models/train"
)

// A Batch is the host's side of one denoising step on B images: Images, Cond and
// Coefficients are the caller's to fill, Draw fills noise and times.
type Batch struct {
	net          Network
	width        int       // of the conditioning
	Images       []float32 // x₀ [B, H, W, C]
	Cond         []float32 // [B, Text] or [B, Cond]
	Coefficients []float32 // [B]
	Times        []float32 // [B]
	noise        []float32
	size         int
}

// NewBatch makes room for size images. encode says which conditioning the step takes,
// as in Bind.
func (n Network) NewBatch(size int, encode bool) *Batch {
	b := &Batch{net: n, size: size, width: n.CondWidth(encode)}
	b.Images, b.noise = make([]float32, size*n.Pixels()), make([]float32, size*n.Pixels())
	b.Cond, b.Coefficients, b.Times = make([]float32, size*b.width), make([]float32, size), make([]float32, size)
	return b
}

// Image is image i of the batch.
func (b *Batch) Image(i int) []float32 { return b.Images[i*b.net.Pixels() : (i+1)*b.net.Pixels()] }

// CondRow is the conditioning of image i.
func (b *Batch) CondRow(i int) []float32 { return b.Cond[i*b.width : (i+1)*b.width] }

// Draw draws the step's noise and times from r: randomness comes from the host, so
// that every backend sees the same.
func (b *Batch) Draw(r *rand.Rand) {
	b.net.Process.Times(r, b.Times)
	random.Normal(r, b.noise)
}

// Repeat gives the images of the batch's second n the noise and times of the first
// n: a pair is compared on the same noisy step.
func (b *Batch) Repeat(n int) {
	copy(b.Times[n:2*n], b.Times[:n])
	copy(b.noise[n*b.net.Pixels():2*n*b.net.Pixels()], b.noise[:n*b.net.Pixels()])
}

// Inputs are the batch as LikelihoodLoss takes it.
func (b *Batch) Inputs() train.Inputs {
	h, w, c := b.net.Image[0], b.net.Image[1], b.net.Image[2]
	return train.Inputs{
		"x0":     tensors.FromFlatDataAndDimensions(b.Images, b.size, h, w, c),
		"noise":  tensors.FromFlatDataAndDimensions(b.noise, b.size, h, w, c),
		"time":   tensors.FromFlatDataAndDimensions(b.Times, b.size),
		"cond":   tensors.FromFlatDataAndDimensions(b.Cond, b.size, b.width),
		"weight": tensors.FromFlatDataAndDimensions(b.Coefficients, b.size),
	}
}
