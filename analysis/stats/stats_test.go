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
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {2, 2}}, []float64{1, 2}, nil); ok {
		t.Error("two seeds give an interval over seeds")
	}
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {1, 2}, {1, 3}}, []float64{1, 2, 3}, nil); ok {
		t.Error("three feedback seeds on one pretraining give an interval over seeds")
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
		over := func(values []float64) stats.Interval {
			e, _ := stats.OverSeeds(seeds, values, nil)
			return e.Interval(.95)
		}
		a, b := over(x), over(moved)
		re := stats.NewResamples(names, 50)
		p, q := re.Percentile([]stats.Clustered{c}, nil, .95), re.Percentile([]stats.Clustered{m}, nil, .95)
		for _, pair := range [][2]float64{{a.Low, b.Low}, {a.High, b.High}, {p.Low, q.Low}, {p.High, q.High}} {
			if want := shift + scale*pair[0]; math.Abs(want-pair[1]) > 1e-9*(1+math.Abs(want)) {
				t.Fatalf("bound %v moved to %v, want %v", pair[0], pair[1], want)
			}
		}
		slices.Reverse(x)
		if r := over(x); math.Abs(r.Low-a.Low) > 1e-9 || math.Abs(r.High-a.High) > 1e-9 {
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

// TestFrontByDefinition compares what is found along the sorted front with the
// definitions, point against point.
func TestFrontByDefinition(t *testing.T) {
	dominates := func(p, q stats.Point) bool { return p.X >= q.X && p.Y >= q.Y && p != q }
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Float64Range(-1, 1), rapid.SampledFrom([]float64{0, .25, .5})) // with ties
		points := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) stats.Point {
			return stats.Point{X: value.Draw(t, "x"), Y: value.Draw(t, "y")}
		}), 0, 12).Draw(t, "points")
		on, behind := stats.Front(points), stats.BehindFront(points)
		for i, p := range points {
			wantOn, want := true, 0.
			for _, q := range points {
				if dominates(q, p) {
					wantOn, want = false, max(want, min(q.X-p.X, q.Y-p.Y))
				}
			}
			if on[i] != wantOn || behind[i] != want {
				t.Fatalf("%v: on the front %v, behind it %v; want %v, %v", p, on[i], behind[i], wantOn, want)
			}
		}
		// The area, cut into columns at the points.
		xs := []float64{0}
		for _, p := range points {
			xs = append(xs, max(p.X, 0))
		}
		slices.Sort(xs)
		var want float64
		for i, x := range xs[1:] {
			height := 0.
			for _, p := range points {
				if p.X >= x {
					height = max(height, p.Y)
				}
			}
			want += (x - xs[i]) * height
		}
		if got := stats.Hypervolume(points, stats.Point{}); math.Abs(got-want) > 1e-12 {
			t.Fatalf("area %v, want %v", got, want)
		}
	})
}
