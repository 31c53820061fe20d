package modeltest

import (
	"testing"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/reference"
)

// Floats returns a tensor of a case as an array.
func Floats(t testing.TB, c *reference.Case, key string) *tensors.Tensor {
	t.Helper()
	return tensors.FromFlatDataAndDimensions(c.Floats(t, key), c.Shape(t, key)...)
}

// Images returns a tensor [B, C, H, W] of a case as float32[B, H, W, C].
func Images(t testing.TB, c *reference.Case, key string) *tensors.Tensor {
	t.Helper()
	return ImagesOf(c.Floats(t, key), c.Shape(t, key))
}

// ImagesOf returns values [B, C, H, W] as float32[B, H, W, C].
func ImagesOf(x []float32, d []int) *tensors.Tensor {
	px := d[2] * d[3]
	y := make([]float32, len(x))
	for i := range d[0] {
		for k := range d[1] {
			for j := range px {
				y[(i*px+j)*d[1]+k] = x[(i*d[1]+k)*px+j]
			}
		}
	}
	return tensors.FromFlatDataAndDimensions(y, d[0], d[2], d[3], d[1])
}

// ChannelsFirst returns the values of an array float32[B, H, W, C] in the order [B, C, H, W], and
// those of another array as they are.
func ChannelsFirst(x *tensors.Tensor) []float32 {
	d, v := x.Shape().Dimensions, backend.Float32s(x)
	if len(d) != 4 {
		return v
	}
	b, px, c := d[0], d[1]*d[2], d[3]
	y := make([]float32, len(v))
	for i := range b {
		for j := range px {
			for k := range c {
				y[(i*c+k)*px+j] = v[(i*px+j)*c+k]
			}
		}
	}
	return y
}

// First returns the first n rows of an array.
func First(x *tensors.Tensor, n int) *tensors.Tensor {
	d := append([]int{n}, x.Shape().Dimensions[1:]...)
	v := backend.Float32s(x)
	return tensors.FromFlatDataAndDimensions(v[:len(v)/x.Shape().Dimensions[0]*n], d...)
}
