package figure_test

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/figure"
)

func ablation() *compare.Table {
	t := &compare.Table{Reference: "all data", Metrics: []compare.Metric{
		{Name: "alignment", Label: "alignment", Better: "higher"}, {Name: "fidelity.recall", Label: "recall", Better: "higher", Real: "fidelity.recall.real"}}}
	categories := []string{"count", "colour", "background", "combination"}
	for _, c := range categories {
		t.Metrics = append(t.Metrics, compare.Metric{Name: "alignment." + c, Label: c, Better: "higher"})
	}
	for i, name := range []string{"pretrained", "best of 4", "no unlabelled", "no pretraining", "all data", "weights all one"} {
		a, r := []float64{.41, .73, .48, .565, .484, .4}[i], []float64{.947, .934, .951, .896, .968, .958}[i]
		cell := func(mean, half float64, interval string) compare.Cell {
			return compare.Cell{Mean: mean, Low: mean - half, High: mean + half, Interval: interval, Seeds: []string{"1", "2"}, Values: []float64{mean - .01, mean + .01}, N: 2}
		}
		row := compare.Row{Arm: name, Label: name, Cells: map[string]compare.Cell{
			"alignment": cell(a, .05, compare.OverPrompts), "fidelity.recall": cell(r, 0, ""), "fidelity.recall.real": cell(.985, 0, "")}}
		for k, c := range categories {
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
		"front": front(t, ablation()), "categories": figure.Categories(ablation()),
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

var text = regexp.MustCompile(`<text x="([-\d.]+)" y="([-\d.]+)"[^>]*textLength="([\d.]+)"[^>]*font-size:9px[^>]*>([^<]+)<`)

// texts returns the position (x, y) and the fixed length of the names of rows.
func texts(t *testing.T, f figure.Figure) map[string][3]float64 {
	t.Helper()
	svg, err := f.SVG()
	if err != nil {
		t.Fatal(err)
	}
	return textsOf(t, string(svg))
}

func textsOf(t *testing.T, svg string) map[string][3]float64 {
	t.Helper()
	out := map[string][3]float64{}
	for _, m := range text.FindAllStringSubmatch(svg, -1) {
		var at [3]float64
		for i := range at {
			var err error
			if at[i], err = strconv.ParseFloat(m[i+1], 64); err != nil {
				t.Fatal(err)
			}
		}
		out[html.UnescapeString(m[4])] = at
	}
	return out
}

// overlapping are the pairs of texts that cover each other, and the texts that leave the
// figure.
func overlapping(texts map[string][3]float64, width float64) []string {
	var out []string
	for a, p := range texts {
		if p[0] < 0 || p[0]+p[2] > width {
			out = append(out, a+" leaves the figure")
		}
		for b, q := range texts {
			if a < b && p[0] < q[0]+q[2] && q[0] < p[0]+p[2] && max(p[1]-q[1], q[1]-p[1]) < 8 {
				out = append(out, a+" covers "+b)
			}
		}
	}
	return out
}

// TestCrowded names many rows that lie close together: no name covers another
// or leaves the figure, and a legend has all of them, controls as such.
func TestCrowded(t *testing.T) {
	tab := ablation()
	for i := range 30 {
		row := tab.Rows[i%6]
		row.Arm, row.Control = fmt.Sprintf("grid %d of <thirty>", i), i == 2
		row.Label = row.Arm
		tab.Rows = append(tab.Rows, row)
	}
	tab.Rows = tab.Rows[6:]
	if bad := overlapping(texts(t, front(t, tab)), 425.2); bad != nil {
		t.Error(bad)
	}
	legend := texts(t, figure.Categories(tab))
	if len(legend) != 21 {
		t.Errorf("the legend has %d lines, want 20 and what is left out: %v", len(legend), legend)
	}
	for _, name := range []string{"grid 2 of <thirty> (control)", "10 more rows are not drawn"} {
		if _, ok := legend[name]; !ok {
			t.Errorf("the legend lacks %s", name)
		}
	}
}

// TestLeftOut: where there are more rows than a figure draws, the reference and the rows on
// the front are drawn.
func TestLeftOut(t *testing.T) {
	tab := ablation()
	for i := range 30 {
		row := tab.Rows[i%6]
		row.Arm = fmt.Sprint("arm ", i)
		row.Label = row.Arm
		tab.Rows = append(tab.Rows, row)
	}
	tab.Rows = tab.Rows[6:]
	tab.Reference = "arm 28"
	tab.Front = &compare.Front{Points: []compare.FrontPoint{{Label: "arm 29", On: true}, {Label: "arm 27"}}}
	legend := texts(t, figure.Categories(tab))
	for _, name := range []string{"arm 0", "arm 17", "arm 28", "arm 29"} {
		if _, ok := legend[name]; !ok {
			t.Errorf("the legend lacks %s: %v", name, legend)
		}
	}
	if _, ok := legend["arm 27"]; ok || len(legend) != 21 {
		t.Errorf("the legend has %d lines, want 20 and what is left out: %v", len(legend), legend)
	}
}

// TestLeftOutElsewhere tests the same for differences and rewards. A row in focus may
// share a reward that is drawn with the name of another row.
func TestLeftOutElsewhere(t *testing.T) {
	tab := &compare.Table{Reference: "arm 0", Front: &compare.Front{Points: []compare.FrontPoint{{Label: "arm 65", On: true}}}}
	var rewards []figure.Reward
	for i := range 70 {
		arm := fmt.Sprint("arm ", i)
		tab.Rows = append(tab.Rows, compare.Row{Arm: arm, Label: arm, Differences: map[string]compare.Difference{"alignment": {Cell: compare.Cell{Mean: .1}}}})
		if i < 8 {
			rewards = append(rewards, figure.Reward{Row: i, Rows: []int{i, 58 + i}, Bins: []stats.Bin{{N: 10, Score: .5, Good: .5}}, N: 10})
		}
	}
	forest, ok := figure.Forest(tab, "alignment")
	reliability, ok2 := figure.Reliability(tab, rewards)
	if !ok || !ok2 {
		t.Fatal("nothing is drawn")
	}
	names := texts(t, forest)
	for name, want := range map[string]bool{"arm 0": true, "arm 58": true, "arm 59": false, "arm 65": true} {
		if _, ok := names[name]; ok != want {
			t.Errorf("differences: %s is drawn: %v", name, ok)
		}
	}
	names = texts(t, reliability)
	for name, want := range map[string]bool{"arm 0 and 1 more": true, "arm 4 and 1 more": true, "arm 5 and 1 more": false, "arm 7 and 1 more": true, "2 more rows are not drawn": true} {
		if _, ok := names[name]; ok != want {
			t.Errorf("rewards: %s is drawn: %v", name, ok)
		}
	}
}

// TestEmpty draws the figures of a study without results.
func TestEmpty(t *testing.T) {
	e := ablation()
	for i := range e.Rows {
		e.Rows[i].Cells = nil
	}
	if _, ok := figure.Front(e, "fidelity.recall", "alignment"); ok {
		t.Error("a front without a point")
	}
	if svg, err := figure.Categories(e).SVG(); err != nil || len(svg) == 0 {
		t.Errorf("%v: %d bytes", err, len(svg))
	}
}

// sweep is a study with one swept arm, three seeds and its differences.
func sweep() (*compare.Table, *table.Table) {
	t := &compare.Table{Reference: "base", Metrics: ablation().Metrics}
	curves := &table.Table{Columns: []*table.Column{{Name: "trial", Kind: table.String}, {Name: "stage", Kind: table.String},
		{Name: "step", Kind: table.Int}, {Name: "metric", Kind: table.String}, {Name: "value", Kind: table.Float}}}
	s := compare.Sweep{Arm: "beta", Factors: []compare.Factor{{Name: "finetune.beta", Levels: []string{"0", "0.5", "1"}}}}
	f := &compare.Front{X: "fidelity.recall", Y: "alignment"}
	for i, name := range []string{"base", "beta[finetune.beta=0]", "beta[finetune.beta=0.5]", "beta[finetune.beta=1]"} {
		a, r := []float64{.41, .6, .56, .5}[i], []float64{.93, .8, .9, .95}[i]
		cell := func(mean, half float64) compare.Cell {
			return compare.Cell{Mean: mean, Low: mean - half, High: mean + half, Interval: compare.OverSeeds, Seeds: []string{"1", "2", "3"}, Values: []float64{mean - .01, mean + .004, mean + .006}, N: 3}
		}
		row := compare.Row{Arm: "beta", Label: name, Seeds: []string{"1", "2", "3"}, Cells: map[string]compare.Cell{"alignment": cell(a, .03), "fidelity.recall": cell(r, .02), "fidelity.recall.real": cell(.985, .001)}}
		if i > 0 {
			row.Differences = map[string]compare.Difference{"alignment": {Cell: cell(a-.41, .04), Significant: i < 3}}
			s.Rows = append(s.Rows, i)
			s.Effects = append(s.Effects, compare.Effect{Kind: compare.Main, Metric: "alignment", Factors: []string{"finetune.beta"}, Levels: []string{s.Factors[0].Levels[i-1]}, Cell: cell(a-.55, .02), Significant: i != 2})
		}
		for k := range 3 {
			id := fmt.Sprint(name, k)
			row.Trials = append(row.Trials, id)
			for n := range 40 {
				for c, v := range []any{id, "finetune", int64(10 * n), "loss", .1*float64(i+1) + 1/float64(n+2+k)} {
					switch v := v.(type) {
					case string:
						curves.Columns[c].Strings = append(curves.Columns[c].Strings, v)
					case int64:
						curves.Columns[c].Ints = append(curves.Columns[c].Ints, v)
					case float64:
						curves.Columns[c].Floats = append(curves.Columns[c].Floats, v)
					}
				}
			}
		}
		f.Points = append(f.Points, compare.FrontPoint{Label: name, X: r, Y: a, On: i > 0, CellX: row.Cells["fidelity.recall"], CellY: row.Cells["alignment"]})
		t.Rows = append(t.Rows, row)
	}
	s.Effects = append(s.Effects, compare.Effect{Kind: compare.Trend, Metric: "alignment", Factors: []string{"finetune.beta"}, Cell: compare.Cell{Mean: -.1, Low: -.14, High: -.06, Interval: compare.OverSeeds, Values: []float64{-.11, -.1, -.09}}, Significant: true})
	t.Sweeps, t.Front = []compare.Sweep{s}, f
	return t, curves
}

func TestSweepFigures(t *testing.T) {
	tab, curves := sweep()
	forest, ok := figure.Forest(tab, "alignment")
	effects, ok2 := figure.Effects(tab, tab.Sweeps[0], "alignment")
	training, ok3 := figure.Curves(tab, compare.Curves(tab, nil, curves, "finetune", "loss"), "loss")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("drawn: forest %v, effects %v, curves %v", ok, ok2, ok3)
	}
	for name, f := range map[string]figure.Figure{"path": front(t, tab), "forest": forest, "effects": effects, "curves": training} {
		svg, err := f.SVG()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".svg", svg)
		a, err := f.PDF()
		b, err2 := f.PDF()
		if err != nil || err2 != nil || !bytes.HasPrefix(a, []byte("%PDF")) || !bytes.Equal(a, b) {
			t.Errorf("%s: PDF of %d and %d bytes, %v %v", name, len(a), len(b), err, err2)
		}
		if dir := os.Getenv("ABLATE_FIGURES"); dir != "" {
			png, err := f.PNG()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// front is the figure alone.
func front(t *testing.T, tab *compare.Table) figure.Figure {
	t.Helper()
	f, ok := figure.Front(tab, "fidelity.recall", "alignment")
	if !ok {
		t.Fatal("there is no front")
	}
	return f
}
