// Package fidelity implements metrics of how similar generated images are to real ones, on
// feature vectors: the Fréchet distance, the kernel distances KID and CMMD, the
// k-nearest-neighbour precision, recall, density and coverage; and metrics of diversity within
// a set, the mean distance of pairs and the Vendi score. NewSpace gives the features of the
// shapes world, responses of fixed random convolutions; the metrics accept features of any
// kind.
//
// The steps are: features (Matrix) → Gram, the inner products of the rows of one set → Pair,
// those of two sets → any metric of the pair. Sums are in float64.
//
// Symbols: R rows in the real set, G in the generated set, D features per row. The sets may
// differ in size. Precision, recall, density, coverage, Fréchet distance and CMMD depend on R
// and G even where the distributions are equal: compare them at equal sizes only, beside the
// same metric of real images against other real images. KID is unbiased, and metrics of pairs
// of images do not depend on the size either.
package fidelity

import (
	"crypto/sha256"
	"math"
	"math/rand/v2"
	"sync"
)

const (
	size     = 16 // images are uint8[n, 16, 16, 3]
	channels = 3
	pixels   = size * size * channels
	kernel   = 5 // width and height of a kernel, in pixels
	kernels  = 32
	pools    = 4 // 2×2 regions, each with a mean and a standard deviation
	width    = kernels * pools * 2
)

// Matrix is a set of feature vectors, Data float32[Rows, Cols] in row-major order.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

// Row returns row i, which shares memory with the matrix.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Cols : (i+1)*m.Cols] }

// A Space standardizes features by their means and standard deviations on a set of real images.
type Space struct{ mean, scale []float32 }

// NewSpace returns the space in which the features of the given images, uint8[n, 16, 16, 3],
// have mean 0 and variance 1. A feature with zero variance is set to 0.
func NewSpace(images []uint8) *Space {
	x := features(images)
	s := &Space{make([]float32, width), make([]float32, width)}
	if x.Rows == 0 {
		return s
	}
	for j := range width {
		var sum, square float64
		for i := range x.Rows {
			v := float64(x.Data[i*width+j])
			sum, square = sum+v, square+v*v
		}
		mean := sum / float64(x.Rows)
		sd := math.Sqrt(max(square/float64(x.Rows)-mean*mean, 0))
		s.mean[j] = float32(mean)
		if sd > 1e-6 {
			s.scale[j] = float32(1 / sd)
		}
	}
	return s
}

// Features returns the standardized features float32[n, 256] of images uint8[n, 16, 16, 3].
func (s *Space) Features(images []uint8) Matrix {
	x := features(images)
	for i := range x.Rows {
		row := x.Row(i)
		for j := range row {
			row[j] = (row[j] - s.mean[j]) * s.scale[j]
		}
	}
	return x
}

// bank returns the kernels float32[kernels][kernel·kernel·channels], drawn once from a constant
// seed. Each has norm 1, and mean 0 in every channel, so that its response to flat areas is 0.
var bank = sync.OnceValue(func() [][]float32 {
	r := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("ablate fidelity kernels 1"))))
	out := make([][]float32, kernels)
	for k := range out {
		w := make([]float32, kernel*kernel*channels)
		var norm float64
		for c := range channels {
			var mean float64
			for i := c; i < len(w); i += channels {
				w[i] = float32(r.NormFloat64())
				mean += float64(w[i]) / (kernel * kernel)
			}
			for i := c; i < len(w); i += channels {
				w[i] -= float32(mean)
				norm += float64(w[i]) * float64(w[i])
			}
		}
		for i := range w {
			w[i] /= float32(math.Sqrt(norm))
		}
		out[k] = w
	}
	return out
})

// features returns the mean and standard deviation of each kernel's rectified response in each
// quarter of the image, as float32[n, width].
func features(images []uint8) Matrix {
	n := len(images) / pixels
	m := Matrix{Rows: n, Cols: width, Data: make([]float32, n*width)}
	const side = size - kernel + 1 // 12
	ws := bank()
	img := make([]float32, pixels)
	var patch [kernel * kernel * channels]float32
	for i := range n {
		for j, b := range images[i*pixels : (i+1)*pixels] {
			img[j] = float32(b) / 255
		}
		var sum, square [pools][kernels]float32
		for y := range side {
			for x := range side {
				for ky := range kernel {
					copy(patch[ky*kernel*channels:(ky+1)*kernel*channels], img[((y+ky)*size+x)*channels:])
				}
				pool := y/(side/2)*2 + x/(side/2)
				for k, w := range ws {
					v := dot(w, patch[:])
					if v > 0 {
						sum[pool][k] += v
						square[pool][k] += v * v
					}
				}
			}
		}
		row := m.Row(i)
		const area = side * side / pools
		for p := range pools {
			for k := range kernels {
				mean := sum[p][k] / area
				row[(p*kernels+k)*2] = mean
				row[(p*kernels+k)*2+1] = float32(math.Sqrt(float64(max(square[p][k]/area-mean*mean, 0))))
			}
		}
	}
	return m
}

// dot returns the inner product. It is unrolled by four, with a fixed order of additions.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}
