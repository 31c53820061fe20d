package compare_test

import (
	"math"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// TestCurves checks that a curve is the mean over a row's seeds, with an interval from three
// seeds on that stays above 0 where all values do; that rows with equal values share one curve;
// and that the objective is that of the row's trials.
func TestCurves(t *testing.T) {
	curves := &table.Table{Columns: []*table.Column{{Name: "trial", Kind: table.String}, {Name: "stage", Kind: table.String},
		{Name: "step", Kind: table.Int}, {Name: "metric", Kind: table.String}, {Name: "value", Kind: table.Float}}}
	add := func(trial, stage string, step int64, value float64) {
		for name, v := range map[string]string{"trial": trial, "stage": stage, "metric": "loss"} {
			curves.Column(name).Strings = append(curves.Column(name).Strings, v)
		}
		curves.Column("step").Ints, curves.Column("value").Floats = append(curves.Column("step").Ints, step), append(curves.Column("value").Floats, value)
	}
	for i, trial := range []string{"a1", "a2", "a3"} {
		add(trial, "finetune", 20, []float64{.1, .001, .01}[i])
		add(trial, "finetune", 10, math.NaN()) // a diverging step
		add(trial, "pretrain", 10, 5)
		add([]string{"b1", "b2", "b3"}[i], "pretrain", 10, 5)
		add([]string{"b1", "b2", "b3"}[i], "finetune", 20, float64(i-1))
	}
	add("c1", "finetune", 20, 3)
	trials := &table.Table{Columns: []*table.Column{{Name: "trial", Kind: table.String, Strings: []string{"a1", "b1", "c1"}},
		{Name: "finetune.method", Kind: table.String, Strings: []string{"dpo", "grpo", ""}, Valid: []bool{true, true, false}}}}
	tab := &compare.Table{Rows: []compare.Row{
		{Label: "a", Trials: []string{"a1", "a2", "a3"}, Seeds: []string{"1", "2", "3"}},
		{Label: "again", SameAs: "a", Trials: []string{"a1"}, Seeds: []string{"1"}},
		{Label: "b", Trials: []string{"b1", "b2", "b3"}, Seeds: []string{"1", "2", "3"}},
		{Label: "c", Trials: []string{"c1"}, Seeds: []string{"1"}},
	}}
	got := compare.Curves(tab, trials, curves, "finetune", "loss")
	if len(got) != 3 || got[0].Row != 0 || got[1].Row != 2 || got[2].Row != 3 {
		t.Fatalf("curves %+v", got)
	}
	for i, want := range []string{"dpo", "grpo", ""} {
		if got[i].Objective != want || len(got[i].Steps) != 1 || got[i].Steps[0].At != 20 {
			t.Errorf("curve %d: %+v, want one point of %q", i, got[i], want)
		}
	}
	// Student's t of log10 of the values, -1, -3 and -2: mean -2, sd 1, t.975 with 2 degrees
	// of freedom 4.302653.
	half := 4.302653 / math.Sqrt(3)
	if s := got[0].Steps[0]; !s.Interval || math.Abs(s.Mean-.01) > 1e-9 || math.Abs(math.Log10(s.Low)+2+half) > 1e-5 || math.Abs(math.Log10(s.High)+2-half) > 1e-5 {
		t.Errorf("positive values: %+v", s)
	}
	// -1, 0 and 1 as they are.
	if s := got[1].Steps[0]; !s.Interval || s.Mean != 0 || math.Abs(s.High-half) > 1e-5 || math.Abs(s.Low+half) > 1e-5 {
		t.Errorf("values of both signs: %+v", s)
	}
	if s := got[2].Steps[0]; s.Interval || math.Abs(s.Mean-3) > 1e-9 || s.Low != 3 || s.High != 3 {
		t.Errorf("one seed: %+v", s)
	}
	// Values of -1, 0 and 1 after the first look of two.
	tab.Looks = []int{3, 8}
	level := stats.NewLooks(tab.Looks).Level(3, .95)
	if s := compare.Curves(tab, trials, curves, "finetune", "loss")[1].Steps[0]; level < .98 || math.Abs(s.High-stats.Student(0, 1/math.Sqrt(3), 2, level).High) > 1e-9 {
		t.Errorf("a study with looks: %+v", s)
	}
	if got := compare.Curves(tab, nil, curves, "pretrain", "loss"); len(got) != 1 || got[0].Row != 0 || got[0].Steps[0].Interval {
		t.Errorf("what rows share: %+v", got)
	}
}
