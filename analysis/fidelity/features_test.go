package fidelity_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"ablate/analysis/fidelity"
)

func images(n int, seed uint64, level uint8) []uint8 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]uint8, n*16*16*3)
	for i := range x {
		x[i] = uint8(r.IntN(100)) + level
	}
	return x
}

// TestSpace checks that features are standardized on the real set, that a shift of brightness
// alone does not change the responses of zero-mean kernels, and that other textures are far.
func TestSpace(t *testing.T) {
	a := images(200, 1, 50)
	s := fidelity.NewSpace(a)
	x := s.Features(a)
	for j := range x.Cols {
		var sum, square float64
		for i := range x.Rows {
			v := float64(x.Row(i)[j])
			sum, square = sum+v, square+v*v
		}
		if mean, vari := sum/200, square/200; math.Abs(mean) > 1e-3 || math.Abs(vari-1) > 1e-2 {
			t.Fatalf("feature %d has mean %.4f and variance %.4f on its own set", j, mean, vari)
		}
	}
	shifted := append([]uint8{}, a...)
	for i := range shifted {
		shifted[i] += 40
	}
	y := s.Features(shifted)
	for i := range x.Data {
		if math.Abs(float64(x.Data[i]-y.Data[i])) > 1e-2 {
			t.Fatalf("brightness alone moves feature %d from %v to %v", i%x.Cols, x.Data[i], y.Data[i])
		}
	}
	again := s.Features(images(200, 2, 50))
	if r := neighbours(t, x, again, 5).Recall; r < .8 {
		t.Errorf("recall of the same textures is %.2f", r)
	}
	flat := make([]uint8, len(a))
	if r := neighbours(t, x, s.Features(flat), 5).Recall; r > .05 {
		t.Errorf("recall by flat images is %.2f", r)
	}
}

func BenchmarkFeatures(b *testing.B) {
	x := images(256, 1, 50)
	s := fidelity.NewSpace(x)
	for b.Loop() {
		s.Features(x)
	}
}
