package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"ablate/analysis/stats"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
		t.Errorf("%s: %.9f, want %.9f", what, got, want)
	}
}

// Reference values: testdata/reference.py, scipy 1.17.1.
func TestKnownIntervals(t *testing.T) {
	i := stats.MeanInterval([]float64{.61, .58, .64, .55}, .95)
	near(t, "student low", i.Low, 0.5333721922971844)
	near(t, "student high", i.High, 0.6566278077028156)
	w := stats.Wilson(47, 100, .95)
	near(t, "wilson low", w.Low, 0.37510817959341275)
	near(t, "wilson high", w.High, 0.5671114302990065)
	w = stats.Wilson(0, 20, .95)
	near(t, "wilson of none, low", w.Low, 0)
	near(t, "wilson of none, high", w.High, 0.16112515805281935)
}

func TestIndependent(t *testing.T) {
	for _, tc := range []struct {
		seeds []stats.Seed
		want  int
	}{
		{[]stats.Seed{{1, 1}, {2, 2}, {3, 3}}, 3},
		{[]stats.Seed{{1, 1}, {1, 2}, {2, 1}, {2, 2}}, 2},
		{[]stats.Seed{{1, 1}, {1, 2}}, 2},
		{[]stats.Seed{{1, 1}}, 1},
	} {
		if got := stats.Independent(tc.seeds); got != tc.want {
			t.Errorf("Independent(%v) = %d, want %d", tc.seeds, got, tc.want)
		}
	}
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {2, 2}}, []float64{1, 2}, .95); ok {
		t.Error("two seeds give an interval over seeds")
	}
}

// TestCoverage simulates: Student's interval over seeds at n = 3 and 5, and
// the bootstrap over 150 prompts of about 7 images each, whose means differ.
func TestCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const runs = 600
	for _, n := range []int{3, 5} {
		in := 0
		for range runs {
			var seeds []stats.Seed
			var x []float64
			for i := range n {
				seeds, x = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(i)}), append(x, .5+.02*r.NormFloat64())
			}
			if iv, ok := stats.OverSeeds(seeds, x, .95); ok && !iv.Excludes(.5) {
				in++
			}
		}
		if share := float64(in) / runs; share < .93 || share > .97 {
			t.Errorf("n = %d: the interval over seeds covers %.3f, want .95", n, share)
		}
	}
	in := 0
	var names []string
	for i := range 150 {
		names = append(names, fmt.Sprint(i))
	}
	re := stats.NewResamples(names, 300)
	const trials = 300
	for range trials {
		c := stats.Clustered{Sums: make([]float64, 150), Counts: make([]float64, 150)}
		for i := range 150 {
			p := math.Min(math.Max(.5+.25*r.NormFloat64(), 0), 1) // symmetric: the true mean is .5
			for range 7 {
				c.Counts[i]++
				if r.Float64() < p {
					c.Sums[i]++
				}
			}
		}
		if !re.Percentile([]stats.Clustered{c}, nil, .95).Excludes(.5) {
			in++
		}
	}
	if share := float64(in) / trials; share < .92 || share > .98 {
		t.Errorf("the bootstrap over prompts covers %.3f, want .95", share)
	}
}

func TestPairedIsNarrower(t *testing.T) {
	var names []string
	a, b := stats.Clustered{}, stats.Clustered{}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 100 {
		names = append(names, fmt.Sprint(i))
		x := r.Float64()
		a.Sums, a.Counts = append(a.Sums, x), append(a.Counts, 1)
		b.Sums, b.Counts = append(b.Sums, x-.1), append(b.Counts, 1)
	}
	re := stats.NewResamples(names, 200)
	d := re.Percentile([]stats.Clustered{a}, []stats.Clustered{b}, .95)
	if d.High-d.Low > 1e-9 || math.Abs(d.Low-.1) > 1e-9 {
		t.Errorf("a constant paired difference of .1 has the interval %v", d)
	}
}
