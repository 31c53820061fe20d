package page

import (
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestReliabilityNamesRewards: a reward is named by all rows that learned it, not by the
// first alone.
func TestReliabilityNamesRewards(t *testing.T) {
	rel := &table.Table{}
	column := func(name string, kind table.Kind) *table.Column {
		c := &table.Column{Name: name, Kind: kind}
		rel.Columns = append(rel.Columns, c)
		return c
	}
	trial, bin, n := column("trial", table.String), column("bin", table.Int), column("n", table.Int)
	low, high, score, labelled := column("low", table.Float), column("high", table.Float), column("score", table.Float), column("labelled", table.Float)
	for id, share := range map[string]float64{"x": .2, "y": .2, "z": .6} {
		trial.Strings, bin.Ints, n.Ints = append(trial.Strings, id), append(bin.Ints, 0), append(n.Ints, 40)
		low.Floats, high.Floats, score.Floats, labelled.Floats = append(low.Floats, 0), append(high.Floats, .5), append(score.Floats, .3), append(labelled.Floats, share)
	}
	row := func(label, trial string) compare.Row {
		return compare.Row{Arm: label, Label: label, Trials: []string{trial}}
	}
	again := row("again", "y")
	again.SameAs = "second"
	list := Report{Table: &compare.Table{Rows: []compare.Row{row("first", "x"), row("second", "y"), again, row("third", "z")}}, Reliability: rel}.reliability()
	if len(list) != 1 {
		t.Fatalf("%d figures", len(list))
	}
	for _, want := range []string{"Reward of “first”, “second”: expected calibration error .100 (40 images", "Reward of “third”: expected calibration error .300 (40 images"} {
		if !strings.Contains(list[0].Caption, want) {
			t.Errorf("the caption lacks %q: %s", want, list[0].Caption)
		}
	}
}
