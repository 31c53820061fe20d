package figure

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/analysis/compare"
)

// grid returns a study with an arm of two axes, and a reference that is not one of the
// arm's rows.
func grid() *compare.Table {
	cell := func(mean float64) compare.Cell {
		return compare.Cell{Mean: mean, Low: mean - .03, High: mean + .03, Interval: compare.OverSeeds, Seeds: []string{"1", "2", "3"}, Values: []float64{mean - .02, mean, mean + .02}, N: 3}
	}
	t := &compare.Table{Reference: "all data", Metrics: []compare.Metric{{Name: "alignment", Label: "alignment", Better: "higher", Range: "share"}, {Name: "fidelity.recall", Label: "recall", Better: "higher", Range: "unit"}},
		Rows: []compare.Row{{Arm: "all data", Label: "all data", Cells: map[string]compare.Cell{"alignment": cell(.5), "fidelity.recall": cell(.95)}}}}
	s := compare.Sweep{Arm: "grid", At: make([][]int, 2), Factors: []compare.Factor{
		{Name: "finetune.beta", Levels: []string{"0", "0.01", "0.1", "1"}, Numbers: []float64{0, .01, .1, 1}}, {Name: "finetune.method", Levels: []string{"awm", "dpo"}}}}
	for i, beta := range s.Factors[0].Levels {
		for j, method := range s.Factors[1].Levels {
			row := compare.Row{Arm: "grid", Label: fmt.Sprintf("grid[finetune.beta=%s,finetune.method=%s]", beta, method), Point: []compare.Value{{Axis: "finetune.beta", Value: beta}, {Axis: "finetune.method", Value: method}},
				Cells: map[string]compare.Cell{"alignment": cell(.6 - .05*float64(i) + .03*float64(i*j)), "fidelity.recall": cell(.8 + .03*float64(i))}}
			s.Rows = append(s.Rows, len(t.Rows))
			s.At[0], s.At[1] = append(s.At[0], i), append(s.At[1], j)
			t.Rows = append(t.Rows, row)
		}
	}
	t.Sweeps = []compare.Sweep{s}
	return t
}

// TestDoseResponse: an arm of two axes has one line for each level of the other axis. The
// points of a line are the rows of that level, in the order of the axis.
func TestDoseResponse(t *testing.T) {
	tab := grid()
	for factor, name := range []string{"dose-beta", "dose-method"} {
		f, ok := DoseResponse(tab, tab.Sweeps[0], factor, []string{"alignment", "fidelity.recall", "missing"})
		if !ok {
			t.Fatal("nothing is drawn")
		}
		svg, err := f.SVG()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".svg")
		if os.Getenv("UPDATE") == "1" {
			if err := os.WriteFile(path, svg, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || string(want) != string(svg) {
			t.Errorf("%s has changed: %v; UPDATE=1 go test rewrites it; look at it before you commit", path, err)
		}
		if dir := os.Getenv("ABLATE_FIGURES"); dir != "" {
			png, err := f.PNG()
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		views, err := f.Views("")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range views {
			if len(v.Marks) != 16 {
				t.Fatalf("%s: %d points, want 8 in each of 2 panels", name, len(v.Marks))
			}
			s := tab.Sweeps[0]
			for i, m := range v.Marks[:8] {
				n := len(s.Factors[factor].Levels)
				if m.Series != i/n || s.At[factor][m.Row-1] != i%n || s.At[1-factor][m.Row-1] != i/n || !strings.HasPrefix(m.Values, "alignment .") || !strings.Contains(m.Values, "[") {
					t.Errorf("%s: point %d is %+v", name, i, m)
				}
				if i%n > 0 && m.X <= v.Marks[i-1].X {
					t.Errorf("%s: point %d lies left of that before it", name, i)
				}
			}
		}
		for _, want := range []string{"Dashed: the reference, all data.", []string{"method=dpo", "beta=0.01"}[factor]} {
			if !strings.Contains(string(svg), ">"+want+"<") {
				t.Errorf("%s does not say %q", name, want)
			}
		}
		if log := strings.Contains(string(svg), "(log scale)"); log != (factor == 0) {
			t.Errorf("%s: log scale %v", name, log)
		}
	}
	if _, ok := DoseResponse(tab, tab.Sweeps[0], 0, []string{"missing"}); ok {
		t.Error("a figure of a metric that no row has")
	}
}

// TestAxisOf places levels by their size, by their logarithm where they span a factor of
// ten, and at equal distances where they are no numbers.
func TestAxisOf(t *testing.T) {
	for _, c := range []struct {
		numbers     []float64
		want        []float64
		log, broken bool
	}{
		{nil, []float64{0, 1, 2}, false, false},
		{[]float64{1, 2, 8}, []float64{1, 2, 8}, false, false},
		{[]float64{.1, 1, 10}, []float64{-1, 0, 1}, true, false},
		{[]float64{0, .1, 10}, []float64{-3, -1, 1}, true, true},
		{[]float64{0, 1, 5}, []float64{0, 1, 5}, false, false},
		{[]float64{-1, 0, 100}, []float64{-1, 0, 100}, false, false},
		{[]float64{0, 0.5, 5, 50}, []float64{math.Log10(.5) - 1, math.Log10(.5), math.Log10(5), math.Log10(50)}, true, true},
	} {
		f := compare.Factor{Numbers: c.numbers}
		for i := range c.want {
			f.Levels = append(f.Levels, fmt.Sprint("level ", i))
		}
		got := axisOf(f)
		if got.log != c.log || got.broken != c.broken {
			t.Errorf("%v: log %v, broken %v", c.numbers, got.log, got.broken)
		}
		for i, want := range c.want {
			if math.Abs(got.at[i]-want) > 1e-12 {
				t.Errorf("%v: levels at %v, want %v", c.numbers, got.at, c.want)
			}
		}
	}
	f := compare.Factor{Levels: []string{"0", "1"}, Numbers: []float64{0, 1}}
	axisOf(f)
	if f.Numbers[0] != 0 || f.Numbers[1] != 1 {
		t.Error("the factor's own numbers have changed")
	}
}
