package compare_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/compare"
)

// TestFloors checks that the floor of a metric without a range is in its own units, and that
// the smallest difference is that of the power of a t test.
func TestFloors(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .54, .51, .53}, "a": {.6, .64, .63, .6, .66}}, []string{"base", "a"}, diagonal(5))
	trials.Column("proxy").Range = ""
	got := made(t, trials, samples, compare.Options{Primary: []string{"proxy"}}).Floors()
	if len(got) != 1 {
		t.Fatalf("%d floors", len(got))
	}
	f := got[0]
	base, differences := []float64{.5, .52, .54, .51, .53}, []float64{.1, .12, .09, .09, .13}
	if f.Metric != "proxy" || f.Seeds != 5 || f.Rows != 1 || math.Abs(f.SD-stat.StdDev(base, nil)) > 1e-9 || math.Abs(f.Paired-stat.StdDev(differences, nil)) > 1e-9 {
		t.Errorf("floor %+v", f)
	}
	// The power of the noncentral t of 8 seeds, averaged over σ = s·√(4/χ²₄), is .8 at 1.4407
	// sd (scipy 1.17, stats.nct and integrate.quad).
	if s := f.Find[2]; s.Seeds != 8 || math.Abs(s.Alone/f.Paired-1.4407) > .01 || s.Corrected != s.Alone {
		t.Errorf("the smallest difference of 8 seeds: %+v", s)
	}
	if few := ablation(t, map[string][]float64{"base": {.5, .52}, "a": {.6, .61}}, []string{"base", "a"}, diagonal(2)); few.Floors() != nil {
		t.Errorf("two seeds have the floors %+v", few.Floors())
	}
}
