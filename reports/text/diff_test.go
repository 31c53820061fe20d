package text_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"ablate/analysis/compare"
	"ablate/reports/text"
)

// compared is a comparison of two tables, of n rows more.
func compared(n int) *compare.Diff {
	p, corrected := .0004, .003
	cell := func(mean float64, seeds ...string) compare.Cell {
		return compare.Cell{Mean: mean, Low: mean - .02, High: mean + .02, Seeds: seeds, N: len(seeds), Interval: compare.OverSeeds}
	}
	value := func(a, b float64, significant bool) compare.DiffValue {
		d := &compare.Difference{Cell: cell(a-b, "1", "2", "3"), P: &p, PCorrected: &corrected, Corrected: &compare.Bounds{Low: a - b - .03, High: a - b + .03}, Significant: significant}
		return compare.DiffValue{A: cell(a, "1", "2", "3"), B: cell(b, "1", "2", "3"), Difference: d}
	}
	same := value(.4, .4, false)
	same.Difference = &compare.Difference{Cell: compare.Cell{Seeds: []string{"1"}}}
	apart := value(.7, .5, true)
	apart.B.Seeds = []string{"4", "5", "6"}
	unequal := compare.DiffValue{A: cell(.9, "1", "2", "3"), B: cell(.8, "1", "2", "3")}
	unequal.A.Notes = []int{0}
	beta := compare.Setting{Path: "finetune.beta", A: "0.1", B: "0.5"}
	d := &compare.Diff{A: "mine", B: "yours", Prompts: compare.Fixed, Family: 3, Known: true, OnlyA: []string{"new"}, OnlyB: []string{},
		Metrics: []compare.Metric{{Name: "alignment", Label: "alignment", Better: "higher", Primary: true}, {Name: "fidelity.recall", Label: "recall", Better: "higher", Primary: true}, {Name: "fidelity.frechet", Digits: 1, Label: "Fréchet", Better: "lower"}},
		Rows: []compare.DiffRow{
			{Row: "pretrained", Arm: "pretrained", Shares: compare.SameTrials, Same: true, Values: map[string]compare.DiffValue{"alignment": same, "fidelity.recall": same}},
			{Row: "again", Arm: "again", Shares: compare.SameTrials, Same: true, SameAs: "pretrained", Values: map[string]compare.DiffValue{"alignment": same}},
			{Row: "all data", Arm: "all data", Shares: compare.SameModel, Settings: []compare.Setting{beta}, Values: map[string]compare.DiffValue{"alignment": value(.5, .6, true), "fidelity.recall": unequal, "fidelity.frechet": value(8, 9, false)}},
			{Row: "other world", Arm: "other world", Shares: compare.Nothing, Values: map[string]compare.DiffValue{"alignment": apart}}},
		Actions: []compare.Action{{Stage: "finetune", Rows: []string{"all data"}, Settings: []compare.Setting{beta}}, {Stage: "draw.alignment", Rows: []string{"all data"}},
			{Stage: "judge", Rows: []string{"all data"}, Settings: []compare.Setting{{Path: "the code of judge", A: "2", B: "1"}}}, {Stage: "label", Rows: []string{"other world"}, Only: "mine"}},
		Notes: []compare.Note{{Kind: compare.Unequal, N: 1024, Of: 512, Names: []string{"recall"}}}}
	for i := range n {
		d.Rows = append(d.Rows, compare.DiffRow{Row: fmt.Sprint("beta ", i), Arm: "beta", Point: []compare.Value{{Axis: "finetune.beta", Value: fmt.Sprint(i)}, {Axis: "finetune.learningRate", Value: "0.001"}}, Shares: compare.SameModel, Values: map[string]compare.DiffValue{"alignment": value(.5, .6, true), "fidelity.recall": value(.9, .8, true)}})
	}
	return d
}

func TestDiffGolden(t *testing.T) {
	for name, f := range map[string]func(io.Writer, *compare.Diff) error{
		"diff.txt":     func(w io.Writer, d *compare.Diff) error { return text.Diff(w, d, 100) },
		"diff-all.txt": func(w io.Writer, d *compare.Diff) error { return text.DiffAll(w, d, 100) },
	} {
		var b bytes.Buffer
		if err := f(&b, compared(0)); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

// TestDiffFits: a comparison of 24 rows with long names fits one screen of 100 columns.
func TestDiffFits(t *testing.T) {
	var b bytes.Buffer
	if err := text.Diff(&b, compared(20), 100); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n > 48 {
		t.Errorf("%d lines:\n%s", n, &b)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line of %d: %s", n, line)
		}
	}
}

func TestDiffJSON(t *testing.T) {
	b, err := json.Marshal(text.NewDiffDocument(compared(0)))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Format, A string
		Rows      []struct {
			Row    string
			Values map[string]struct{ Difference *struct{ PCorrected float64 } }
		}
		Footnotes []string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Format != "ablate.diff/1" || got.A != "mine" || len(got.Rows) != 4 || got.Rows[2].Values["alignment"].Difference.PCorrected != .003 || got.Rows[2].Values["fidelity.recall"].Difference != nil || len(got.Footnotes) != 1 {
		t.Errorf("%s", b)
	}
}
