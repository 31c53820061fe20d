package pipeline

import (
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/random"
	"ablate/models/train"
)

// A Batch has the inputs of one denoising step on B images, on the host. The caller fills
// Images, Cond and Coefficients; Draw fills the noise and Times.
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

// NewBatch returns an empty batch of size images. encode selects the step's conditioning, as
// in Bind.
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

// Draw draws the step's noise and times from r. Randomness comes from the host, so that it is
// the same on every backend.
func (b *Batch) Draw(r *rand.Rand) {
	b.net.Process.Times(r, b.Times)
	random.Normal(r, b.noise)
}

// Repeat copies noise and times of the first n images to the n images after them, so that the
// two images of a pair are compared at the same noise and time.
func (b *Batch) Repeat(n int) {
	copy(b.Times[n:2*n], b.Times[:n])
	copy(b.noise[n*b.net.Pixels():2*n*b.net.Pixels()], b.noise[:n*b.net.Pixels()])
}

// Inputs returns the inputs of LikelihoodLoss.
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
