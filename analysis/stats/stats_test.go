package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

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
		{[]stats.Seed{{1, 1}, {1, 2}, {1, 3}}, 1},                         // one pretraining
		{[]stats.Seed{{1, 1}, {1, 2}, {2, 3}, {2, 4}, {3, 5}, {3, 6}}, 3}, // nested
		{nil, 0},
		{[]stats.Seed{{1, 1}}, 1},
	} {
		if got := stats.Independent(tc.seeds); got != tc.want {
			t.Errorf("Independent(%v) = %d, want %d", tc.seeds, got, tc.want)
		}
	}
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {2, 2}}, []float64{1, 2}, .95); ok {
		t.Error("two seeds give an interval over seeds")
	}
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {1, 2}, {1, 3}}, []float64{1, 2, 3}, .95); ok {
		t.Error("three feedback seeds on one pretraining give an interval over seeds")
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

// TestCrossedCoverage simulates k × k crossed seeds, whose pretraining and
// feedback each have an effect of their own, and the same runs taken for k²
// independent ones, which the coverage shows to be wrong.
func TestCrossedCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const runs = 1000
	for _, k := range []int{3, 5} {
		for _, ratio := range []float64{0, .3, 1} { // of the feedback's variance to the pretraining's
			in, naive := 0, 0
			for range runs {
				a, b := make([]float64, k), make([]float64, k)
				for i := range k {
					a[i], b[i] = r.NormFloat64(), math.Sqrt(ratio)*r.NormFloat64()
				}
				var seeds []stats.Seed
				var x []float64
				for i := range k {
					for j := range k {
						seeds = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(j)})
						x = append(x, a[i]+b[j]+.3*r.NormFloat64())
					}
				}
				if iv, ok := stats.OverSeeds(seeds, x, .95); ok && !iv.Excludes(0) {
					in++
				}
				if !stats.MeanInterval(x, .95).Excludes(0) {
					naive++
				}
			}
			t.Logf("%d × %d, ratio %.1f: covers %.3f, as %d independent runs %.3f", k, k, ratio, float64(in)/runs, k*k, float64(naive)/runs)
			if share := float64(in) / runs; share < .93 {
				t.Errorf("%d × %d crossed seeds, ratio %.1f: the interval covers %.3f, want .95 or more", k, k, ratio, share)
			}
			if share := float64(naive) / runs; share > .9 {
				t.Errorf("the simulation does not tell: %d × %d runs taken for independent cover %.3f", k, k, share)
			}
		}
	}
}

// TestInvariance: intervals move with a shift, stretch with a scale, and do not
// depend on the order of what they are made of.
func TestInvariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Float64Range(-10, 10)
		x := rapid.SliceOfN(value, 3, 12).Draw(t, "values")
		shift, scale := value.Draw(t, "shift"), rapid.Float64Range(.1, 5).Draw(t, "scale")
		var seeds []stats.Seed
		var names []string
		c := stats.Clustered{}
		for i, v := range x {
			seeds = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(i)})
			names = append(names, fmt.Sprint(i))
			c.Sums, c.Counts = append(c.Sums, v), append(c.Counts, 1)
		}
		moved := make([]float64, len(x))
		m := stats.Clustered{Sums: moved, Counts: c.Counts}
		for i, v := range x {
			moved[i] = shift + scale*v
		}
		a, _ := stats.OverSeeds(seeds, x, .95)
		b, _ := stats.OverSeeds(seeds, moved, .95)
		re := stats.NewResamples(names, 50)
		p, q := re.Percentile([]stats.Clustered{c}, nil, .95), re.Percentile([]stats.Clustered{m}, nil, .95)
		for _, pair := range [][2]float64{{a.Low, b.Low}, {a.High, b.High}, {p.Low, q.Low}, {p.High, q.High}} {
			if want := shift + scale*pair[0]; math.Abs(want-pair[1]) > 1e-9*(1+math.Abs(want)) {
				t.Fatalf("bound %v moved to %v, want %v", pair[0], pair[1], want)
			}
		}
		slices.Reverse(x)
		if r, _ := stats.OverSeeds(seeds, x, .95); math.Abs(r.Low-a.Low) > 1e-9 || math.Abs(r.High-a.High) > 1e-9 {
			t.Fatalf("in reverse order %v, want %v", r, a)
		}
	})
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
