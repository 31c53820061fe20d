package random

import (
	"math"
	"slices"
	"testing"
)

func TestStreamIsItsName(t *testing.T) {
	first := func(seed int64, stage, purpose string, index int) uint64 {
		return Stream(seed, stage, purpose, index).Uint64()
	}
	if a, b := first(1, "sample", "noise", 3), first(1, "sample", "noise", 3); a != b {
		t.Error("one name, two streams")
	}
	all := map[uint64]string{}
	for name, v := range map[string]uint64{
		"base":    first(1, "sample", "noise", 3),
		"seed":    first(2, "sample", "noise", 3),
		"minus":   first(-1, "sample", "noise", 3),
		"stage":   first(1, "evaluate", "noise", 3),
		"purpose": first(1, "sample", "prompt", 3),
		"index":   first(1, "sample", "noise", 4),
		"digits":  first(11, "sample", "noise", 3),
	} {
		if other, ok := all[v]; ok {
			t.Errorf("%s and %s share a stream", name, other)
		}
		all[v] = name
	}
	// Pinned, because a change of how streams are derived changes every result.
	if got, want := first(1, "sample", "noise", 3), uint64(0x3a8d3d631c69beda); got != want {
		t.Errorf("first number %#x, want %#x", got, want)
	}
}

func TestNormal(t *testing.T) {
	const n = 100_000
	x := make([]float32, n)
	Normal(Stream(1, "test", "normal", 0), x)
	head := make([]float32, 10)
	Normal(Stream(1, "test", "normal", 0), head)
	if !slices.Equal(x[:10], head) {
		t.Error("the first values depend on how many are drawn")
	}
	var moments [5]float64
	for _, v := range x {
		for k, p := 1, float64(v); k <= 4; k, p = k+1, p*float64(v) {
			moments[k] += p / n
		}
	}
	// Five standard errors of the sample moments of N(0, 1): √(1, 2, 15, 96)/√n.
	for k, want := range []float64{1: 0, 2: 1, 3: 0, 4: 3} {
		if k > 0 && math.Abs(moments[k]-want) > 5*math.Sqrt([]float64{0, 1, 2, 15, 96}[k]/n) {
			t.Errorf("moment %d is %.4f, want %.0f", k, moments[k], want)
		}
	}
}

func BenchmarkNormal(b *testing.B) {
	x := make([]float32, 64*768)
	r := Stream(1, "bench", "normal", 0)
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		Normal(r, x)
	}
}
