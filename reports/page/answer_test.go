package page

import (
	"strings"
	"testing"

	"ablate/analysis/compare"
)

// TestAnswer: the first lines of a report, with the intervals that are corrected for what
// they select.
func TestAnswer(t *testing.T) {
	row := func(label string, n int, alignment, recall float64, significant bool) compare.Row {
		diff := func(mean float64) compare.Difference {
			c := compare.Cell{Mean: mean, Low: mean - .1, High: mean + .1, N: n, Interval: compare.OverImages}
			d := compare.Difference{Cell: c, Significant: significant}
			if n >= 3 {
				d.Interval, d.Corrected = compare.OverSeeds, &compare.Bounds{Low: mean - .15, High: mean + .15}
			}
			return d
		}
		return compare.Row{Label: label, Cells: map[string]compare.Cell{"alignment": {Mean: .5}},
			Differences: map[string]compare.Difference{"alignment": diff(alignment), "fidelity.recall": diff(recall)}}
	}
	base := compare.Row{Label: "base", Cells: map[string]compare.Cell{"alignment": {Mean: .5}}}
	control := row("oracle", 1, .9, .9, false)
	control.Control = true
	front := &compare.Front{Points: []compare.FrontPoint{{Label: "base", On: true}, {Label: "a"}}}
	for _, c := range []struct {
		name string
		rows []compare.Row
		want string
	}{
		{"nothing", []compare.Row{{Label: "base"}},
			"There is no result yet. The section Failures has the reasons."},
		{"one seed", []compare.Row{base, row("a", 1, .1, -.1, false)},
			"With 1 seed we cannot tell whether any difference would hold for a new training run. The largest difference in alignment from “base” is that of “a”: +.100 [.000, +.200]. On the front of these seeds’ means: “base”."},
		{"nothing significant", []compare.Row{base, row("a", 4, .02, .1, false), row("b", 4, -.3, 0, false), control},
			"With 4 seeds, no row differs significantly from “base” in alignment (2 rows compared); the largest difference is that of “b” (−.300, 95% corrected for 6 comparisons [−.450, −.150]). Its recall, the measure of fidelity here, does not differ significantly: .000 [−.150, +.150]. On the front of the means: “base”."},
		{"significant before larger", []compare.Row{base, row("a", 4, .2, -.2, true), row("b", 3, .3, 0, false), row("c", 8, -.3, 0, true), row("d", 1, .9, 0, false)},
			"With 3 to 8 seeds, alignment is significantly above “base” in 1 of 3 rows and below it in 1; the largest difference is that of “a” (+.200, 95% corrected for 6 comparisons [+.050, +.350]). Not tested, for want of seeds: 1 row. “a” costs fidelity: recall differs by −.200 [−.350, −.050]. On the front of the means: “base”."},
		{"only lower", []compare.Row{base, row("a", 8, -.2, .3, true)},
			"With 8 seeds, alignment is significantly below “base” in 1 of 1 row and above it in none. “a” gains fidelity too: recall differs by +.300 [+.150, +.450]. On the front of the means: “base”."},
	} {
		if got := strings.Join(answer(&compare.Table{Reference: "base", Rows: c.rows, Front: front, Family: 6}), " "); got != c.want {
			t.Errorf("%s: it says\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

// TestBase: the base is the one pretrained model; of two it is not known which.
func TestBase(t *testing.T) {
	v := view{Report: Report{Table: &compare.Table{Rows: []compare.Row{{Label: "best of 4"}, {Label: "pretrained"}, {Label: "all data"}}},
		Parameters: []Parameters{{}, {Pretrained: true}, {}}}}
	if b := v.Base(); b == nil || b.Label != "pretrained" {
		t.Errorf("the base is %v, want pretrained", b)
	}
	v.Parameters[2].Pretrained = true
	if b := v.Base(); b != nil {
		t.Errorf("of two pretrained models, %s is the base", b.Label)
	}
}

// TestGeneral: a note on one value is not a note on the whole study.
func TestGeneral(t *testing.T) {
	v := view{Report: Report{Table: &compare.Table{Notes: []compare.Note{{Kind: compare.Control}, {Kind: compare.SameParser}},
		Rows: []compare.Row{{Cells: map[string]compare.Cell{"alignment": {Notes: []int{0}}}}}}}}
	if got := v.General(); len(got) != 1 || !strings.Contains(got[0], "share one parser") {
		t.Errorf("the study has the notes %q", got)
	}
}
