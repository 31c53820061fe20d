package compare_test

import (
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestCounts checks that arms with different numbers of images are not compared in metrics that
// depend on that number: no difference, front, effect or best row, and a note with both
// numbers. Other metrics are compared.
func TestCounts(t *testing.T) {
	arms := map[string][]float64{"base": {.5, .52, .54}, "equal": {.6, .61, .63}, "fewer": {.4, .43, .43}} // the arm "fewer" has the best recall
	order := []string{"base", "equal", "fewer"}
	draw := func(n int64) *compare.Table {
		trials, samples := study(arms, order, diagonal(3))
		for i, name := range trials.Column("arm").Strings {
			recall := trials.Column("fidelity.recall").Floats
			recall[i] = .7 + .01*float64(i%3)
			if name == "fewer" {
				recall[i] += .2
				trials.Column("fidelity.recall.n").Ints[i] = n
				trials.Column("alignment.n").Ints[i] = n
			}
		}
		got, err := ablate(trials, samples, compare.Options{Reference: "base"})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	metric := func(tab *compare.Table, name string) compare.Metric {
		return tab.Metrics[slices.IndexFunc(tab.Metrics, func(m compare.Metric) bool { return m.Name == name })]
	}
	onFront := func(tab *compare.Table) (names []string) {
		for _, p := range tab.Front.Points {
			names = append(names, p.Label)
		}
		return names
	}
	same := draw(200)
	if _, ok := find(t, same, "fewer").Differences["fidelity.recall"]; !ok || metric(same, "fidelity.recall").Best != "fewer" || len(onFront(same)) != 3 {
		t.Fatalf("with as many images there is no difference, best or front: %+v", same)
	}
	other := draw(80)
	row := find(t, other, "fewer")
	if d, ok := row.Differences["fidelity.recall"]; ok {
		t.Errorf("recall of 80 images less that of 200 is %v", d.Mean)
	}
	c := row.Cells["fidelity.recall"]
	if n, ok := noted(other, c.Notes, compare.Unequal); !ok || n.N != 200 || n.Of != 80 || !slices.Contains(n.Names, "recall") {
		t.Errorf("no note of the cell names both numbers: %v of %+v", c.Notes, other.Notes)
	}
	if c.Mean == 0 || c.Images != 80 {
		t.Errorf("its own figure is %+v", c)
	}
	if _, ok := row.Differences["alignment"]; !ok {
		t.Error("alignment, which is a mean, is not compared")
	}
	if _, ok := find(t, other, "equal").Differences["fidelity.recall"]; !ok {
		t.Error("rows of as many images are not compared")
	}
	if b := metric(other, "fidelity.recall").Best; b != "" {
		t.Errorf("%s is the best of what can't be compared", b)
	}
	if got := onFront(other); slices.Contains(got, "fewer") || len(got) != 2 || !slices.Equal(other.Front.Left, []string{"fewer"}) {
		t.Errorf("the front has %v, and leaves out %v", got, other.Front.Left)
	}
}

// TestCountsOfSweep checks that an axis that changes the number of images has no effects on
// metrics that depend on it.
func TestCountsOfSweep(t *testing.T) {
	for _, n := range []int64{200, 80} {
		trials, samples := study(map[string][]float64{"a[evaluate.fidelityImages=80]": {.5, .52, .54}, "a[evaluate.fidelityImages=200]": {.6, .61, .63}},
			[]string{"a[evaluate.fidelityImages=80]", "a[evaluate.fidelityImages=200]"}, diagonal(3))
		axis := &table.Column{Name: "evaluate.fidelityImages", Kind: table.Int}
		for i, name := range trials.Column("arm").Strings {
			trials.Column("arm").Strings[i] = "a"
			if strings.Contains(name, "=80") {
				axis.Ints = append(axis.Ints, 80)
				trials.Column("fidelity.recall.n").Ints[i] = n
			} else {
				axis.Ints = append(axis.Ints, 200)
			}
		}
		trials.Columns = append(trials.Columns, axis)
		compare.SetAxes(trials, map[string][]string{"a": {"evaluate.fidelityImages"}})
		got, err := ablate(trials, samples, compare.Options{})
		if err != nil {
			t.Fatal(err)
		}
		effects := map[string]int{}
		for _, e := range got.Sweeps[0].Effects {
			effects[e.Metric]++
		}
		if effects["alignment"] == 0 || (effects["fidelity.recall"] > 0) != (n == 200) {
			t.Errorf("%d and 200 images: effects %v", n, effects)
		}
		if _, note := noted(got, nil, compare.Unequal); note != (n == 80) {
			t.Errorf("%d and 200 images: %+v", n, got.Notes)
		}
	}
}
