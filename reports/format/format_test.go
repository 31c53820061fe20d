package format_test

import (
	"math"
	"testing"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		metric string
		v      float64
		want   string
		signed string
	}{
		{"alignment", .5, ".500", "+.500"}, {"alignment", -.5, "−.500", "−.500"}, {"alignment", 0, ".000", ".000"},
		{"alignment", -.0004, ".000", ".000"}, {"alignment", .0004, ".000", ".000"}, {"alignment", 1, "1.000", "+1.000"},
		{"distance.kl", -12.34, "−12.3", "−12.3"}, {"fidelity.frechet", .04, "0.0", "0.0"}, {"fidelity.kid", -.00123, "−0.0012", "−0.0012"},
	} {
		if got := format.Number(c.metric, c.v); got != c.want {
			t.Errorf("%s %v reads %q, want %q", c.metric, c.v, got, c.want)
		}
		if got := format.Signed(c.metric, c.v); got != c.signed {
			t.Errorf("%s %v with its sign reads %q, want %q", c.metric, c.v, got, c.signed)
		}
	}
	for p, want := range map[float64]string{.5: ".50", .04: ".04", .0061: ".0061", 1e-9: "< .0001", 1: "1.00"} {
		if got := format.P(p); got != want {
			t.Errorf("p of %v reads %q, want %q", p, got, want)
		}
	}
}

// TestNotes: every kind of note has its words.
func TestNotes(t *testing.T) {
	for _, k := range []compare.Kind{compare.Control, compare.SelectedOn, compare.Pending, compare.Undefined, compare.Damaged, compare.Unequal, compare.Constant, compare.NoSamples,
		compare.FewPrompts, compare.Outlier, compare.FewPairs, compare.FewSeeds, compare.NoSpread, compare.Absent, compare.Environments, compare.SameParser, compare.ImportedFrom, compare.Guessed, compare.Moderated} {
		if got := format.Note(compare.Note{Kind: k, N: 2, Of: 3, Share: .25, Names: []string{"1"}}); got == string(k) || len(got) < 20 {
			t.Errorf("a note on %s reads %q", k, got)
		}
	}
	if got := format.Note(compare.Note{Kind: compare.FewPairs, N: 3, Share: math.Ldexp(1, -2)}); got != "With 3 seeds a sign test cannot fall below p = .25; significance rests on differences that are normal over seeds." {
		t.Errorf("few pairs: %q", got)
	}
}
