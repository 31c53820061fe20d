package format_test

import (
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// TestAnswer: each claim in the sentences has its corrected interval and was tested.
func TestAnswer(t *testing.T) {
	diff := func(mean float64, significant bool) compare.Difference {
		return compare.Difference{Cell: compare.Cell{Mean: mean, Low: mean - .1, High: mean + .1, N: 4, Interval: compare.OverSeeds}, Significant: significant,
			Corrected: &compare.Bounds{Low: mean - .15, High: mean + .15}}
	}
	untested := compare.Difference{Cell: compare.Cell{Mean: .1, Low: 0, High: .2, N: 1, Interval: compare.OverImages}}
	equal := diff(.01, false)
	equal.Equivalent = true
	named := func(row string, d, cost compare.Difference) *compare.Named {
		return &compare.Named{Row: row, Metric: d, Cost: &cost}
	}
	values := []string{"base", "a"}
	of := func(a compare.Answer) compare.Answer {
		a.Metric, a.Values = "alignment", values
		if a.Named != nil {
			a.Cost = "fidelity.recall"
		}
		return a
	}
	const alignment, recall = "alignment (the share of images that match their prompt)", "Its recall (the share of real images that have a similar one among the model's) "
	for _, c := range []struct {
		name string
		a    compare.Answer
		want string
	}{
		{"nothing", compare.Answer{}, "There is no result yet."},
		{"alone", compare.Answer{Metric: "alignment", Values: []string{"a"}}, "Only “a” has a result. There is no other row to compare it with."},
		{"no pairs", of(compare.Answer{}), "Nothing can be compared: “base” has no alignment yet, or no seed that other rows have."},
		{"one seed", of(compare.Answer{Few: 1, Seeds: [2]int{1, 1}, Named: named("a", untested, untested)}),
			"1 seed cannot show whether a difference would recur in a new training run. The largest difference from “base” in " + alignment + " is that of “a”: +.100 [.000, +.200]."},
		{"nothing significant", of(compare.Answer{Rows: 2, Seeds: [2]int{4, 4}, Named: named("b", diff(-.1, false), diff(0, false))}),
			"Over 4 seeds, none of 2 rows differs significantly from “base” in " + alignment + ". The largest difference is that of “b”: −.100, corrected interval [−.250, +.050], which includes no difference. " + recall + "does not differ significantly: .000 [−.150, +.150]."},
		{"one row", of(compare.Answer{Rows: 1, Seeds: [2]int{4, 4}, Named: named("b", diff(-.1, false), equal)}),
			"Over 4 seeds, the one row compared does not differ significantly from “base” in " + alignment + ". The largest difference is that of “b”: −.100, corrected interval [−.250, +.050], which includes no difference. " + recall + "is equivalent to that of “base”, within what the study declares to matter: +.010 [−.140, +.160]."},
		{"a gain at a cost", of(compare.Answer{Rows: 3, Few: 1, Higher: 1, Lower: 1, Seeds: [2]int{3, 8}, Named: named("a", diff(.2, true), diff(-.2, true))}),
			"Over 3 to 8 seeds, " + alignment + " is significantly higher than that of “base” in 1 of 3 rows and lower in 1. The largest gain is that of “a”: +.200, corrected interval [+.050, +.350]. " + recall + "is significantly lower: −.200 [−.350, −.050]. Too few seeds for a test: 1 row."},
		{"losses alone", of(compare.Answer{Rows: 1, Lower: 1, Seeds: [2]int{8, 8}, Named: named("a", diff(-.2, true), diff(.3, true))}),
			"Over 8 seeds, " + alignment + " is significantly higher than that of “base” in 0 of 1 row and lower in 1. The largest loss is that of “a”: −.200, corrected interval [−.350, −.050]. " + recall + "is significantly higher: +.300 [+.150, +.450]."},
		{"below the pretrained model", of(compare.Answer{Rows: 3, Higher: 1, Seeds: [2]int{4, 4}, Named: named("a", diff(.2, true), untested),
			Pretrained: &compare.Pretrained{Row: "start", Reference: diff(-.2, true), Family: 4, Best: compare.Named{Row: "a", Metric: diff(.1, false)}}}),
			"Over 4 seeds, " + alignment + " is significantly higher than that of “base” in 1 of 3 rows and lower in 0. The largest gain is that of “a”: +.200, corrected interval [+.050, +.350]. " + recall + "differs by +.100 [.000, +.200], which is not tested. “base” itself is significantly worse than the pretrained model, “start”: −.200 [−.350, −.050]. Against that model the best of 4 rows is “a”: +.100 [−.050, +.250], not significantly different from it."},
	} {
		tab := &compare.Table{Reference: "base", Answer: c.a, Family: 6, Metrics: []compare.Metric{
			{Name: "alignment", Label: "alignment", Better: "higher", Primary: true}, {Name: "fidelity.recall", Label: "recall", Better: "higher", Primary: true}}}
		if got := strings.Join(format.Answer(tab), " "); got != c.want {
			t.Errorf("%s: it says\n%s, want\n%s", c.name, got, c.want)
		}
		scope := format.Scope(tab)
		if (scope != "") != (c.a.Rows > 0) || scope != "" && !strings.Contains(scope, "corrected for all 6 comparisons of the primary metrics (alignment, recall)") {
			t.Errorf("%s: its intervals are said to be %q", c.name, scope)
		}
		if c.a.Pretrained != nil && !strings.Contains(scope, "those of differences from “start” for its 4 comparisons") {
			t.Errorf("%s: its intervals are said to be %q", c.name, scope)
		}
	}
}

// TestAnswerOfNothing: a study that measures nothing says so.
func TestAnswerOfNothing(t *testing.T) {
	if got, want := strings.Join(format.Answer(&compare.Table{}), " "), "Nothing is measured: the study names neither a gold nor features with a reference, so that images are drawn and not judged."; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// TestAnswerNames: an answer names the rows that differ, unless there are too many.
func TestAnswerNames(t *testing.T) {
	row := func(name string, mean float64, significant bool) compare.Row {
		return compare.Row{Arm: name, Label: name, Differences: map[string]compare.Difference{"alignment": {Cell: compare.Cell{Mean: mean, N: 4}, Significant: significant, Corrected: &compare.Bounds{Low: mean - .1, High: mean + .1}}}}
	}
	control := row("oracle", .3, true)
	control.Control = true
	tab := &compare.Table{Reference: "base", Metrics: []compare.Metric{{Name: "alignment", Label: "alignment", Better: "higher", Primary: true}},
		Rows:   []compare.Row{{Arm: "base", Label: "base"}, row("a", .2, true), row("b", -.2, true), row("c", .01, false), row("d", .15, true), control},
		Answer: compare.Answer{Metric: "alignment", Values: []string{"base", "a", "b", "c", "d", "oracle"}, Rows: 4, Higher: 2, Lower: 1, Seeds: [2]int{4, 4}}}
	tab.Answer.Named = &compare.Named{Row: "a", Metric: tab.Rows[1].Differences["alignment"]}
	want := "is significantly higher than that of “base” in 2 of 4 rows (“a”, “d”) and lower in 1 (“b”); controls are left out. The largest gain"
	if got := strings.Join(format.Answer(tab), " "); !strings.Contains(got, want) {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}
}

// TestAnswerLower: if lower is better, a decrease is an improvement.
func TestAnswerLower(t *testing.T) {
	d := compare.Difference{Cell: compare.Cell{Mean: -2, N: 4}, Significant: true, Corrected: &compare.Bounds{Low: -3, High: -1}}
	tab := &compare.Table{Reference: "base", Metrics: []compare.Metric{{Name: "fid", Label: "FID", Better: "lower", Primary: true}},
		Answer: compare.Answer{Metric: "fid", Values: []string{"base", "a"}, Rows: 1, Lower: 1, Seeds: [2]int{4, 4}, Named: &compare.Named{Row: "a", Metric: d}}}
	want := "Over 4 seeds, FID (lower is better) is significantly higher than that of “base” in 0 of 1 row and lower in 1. The largest gain is that of “a”: −2.000, corrected interval [−3.000, −1.000]."
	if got := strings.Join(format.Answer(tab), " "); got != want {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}
}
