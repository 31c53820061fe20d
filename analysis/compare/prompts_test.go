package compare_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// judged returns a table of judged images: for each trial a word of letters, g for good, one
// for each prompt of a list.
func judged(prompts []string, trials [][2]string) *table.Table {
	out := &table.Table{}
	column := func(name string, kind table.Kind) *table.Column {
		c := &table.Column{Name: name, Kind: kind}
		out.Columns = append(out.Columns, c)
		return c
	}
	trial, set, prompt, category, verdict := column("trial", table.String), column("set", table.String), column("prompt", table.String), column("category", table.String), column("verdict", table.String)
	seen, proxy := column("seen", table.Bool), column("proxy", table.Float)
	for _, t := range trials {
		for i, letter := range t[1] {
			trial.Strings, set.Strings, prompt.Strings = append(trial.Strings, t[0]), append(set.Strings, "alignment"), append(prompt.Strings, prompts[i])
			category.Strings = append(category.Strings, map[bool]string{true: "count", false: "colour"}[strings.HasPrefix(prompts[i], "two")])
			verdict.Strings = append(verdict.Strings, map[rune]string{'g': "good", 'b': "bad", 's': "skip"}[letter])
			seen.Bools, proxy.Floats = append(seen.Bools, prompts[i] != "red"), append(proxy.Floats, 0)
		}
	}
	return out
}

// TestExchanges checks that a pair is won where only the row's image is good and lost where
// only the reference's is, seed by seed, and that seeds with other prompts and a trial with
// itself form no pairs.
func TestExchanges(t *testing.T) {
	images, err := compare.NewImages(judged([]string{"two bars", "red", "two bars", "blue"}, [][2]string{
		{"base-1", "ggbb"}, {"base-2", "bsbg"}, {"more-1", "bgsb"}, {"more-2", "gggg"}, {"short-1", "gg"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	row := func(label string, trials ...string) compare.Row {
		return compare.Row{Label: label, Trials: trials, Seeds: []string{"1", "2"}[:len(trials)]}
	}
	again := row("again", "more-1", "more-2")
	again.SameAs = "more"
	got := images.Exchanges(&compare.Table{Reference: "base", Rows: []compare.Row{
		row("base", "base-1", "base-2"), row("short", "short-1"), row("more", "more-1", "more-2"), again, row("part", "base-1", "more-2"), row("pending", "none-1"),
	}})
	want := &compare.Exchanges{Reference: "base",
		Prompts: []compare.Prompt{{Text: "blue", Category: "colour", Seen: true}, {Text: "red", Category: "colour"}, {Text: "two bars", Category: "count", Seen: true}},
		Rows: []compare.Exchange{
			{Row: 2, Counts: []compare.Count{{Pairs: 2}, {Pairs: 2, Won: 1, Better: 1}, {Pairs: 4, Won: 2, Lost: 1, Better: 1, Worse: 1}}},
			{Row: 4, Counts: []compare.Count{{Pairs: 1}, {Pairs: 1, Won: 1, Better: 1}, {Pairs: 2, Won: 2, Better: 1}}},
		}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}
