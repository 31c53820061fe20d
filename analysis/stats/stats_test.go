package stats_test

import (
	"math"
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
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {2, 2}}, []float64{1, 2}); ok {
		t.Error("two seeds give an interval over seeds")
	}
	if _, ok := stats.OverSeeds([]stats.Seed{{1, 1}, {1, 2}, {1, 3}}, []float64{1, 2, 3}); ok {
		t.Error("three feedback seeds on one pretraining give an interval over seeds")
	}
}

// TestInvariance checks that intervals shift and scale with the values, and do not depend on
// their order.
func TestInvariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Float64Range(-10, 10)
		x := rapid.SliceOfN(value, 3, 12).Draw(t, "values")
		shift, scale := value.Draw(t, "shift"), rapid.Float64Range(.1, 5).Draw(t, "scale")
		var seeds []stats.Seed
		for i := range x {
			seeds = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(i)})
		}
		moved := make([]float64, len(x))
		for i, v := range x {
			moved[i] = shift + scale*v
		}
		over := func(values []float64) stats.Interval {
			e, _ := stats.OverSeeds(seeds, values)
			return e.Interval(.95)
		}
		a, b := over(x), over(moved)
		for _, pair := range [][2]float64{{a.Low, b.Low}, {a.High, b.High}} {
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

// TestScales checks that From inverts To, and that To preserves order.
func TestScales(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5000).Draw(t, "n")
		share := rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(0, n).Draw(t, "k")) / float64(n) })
		a, b := share.Draw(t, "a"), share.Draw(t, "b")
		if back := stats.Logit.From(stats.Logit.To(a, n), n); math.Abs(back-a) > 1e-9 {
			t.Fatalf("%v of %d comes back as %v", a, n, back)
		}
		if d := stats.Logit.To(a, n) - stats.Logit.To(b, n); d*(a-b) < 0 || (d == 0) != (a == b) || math.IsInf(d, 0) {
			t.Fatalf("%v and %v of %d differ by %v", a, b, n, d)
		}
	})
}

// TestPaired: 30 images of 400 count in one arm only and 20 in the other.
func TestPaired(t *testing.T) {
	mean := 10. / 400
	near(t, "discordant pairs", stats.Paired(50./400-mean*mean, 1, 400), (50-100./400)/400/400)
	near(t, "no discordant pair", stats.Paired(0, 1, 400), 1./400/400)
}

// TestFrontByDefinition compares the front and the distances to it with their definitions,
// point against point.
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
	})
}
