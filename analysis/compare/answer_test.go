package compare_test

import (
	"fmt"
	"slices"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// answered returns the answer of a table of arms, with the first as reference. Each arm has its
// mean, and noise over seeds that differs from arm to arm. An arm "pretrained" is not
// fine-tuned.
func answered(t *testing.T, n int, order []string, levels ...float64) *compare.Table {
	t.Helper()
	arms := map[string][]float64{}
	for i, name := range order {
		for s := range n {
			arms[name] = append(arms[name], levels[i]+.01*float64((s*(i+2)+i)%5)+.01*float64(s))
		}
	}
	trials, samples := study(arms, order, diagonal(n))
	method := &table.Column{Name: "finetune.method", Kind: table.String}
	for _, name := range trials.Column("arm").Strings {
		method.Strings = append(method.Strings, map[bool]string{true: "none", false: "dpo"}[name == "pretrained" || name == "best"])
	}
	trials.Columns = append(trials.Columns, method)
	return made(t, trials, samples, compare.Options{})
}

// TestAnswer checks which rows are counted and named.
func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name                     string
		seeds                    int
		order                    []string
		levels                   []float64
		rows, few, higher, lower int
		named                    string
	}{
		{"alone", 4, []string{"base"}, []float64{.5}, 0, 0, 0, 0, ""},
		{"two seeds", 2, []string{"base", "a", "b"}, []float64{.5, .6, .3}, 0, 2, 0, 0, "b"},
		{"none significant", 4, []string{"base", "a", "b"}, []float64{.5, .51, .5}, 2, 0, 0, 0, "a"},
		{"a gain before a larger loss", 5, []string{"base", "a", "b"}, []float64{.5, .6, .2}, 2, 0, 1, 1, "a"},
		{"losses alone", 5, []string{"base", "a", "b"}, []float64{.5, .4, .2}, 2, 0, 0, 2, "b"},
		{"a control is not named", 5, []string{"base", "a", "oracle"}, []float64{.5, .6, .9}, 1, 0, 1, 0, "a"},
	} {
		a := answered(t, c.seeds, c.order, c.levels...).Answer
		got := ""
		if a.Named != nil {
			got = a.Named.Row
			if a.Named.Cost == nil || (a.Named.Metric.Corrected == nil) != (c.seeds < 3) {
				t.Errorf("%s: it is named with %+v", c.name, a.Named)
			}
			if a.Seeds != [2]int{c.seeds, c.seeds} {
				t.Errorf("%s: over %v seeds", c.name, a.Seeds)
			}
		}
		if a.Rows != c.rows || a.Few != c.few || a.Higher != c.higher || a.Lower != c.lower || got != c.named || a.Metric != "alignment" || a.Cost != "fidelity.recall" || !slices.Equal(a.Values, c.order) {
			t.Errorf("%s: %+v, named %q", c.name, a, got)
		}
		if a.Pretrained != nil {
			t.Errorf("%s: a pretrained model is found", c.name)
		}
	}
}

// TestAnswerPretrained checks that where the reference is worse than the pretrained model, the
// best row is compared with that model, corrected for all rows that could have been the best.
func TestAnswerPretrained(t *testing.T) {
	order := []string{"base", "pretrained", "best", "a", "b"}
	tab := answered(t, 5, order, .4, .5, .7, .45, .3)
	if tab.Pretrained != "pretrained" {
		t.Errorf("the pretrained model is %q", tab.Pretrained)
	}
	p := tab.Answer.Pretrained
	if p == nil {
		t.Fatal("the reference is worse than the pretrained model, and nothing is compared with that")
	}
	if p.Row != "pretrained" || p.Family != 4 || p.Better != 1 || p.Best.Row != "best" || !p.Best.Metric.Significant || !p.Reference.Significant || p.Reference.Mean >= 0 {
		t.Errorf("%+v", p)
	}
	if d := find(t, tab, "pretrained").Differences["alignment"]; d.Mean*p.Reference.Mean >= 0 {
		t.Errorf("the reference differs by %g from a row that differs by %g from it", p.Reference.Mean, d.Mean)
	}
	if p.Best.Metric.Corrected.Low <= 0 || p.Best.Metric.Corrected.Low >= p.Best.Metric.Low {
		t.Errorf("the corrected interval %v of %v", p.Best.Metric.Corrected, p.Best.Metric)
	}
	if p := answered(t, 5, order, .5, .4, .7, .45, .3).Answer.Pretrained; p != nil {
		t.Errorf("the reference is better, and rows are compared with the pretrained model: %+v", p)
	}
	notes := fmt.Sprint(tab.Notes)
	if with := fmt.Sprint(answered(t, 5, order, .5, .4, .7, .45, .3).Notes); with != notes {
		t.Errorf("the comparison leaves notes: %s, without %s", notes, with)
	}
}
