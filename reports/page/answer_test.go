package page

import (
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
)

// TestAnswer: what is said at the top of a report, and no more.
func TestAnswer(t *testing.T) {
	row := func(label string, n int, alignment, recall float64, resolved bool) compare.Row {
		diff := func(mean float64) compare.Difference {
			c := compare.Cell{Mean: mean, Low: mean - .1, High: mean + .1, N: n, Interval: compare.OverPrompts}
			if n >= 3 {
				c.Interval = compare.OverSeeds
			}
			return compare.Difference{Cell: c, Resolved: resolved}
		}
		return compare.Row{Label: label, Cells: map[string]compare.Cell{"alignment": {Mean: .5}},
			Differences: map[string]compare.Difference{"alignment": diff(alignment), "fidelity.recall": diff(recall)}}
	}
	base := compare.Row{Label: "base", Cells: map[string]compare.Cell{"alignment": {Mean: .5}}}
	control := row("oracle", 1, .9, .9, false)
	control.Control = true
	front := &compare.Front{Over: compare.OverSeeds, Points: []compare.FrontPoint{{Label: "base", On: true, Membership: .42}, {Label: "a"}}}
	for _, c := range []struct {
		name  string
		rows  []compare.Row
		front *compare.Front
		want  string
	}{
		{"nothing", []compare.Row{{Label: "base"}}, nil,
			"There is no result yet. The failures below say why."},
		{"one seed", []compare.Row{base, row("a", 1, .1, -.1, false)}, nil,
			"One seed says nothing yet of other pretrainings or other feedback; in alignment over “base”, with this seed alone, the largest gain seen is that of “a”, +0.100 [+0.000, +0.200] over prompts. Recall, the measure of fidelity here, differs by −0.100 [−0.200, +0.000] over prompts in “a”, and has no interval over seeds."},
		{"two seeds, all worse", []compare.Row{base, row("a", 2, -.1, -.1, false)}, nil,
			"2 seeds say nothing yet of other pretrainings or other feedback; in alignment over “base”, with these seeds alone, no row stands above “base”. No gain in alignment stands here to be weighed against fidelity."},
		{"nothing resolved; the greatest difference is a loss", []compare.Row{base, row("a", 4, .02, .1, false), row("b", 4, -.3, 0, false), control}, front,
			"With 4 seeds, no difference in alignment to “base” is resolved (2 rows compared); the largest gain seen is that of “a”, +0.020 [−0.080, +0.120]. What “a” does to fidelity is not resolved: recall differs by +0.100 [+0.000, +0.200]; on the front of the means: “base” (in 42% of draws)."},
		{"resolved before larger", []compare.Row{base, row("a", 4, .2, -.2, true), row("b", 3, .3, 0, false), row("c", 8, -.3, 0, true), row("d", 1, .9, 0, false)}, nil,
			"With 3 to 8 seeds, alignment is resolved above “base” in 1 of 3 rows and below it in 1, if differences are normal over seeds; the largest gain seen is that of “a”, +0.200 [+0.100, +0.300]; one row more with fewer than three seeds, of which nothing is said here. “a” costs fidelity: recall differs by −0.200 [−0.300, −0.100]."},
		{"only lower", []compare.Row{base, row("a", 8, -.2, .3, true)}, nil,
			"With 8 seeds, alignment is resolved above “base” in 0 of one row and below it in 1; no row stands above “base”. No gain in alignment stands here to be weighed against fidelity."},
	} {
		if got := strings.Join(answer(&compare.Table{Reference: "base", Rows: c.rows, Front: c.front}), " "); got != c.want {
			t.Errorf("%s: it says\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

// TestBase: the best of several draws is not the model that arms start from.
func TestBase(t *testing.T) {
	none, best := `finetune.method "none"`, "evaluate.bestOf 4"
	v := view{Report: Report{Table: &compare.Table{Rows: []compare.Row{{Label: "best of 4"}, {Label: "pretrained"}, {Label: "all data"}}},
		Parameters: []Parameters{{Lines: []string{best, none}}, {Lines: []string{"evaluate.bestOf 1", none}}, {Lines: []string{`finetune.method "reward-weighted"`}}}}}
	if b := v.Base(); b == nil || b.Label != "pretrained" {
		t.Errorf("the base is %v, want pretrained", b)
	}
	v.Parameters[2].Lines = []string{none}
	if b := v.Base(); b != nil {
		t.Errorf("of two pretrained models, %s is the base", b.Label)
	}
}

// TestSays: a footnote of one figure is not said of the whole study.
func TestSays(t *testing.T) {
	v := view{Report: Report{Table: &compare.Table{Footnotes: []string{"of one figure", "of all"},
		Rows: []compare.Row{{Cells: map[string]compare.Cell{"alignment": {Notes: []int{0}}}}}}}}
	if got := v.Says(); !slices.Equal(got, []string{"of all"}) {
		t.Errorf("the study says %q", got)
	}
}
