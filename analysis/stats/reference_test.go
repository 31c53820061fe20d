package stats_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"ablate/analysis/stats"
)

// Reference values of scipy and statsmodels, made by testdata/reference.py.
type reference struct {
	Student struct {
		X        []float64
		Interval [2]float64
	}
	TTest struct {
		X                 []float64
		Against, P, Above float64
	}
	Wilson []struct {
		Good, N  int
		Interval [2]float64
	}
	Holm struct{ P, Adjusted []float64 }
	TOST struct {
		X         []float64
		Margin, P float64
	}
	Power []struct {
		Delta, SD, Power float64
		N                int
	}
	Needed []struct {
		Delta, SD float64
		N         int
	}
	Clusters struct {
		Sums                          [][]float64
		Images                        float64
		Shared, Seeds, Prompts, Cells float64
	}
	Crossed struct {
		X        [][]float64
		Variance float64
	}
	Moderate struct{ SD, DF, Moderated, Total []float64 }
}

func diagonal(n int) []stats.Seed {
	var s []stats.Seed
	for i := range n {
		s = append(s, stats.Seed{Pretraining: int64(i), Feedback: int64(i)})
	}
	return s
}

func TestReference(t *testing.T) {
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref reference
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	within := func(what string, got, want, tol float64) {
		t.Helper()
		if !(math.Abs(got-want) <= tol*(1e-3+math.Abs(want))) {
			t.Errorf("%s: %.12g, want %.12g", what, got, want)
		}
	}
	e, _ := stats.OverSeeds(diagonal(4), ref.Student.X, nil)
	within("student low", e.Interval(.95).Low, ref.Student.Interval[0], 1e-9)
	within("student high", e.Interval(.95).High, ref.Student.Interval[1], 1e-9)
	within("two-sided p", e.Differs(ref.TTest.Against), ref.TTest.P, 1e-9)
	within("one-sided p", e.Above(ref.TTest.Against), ref.TTest.Above, 1e-9)
	for _, w := range ref.Wilson {
		i := stats.Wilson(w.Good, w.N, .95)
		within(fmt.Sprint("wilson low ", w), i.Low, w.Interval[0], 1e-9)
		within(fmt.Sprint("wilson high ", w), i.High, w.Interval[1], 1e-9)
	}
	for i, c := range stats.Holm(ref.Holm.P, .05) {
		within(fmt.Sprint("holm ", i), c.P, ref.Holm.Adjusted[i], 1e-12)
	}
	e, _ = stats.OverSeeds(diagonal(5), ref.TOST.X, nil)
	within("tost", e.Equivalent(ref.TOST.Margin), ref.TOST.P, 1e-9)
	for _, p := range ref.Power {
		within(fmt.Sprint("power ", p), stats.Power(p.Delta, p.SD, p.N, .05), p.Power, 1e-4)
	}
	for _, p := range ref.Needed {
		if got := stats.SeedsNeeded(p.Delta, p.SD, .05, .8); got != p.N {
			t.Errorf("seeds needed for %+v: %d", p, got)
		}
	}
	// Shared prompts: what statsmodels adds to errors clustered by seed alone.
	var values []float64
	var byPrompt [][]float64
	for _, sums := range ref.Clusters.Sums {
		c := stats.Clustered{Sums: sums, Counts: make([]float64, len(sums))}
		var s float64
		for i := range sums {
			c.Counts[i] = ref.Clusters.Images
			s += sums[i]
		}
		values = append(values, s/ref.Clusters.Images/float64(len(sums)))
		byPrompt = append(byPrompt, c.Influence())
	}
	seeds := diagonal(len(values))
	alone, _ := stats.OverSeeds(seeds, values, nil)
	both, _ := stats.OverSeeds(seeds, values, byPrompt)
	n := float64(len(values))
	within("variance over seeds", alone.Error*alone.Error*(n-1)/n, ref.Clusters.Seeds, 1e-9)
	// statsmodels centres on the grand mean, we on each seed's: what seeds
	// differ by is over seeds already.
	p := float64(len(byPrompt[0]))
	added := both.Error*both.Error - alone.Error*alone.Error
	within("added by shared prompts", added*(p-1)/p, ref.Clusters.Prompts-ref.Clusters.Cells, .2)
	// Crossed seeds.
	seeds, values = nil, nil
	for i, row := range ref.Crossed.X {
		for j, x := range row {
			seeds, values = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(j)}), append(values, x)
		}
	}
	e, _ = stats.OverSeeds(seeds, values, nil)
	within("variance of crossed seeds", e.Error*e.Error, ref.Crossed.Variance, 1e-9)
	m, total := stats.Moderate(ref.Moderate.SD, ref.Moderate.DF)
	for i := range m {
		within(fmt.Sprint("moderated ", i), m[i], ref.Moderate.Moderated[i], 1e-6)
		within(fmt.Sprint("freedom ", i), total[i], ref.Moderate.Total[i], 1e-6)
	}
}

// TestHolmInterval: an interval at the level of Holm's correction excludes the
// hypothesis exactly where the corrected p value is below alpha.
func TestHolmInterval(t *testing.T) {
	es := []stats.Estimate{{.05, .01, 4}, {.02, .01, 4}, {-.04, .008, 6}, {.001, .01, 4}, {.03, .012, 7}}
	var p []float64
	for _, e := range es {
		p = append(p, e.Differs(0))
	}
	some := 0
	for i, c := range stats.Holm(p, .05) {
		if es[i].Interval(c.Level).Excludes(0) != (c.P < .05) {
			t.Errorf("%+v: corrected p %v, interval %v at level %v", es[i], c.P, es[i].Interval(c.Level), c.Level)
		}
		if c.P < .05 {
			some++
		}
	}
	if some == 0 || some == len(es) {
		t.Errorf("%d of %d are resolved: the test tells nothing", some, len(es))
	}
}

func TestFront(t *testing.T) {
	p := []stats.Point{{.2, .9}, {.5, .5}, {.9, .1}, {.4, .4}, {.5, .5}, {.1, .1}}
	want := []bool{true, true, true, false, true, false}
	for i, on := range stats.Front(p) {
		if on != want[i] {
			t.Errorf("point %v on the front: %v", p[i], on)
		}
	}
	near(t, "hypervolume", stats.Hypervolume(p, stats.Point{}), .2*.9+.3*.5+.4*.1)
	near(t, "hypervolume above (.3, .2)", stats.Hypervolume(p, stats.Point{X: .3, Y: .2}), .2*.3)
	for i, d := range []float64{0, 0, 0, .1, 0, .4} {
		near(t, fmt.Sprint("behind the front ", p[i]), stats.BehindFront(p)[i], d)
	}
}

// TestContrasts on a 2 × 3 design with known effects.
func TestContrasts(t *testing.T) {
	a, b := []int{0, 0, 0, 1, 1, 1}, []int{0, 1, 2, 0, 1, 2}
	effectA, effectB, both := []float64{-.1, .1}, []float64{-.03, 0, .03}, [][]float64{{.01, 0, -.01}, {-.01, 0, .01}}
	var cells []float64
	for i := range a {
		cells = append(cells, .5+effectA[a[i]]+effectB[b[i]]+both[a[i]][b[i]])
	}
	near(t, "main effect of a", stats.MainEffect(a, 1, 2).Of(cells), .1)
	near(t, "main effect of b", stats.MainEffect(b, 0, 3).Of(cells), -.03)
	near(t, "interaction", stats.Interaction(a, b, 1, 2, 2, 3).Of(cells), .01)
	near(t, "trend of b", stats.Trend(b, 3).Of(cells), .06)
	if !stats.Monotone([]float64{1, 2, 2, 3}) || stats.Monotone([]float64{1, 2, 1}) {
		t.Error("monotone is taken for what is not, or the reverse")
	}
}

func TestImprovement(t *testing.T) {
	share, i := stats.Improvement([]float64{.1, .2, 0, -.1}, 4, .95)
	near(t, "probability of improvement", share, .625)
	if i.Low > .25 || i.High < .85 {
		t.Errorf("four pairs give %v", i)
	}
	near(t, "smallest p of five pairs", stats.SmallestSignP(5), .0625)
}
