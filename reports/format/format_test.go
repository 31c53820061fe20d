package format_test

import (
	"math"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		digits int
		v      float64
		want   string
		signed string
	}{
		{0, .5, ".500", "+.500"}, {0, -.5, "−.500", "−.500"}, {0, 0, ".000", ".000"},
		{0, -.0004, ".000", ".000"}, {0, .0004, ".000", ".000"}, {0, 1, "1.000", "+1.000"},
		{1, -12.34, "−12.3", "−12.3"}, {1, .04, "0.0", "0.0"}, {4, -.00123, "−0.0012", "−0.0012"},
	} {
		if got := format.Number(c.digits, c.v); got != c.want {
			t.Errorf("%v with %d digits reads %q, want %q", c.v, c.digits, got, c.want)
		}
		if got := format.Signed(c.digits, c.v); got != c.signed {
			t.Errorf("%v with %d digits and its sign reads %q, want %q", c.v, c.digits, got, c.signed)
		}
	}
	for _, c := range []struct {
		digits int
		v      float64
		want   string
	}{{0, .05, ".05"}, {0, 1.5, "1.5"}, {1, .5, "0.5"}, {1, 10, "10"}} {
		if got := format.Size(c.digits, c.v); got != c.want {
			t.Errorf("a declared size of %v with %d digits reads %q, want %q", c.v, c.digits, got, c.want)
		}
	}
	for want, got := range map[string]string{"−0.50": format.Fixed(-.5, 2), "0.0": format.Fixed(-.01, 1), "10": format.Fixed(10, 0)} {
		if got != want {
			t.Errorf("on an axis it reads %q, want %q", got, want)
		}
	}
	for p, want := range map[float64]string{.5: ".50", .04: ".04", .0496: ".0496", .0504: ".0504", .056: ".06", .0061: ".0061", 1e-9: "< .0001", 1: "1.00"} {
		if got := format.P(p); got != want {
			t.Errorf("p of %v reads %q, want %q", p, got, want)
		}
	}
}

// TestBounds: rounding does not move the end of an interval to 0.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		digits    int
		low, high float64
		want      string
	}{
		{0, -.0684, -.0004, "[−.068, −.0004]"}, {0, .00004, .1, "[+.00004, +.100]"}, {0, -.0004, .1, "[.000, +.100]"},
		{0, 0, .1, "[.000, +.100]"}, {1, .04, 2, "[+0.04, +2.0]"}, {0, 1e-9, .1, "[.000000, +.100]"},
	} {
		if got := format.Bounds(c.digits, compare.Bounds{Low: c.low, High: c.high}); got != c.want {
			t.Errorf("[%v, %v] reads %q, want %q", c.low, c.high, got, c.want)
		}
	}
}

// TestNotes: every kind of note has a sentence.
func TestNotes(t *testing.T) {
	for _, k := range []compare.Kind{compare.Control, compare.SelectedOn, compare.Pending, compare.Undefined, compare.Diverged, compare.Damaged, compare.Unequal, compare.Constant, compare.NoSamples,
		compare.FewPrompts, compare.Outlier, compare.FewPairs, compare.FewSeeds, compare.NoSpread, compare.Absent, compare.Environments, compare.SameParser, compare.Labelled, compare.ImportedFrom, compare.Guessed, compare.Moderated} {
		if got := format.Note(compare.Note{Kind: k, N: 2, Of: 3, Share: .25, Names: []string{"1"}}); got == string(k) || len(got) < 20 {
			t.Errorf("a note on %s reads %q", k, got)
		}
	}
	if got := format.Note(compare.Note{Kind: compare.FewPairs, N: 3, Share: math.Ldexp(1, -2)}); got != "With 3 seeds a sign test cannot fall below p = .25; significance rests on differences that are normally distributed over seeds." {
		t.Errorf("few pairs: %q", got)
	}
}

// TestOverOptimization: findings have corrected intervals, and nothing is claimed about
// rows that are not tested.
func TestOverOptimization(t *testing.T) {
	change := func(mean float64) compare.Difference {
		return compare.Difference{Cell: compare.Cell{Mean: mean, N: 8}, Corrected: &compare.Bounds{Low: mean - .02, High: mean + .02}}
	}
	const means = "the proxy (the learned reward's score) rises while the gold (the judge's share of good images) falls, from an earlier probe (a measurement during a fine-tuning) to the last"
	turn := compare.Turn{Row: "b", From: 50, To: 100, Proxy: change(.1), Gold: change(-.08)}
	for _, c := range []struct {
		of   compare.OverOptimization
		want string
	}{
		{compare.OverOptimization{Few: 2}, "Over-optimization is not tested, which takes three seeds of a row. It would mean that " + means + "."},
		{compare.OverOptimization{Rows: 2, Few: 1, Family: 4}, "No significant over-optimization in 2 rows. It would mean that " + means + " (4 pairs of probes, paired by seed, corrected by Holm). Not tested, with fewer than three seeds: 1 row."},
		{compare.OverOptimization{Rows: 6, Family: 12, Found: []compare.Turn{turn}}, "Over-optimization, which means that " + means + ", is significant in 1 of 6 rows: “b” from step 50 to 100: proxy +.100 [+.080, +.120], gold −.080 [−.100, −.060] (8 seeds). Changes are paired by seed; intervals are corrected for 12 pairs of probes (Holm)."},
	} {
		if got := format.OverOptimization(&c.of); got != c.want {
			t.Errorf("it says\n%s, want\n%s", got, c.want)
		}
	}
	if got := format.OverOptimization(&compare.OverOptimization{Rows: 6, Family: 12, Found: []compare.Turn{turn, turn, turn, turn, turn}}); !strings.Contains(got, "(8 seeds); and 1 more. Changes") {
		t.Errorf("of five rows it says %s", got)
	}
}

func TestBrief(t *testing.T) {
	for want, r := range map[string]compare.Row{
		"all data":            {Arm: "all data"},
		"oracle (control)":    {Arm: "oracle", Control: true},
		"beta=0.1":            {Arm: "beta", Point: []compare.Value{{Axis: "finetune.beta", Value: "0.1"}}},
		"label noise=0":       {Arm: "label noise", Point: []compare.Value{{Axis: "feedback.parser.noise", Value: "0"}}},
		"best of n bestOf=4":  {Arm: "best of n", Point: []compare.Value{{Axis: "evaluate.bestOf", Value: "4"}}},
		"beta beta=1 steps=2": {Arm: "beta", Point: []compare.Value{{Axis: "finetune.beta", Value: "1"}, {Axis: "finetune.steps", Value: "2"}}},
		"alphabeta beta=1":    {Arm: "alphabeta", Point: []compare.Value{{Axis: "finetune.beta", Value: "1"}}},
	} {
		if got := format.Brief(r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
