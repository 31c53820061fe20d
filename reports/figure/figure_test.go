package figure_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"ablate/analysis/compare"
	"ablate/reports/figure"
)

func ablation() *compare.Table {
	t := &compare.Table{Reference: "all data", Metrics: []compare.Metric{
		{Name: "alignment", Label: "alignment", Better: "higher"}, {Name: "fidelity.recall", Label: "recall", Better: "higher", Real: "fidelity.recall.real"}}}
	for i, name := range []string{"pretrained", "best of 4", "no unlabelled", "no pretraining", "all data", "weights all one"} {
		a, r := []float64{.41, .73, .48, .565, .484, .4}[i], []float64{.947, .934, .951, .896, .968, .958}[i]
		cell := func(mean, half float64, interval string) compare.Cell {
			return compare.Cell{Mean: mean, Low: mean - half, High: mean + half, Interval: interval, Seeds: []string{"1", "2"}, Values: []float64{mean - .01, mean + .01}, N: 2}
		}
		row := compare.Row{Arm: name, Label: name, Cells: map[string]compare.Cell{
			"alignment": cell(a, .05, compare.OverPrompts), "fidelity.recall": cell(r, 0, ""), "fidelity.recall.real": cell(.985, 0, "")}}
		for k, c := range []string{"count", "colour", "background", "combination"} {
			row.Cells["alignment."+c] = cell(a+.1*float64(k)-.1, .06, compare.OverPrompts)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// golden compares bytes with a file of testdata; UPDATE=1 rewrites it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s has changed: UPDATE=1 go test rewrites it; look at it before you commit", path)
	}
}

func TestFigures(t *testing.T) {
	for name, f := range map[string]figure.Figure{
		"front": figure.Front(ablation(), "fidelity.recall", "alignment"), "categories": figure.Categories(ablation()),
	} {
		svg, err := f.SVG()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".svg", svg)
		if !bytes.Contains(svg, []byte("<text")) {
			t.Errorf("%s: its text is no text", name)
		}
		png, err := f.PNG()
		if err != nil || len(png) < 5000 {
			t.Errorf("%s: PNG of %d bytes, %v", name, len(png), err)
		}
	}
}

// TestEmpty draws what there is of a study without a result.
func TestEmpty(t *testing.T) {
	e := ablation()
	for i := range e.Rows {
		e.Rows[i].Cells = nil
	}
	for _, f := range []figure.Figure{figure.Front(e, "fidelity.recall", "alignment"), figure.Categories(e)} {
		if svg, err := f.SVG(); err != nil || len(svg) == 0 {
			t.Errorf("%v: %s", err, fmt.Sprint(len(svg)))
		}
	}
}
