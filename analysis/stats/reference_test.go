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
	Clopper  []struct {
		Good, N  int
		Interval [2]float64
	}
	Logit struct {
		K, N        int
		Y, Variance float64
	}
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
	e, _ := stats.OverSeeds(diagonal(4), ref.Student.X)
	within("student low", e.Interval(.95).Low, ref.Student.Interval[0], 1e-9)
	within("student high", e.Interval(.95).High, ref.Student.Interval[1], 1e-9)
	within("two-sided p", e.P(ref.TTest.Against), ref.TTest.P, 1e-9)
	within("one-sided p", e.Above(ref.TTest.Against), ref.TTest.Above, 1e-9)
	for _, w := range ref.Clopper {
		i := stats.ClopperPearson(float64(w.Good), w.N, .95)
		within(fmt.Sprint("exact low ", w), i.Low, w.Interval[0], 1e-9)
		within(fmt.Sprint("exact high ", w), i.High, w.Interval[1], 1e-9)
	}
	x := float64(ref.Logit.K) / float64(ref.Logit.N)
	within("logit", stats.Logit.To(x, ref.Logit.N), ref.Logit.Y, 1e-12)
	within("back from the logit", stats.Logit.From(ref.Logit.Y, ref.Logit.N), x, 1e-12)
	within("variance of a logit", stats.Binomial(x, ref.Logit.N), ref.Logit.Variance, 1e-12)
	for _, w := range ref.Wilson {
		i := stats.Wilson(w.Good, w.N, .95)
		within(fmt.Sprint("wilson low ", w), i.Low, w.Interval[0], 1e-9)
		within(fmt.Sprint("wilson high ", w), i.High, w.Interval[1], 1e-9)
	}
	for i, c := range stats.Holm(ref.Holm.P, .05) {
		within(fmt.Sprint("holm ", i), c.P, ref.Holm.Adjusted[i], 1e-12)
	}
	e, _ = stats.OverSeeds(diagonal(5), ref.TOST.X)
	within("tost", e.Equivalent(-ref.TOST.Margin, ref.TOST.Margin), ref.TOST.P, 1e-9)
	for _, p := range ref.Power {
		within(fmt.Sprint("power ", p), stats.Design{SD: p.SD}.Power(p.Delta, p.N, .05), p.Power, 1e-4)
	}
	// Averaged over σ = s·√(4/χ²₄): scipy 1.17, stats.nct and integrate.quad.
	within("power of an estimated standard deviation", stats.Design{SD: 1}.Estimated(4).Power(1, 20, .05), .8782, .004)
	// Power at the smallest difference is the given power.
	d := stats.Design{SD: .04, Borrowed: 3}
	within("power at the smallest difference", d.Power(d.Smallest(5, .01, .8), 5, .01), .8, 1e-6)
	for _, p := range ref.Needed {
		if got, ok := (stats.Design{SD: p.SD}).SeedsNeeded(p.Delta, .05, .8); got != p.N || !ok {
			t.Errorf("seeds needed for %+v: %d", p, got)
		}
	}
	// Shared prompts: the difference that statsmodels' errors clustered by seed and prompt have
	// from those clustered by seed alone.
	var values []float64
	var byPrompt [][]float64
	var counts []float64
	for _, sums := range ref.Clusters.Sums {
		c := stats.Clustered{Sums: sums, Counts: make([]float64, len(sums))}
		var s float64
		for i := range sums {
			c.Counts[i] = ref.Clusters.Images
			s += sums[i]
		}
		values = append(values, s/ref.Clusters.Images/float64(len(sums)))
		byPrompt, counts = append(byPrompt, make(stats.Strata, len(sums)).Influence(c)), c.Counts
	}
	seeds := diagonal(len(values))
	alone, _ := stats.OverSeeds(seeds, values)
	n := float64(len(values))
	within("variance over seeds", alone.SE()*alone.SE()*(n-1)/n, ref.Clusters.Seeds, 1e-9)
	// statsmodels centres on the grand mean, Influence on each seed's mean, because differences
	// between seeds are part of the variance over seeds.
	p := float64(len(byPrompt[0]))
	added := make(stats.Strata, len(counts)).Shared(seeds, byPrompt, counts)
	within("added by shared prompts", added*(p-1)/p, ref.Clusters.Prompts-ref.Clusters.Cells, .2)
	// Crossed seeds.
	seeds, values = nil, nil
	for i, row := range ref.Crossed.X {
		for j, x := range row {
			seeds, values = append(seeds, stats.Seed{Pretraining: int64(i), Feedback: int64(j)}), append(values, x)
		}
	}
	e, _ = stats.OverSeeds(seeds, values)
	within("variance of crossed seeds", e.SE()*e.SE(), ref.Crossed.Variance, 1e-9)
	m, total := stats.Moderate(ref.Moderate.SD, ref.Moderate.DF, stats.Rows{Correlation: .15, Outlying: .01})
	for i := range m {
		within(fmt.Sprint("moderated ", i), m[i], ref.Moderate.Moderated[i], 1e-6)
		within(fmt.Sprint("degrees of freedom ", i), total[i], ref.Moderate.Total[i], 1e-6)
	}
}

// TestHolmInterval checks that an interval at the level of Holm's correction excludes the
// hypothesis exactly where the corrected p value is below alpha.
func TestHolmInterval(t *testing.T) {
	var es []stats.Estimate
	for _, x := range [][3]float64{{.05, .01, 4}, {.02, .01, 4}, {-.04, .008, 6}, {.001, .01, 4}, {.03, .012, 7}} {
		es = append(es, stats.Estimate{Mean: x[0], N: 1, SD: x[1], DF: x[2]})
	}
	var p []float64
	for _, e := range es {
		p = append(p, e.P(0))
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
		t.Errorf("%d of %d are significant: the test shows nothing", some, len(es))
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
	near(t, "main effect of a", of(stats.MainEffect(a, 1, 2), cells), .1)
	near(t, "main effect of b", of(stats.MainEffect(b, 0, 3), cells), -.03)
	near(t, "interaction", of(stats.Interaction(a, b, 1, 2, 2, 3), cells), .01)
	near(t, "trend of b", of(stats.Trend(b, 3), cells), .06)
	near(t, "step of a", of(stats.Step(a, 0, 1), cells), .2)
	near(t, "range of b", of(stats.Step(b, 0, 2), cells), .06)
}

// of returns the value of a contrast of cells.
func of(c stats.Contrast, cells []float64) (s float64) {
	for i, w := range c {
		s += w * cells[i]
	}
	return s
}
