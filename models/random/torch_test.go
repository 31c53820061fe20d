package random

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// TestTorch compares numbers with those of PyTorch (testdata/randn.py), of which the last bits may
// differ.
func TestTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/randn.json")
	if err != nil {
		t.Fatal(err)
	}
	var known struct {
		Cases []struct {
			Seed        int64
			Size        int
			First, Last [2][]float64
			Sum         [2]float64
		}
		Mixed struct {
			Randn    [][]float64
			Rand     []float64
			Randperm [][]int
			After    []float64
		}
	}
	if err := json.Unmarshal(data, &known); err != nil {
		t.Fatal(err)
	}
	for _, c := range known.Cases {
		g := NewTorch(c.Seed)
		for k := range 2 {
			x := make([]float32, c.Size)
			g.Normal(x)
			sum := 0.
			for _, v := range x {
				sum += float64(v)
			}
			n := len(c.First[k])
			for i := range n {
				if a, b := float64(x[i])-c.First[k][i], float64(x[c.Size-n+i])-c.Last[k][i]; math.Abs(a) > 2e-6 || math.Abs(b) > 2e-6 {
					t.Fatalf("seed %d, draw %d: number %d is %v, want %v; from the end %v, want %v", c.Seed, k, i, x[i], c.First[k][i], x[c.Size-n+i], c.Last[k][i])
				}
			}
			if math.Abs(sum-c.Sum[k]) > 1e-6*float64(c.Size)+1e-5 {
				t.Errorf("seed %d, draw %d: the sum is %v, want %v", c.Seed, k, sum, c.Sum[k])
			}
		}
	}
	g := NewTorch(7)
	near := func(what string, x []float32, want []float64) {
		t.Helper()
		for i := range want {
			if math.Abs(float64(x[i])-want[i]) > 2e-6 {
				t.Errorf("%s: number %d is %v, want %v", what, i, x[i], want[i])
			}
		}
	}
	for _, want := range known.Mixed.Randn {
		x := make([]float32, len(want))
		g.Normal(x)
		near("few normal numbers", x, want)
	}
	x := make([]float32, len(known.Mixed.Rand))
	g.Uniform(x)
	near("uniform numbers", x, known.Mixed.Rand)
	for _, want := range known.Mixed.Randperm {
		if got := g.Permutation(len(want)); !slices.Equal(got, want) {
			t.Errorf("the permutation is %v, want %v", got, want)
		}
	}
	x = make([]float32, len(known.Mixed.After))
	g.Normal(x)
	near("normal numbers after it", x, known.Mixed.After)
}
