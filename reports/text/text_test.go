package text_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/text"
)

func ablation() *compare.Table {
	p := .003
	cell := func(mean, half float64, interval string, notes ...int) compare.Cell {
		return compare.Cell{Mean: mean, Low: mean - half, High: mean + half, Interval: interval, Seeds: []string{"1", "2"}, Values: []float64{mean - .01, mean + .01}, N: 2, Images: 1024, Notes: notes}
	}
	named := compare.Difference{Cell: cell(-.116, .02, compare.OverSeeds), Corrected: &compare.Bounds{Low: -.15, High: -.08}, Significant: true}
	return &compare.Table{Reference: "all data", Answer: compare.Answer{Metric: "alignment", Cost: "fidelity.recall", Values: []string{"all data", "a|b"}, Rows: 3, Lower: 1, Seeds: [2]int{3, 3},
		Named: &compare.Named{Row: "a|b", Metric: named, Cost: &named}, Pretrained: &compare.Pretrained{Row: "missing", Reference: named, Family: 3, Best: compare.Named{Row: "a|b", Metric: named}}},
		Metrics: []compare.Metric{
			{Name: "alignment", Label: "alignment", Better: "higher", Primary: true}, {Name: "proxy", Label: "proxy", Better: "higher"},
			{Name: "fidelity.recall", Label: "recall", Better: "higher", Real: "fidelity.recall.real"}, {Name: "fidelity.frechet", Digits: 1, Label: "Fréchet", Better: "lower"}},
		Rows: []compare.Row{
			{Arm: "all data", Label: "all data", Cells: map[string]compare.Cell{"alignment": cell(.484, .068, compare.OverPrompts), "proxy": cell(.5, .05, compare.OverPrompts),
				"fidelity.recall": cell(.968, 0, ""), "fidelity.recall.real": cell(.992, 0, ""), "fidelity.frechet": cell(6, 0, "")}},
			{Arm: "a|b", Label: "a|b", Control: true, Cells: map[string]compare.Cell{"alignment": cell(.6, .02, compare.OverSeeds, 0)},
				Differences: map[string]compare.Difference{
					"alignment":       {Cell: cell(-.116, .02, compare.OverSeeds), P: &p, PCorrected: &p, Corrected: &compare.Bounds{Low: -.15, High: -.08}, Significant: true, Needs: 5},
					"fidelity.recall": {Cell: cell(.01, 0, "")}}},
			{Arm: "missing", Label: "missing", Cells: map[string]compare.Cell{}},
			{Arm: "again", Label: "again", SameAs: "all data", Cells: map[string]compare.Cell{"alignment": cell(.484, .068, compare.OverPrompts)}},
		},
		Sweeps: []compare.Sweep{{Arm: "beta", Factors: []compare.Factor{{Name: "finetune.beta", Levels: []string{"0", "0.5", "1"}}}, Effects: []compare.Effect{
			{Kind: compare.Main, Metric: "alignment", Factors: []string{"finetune.beta"}, Levels: []string{"0"}, Cell: cell(.03, .01, compare.OverSeeds), Significant: true},
			{Kind: compare.Trend, Metric: "alignment", Factors: []string{"finetune.beta"}, Cell: cell(-.06, .02, compare.OverSeeds), Significant: true, Monotone: true},
			{Kind: compare.Main, Metric: "fidelity.recall", Factors: []string{"finetune.beta"}, Levels: []string{"0"}, Cell: cell(-.01, .02, compare.OverSeeds)}}}},
		Front: &compare.Front{X: "fidelity.recall", Y: "alignment", Seeds: []string{"1", "2", "3"}, N: 3, Left: []string{"other"},
			Points: []compare.FrontPoint{{Label: "all data", X: .968, Y: .484, On: true}, {Label: "a|b", X: .9, Y: .46, Distance: .02, DominatedBy: "all data", P: .01}}},
		Detect: []compare.Detect{{Metric: "alignment", Size: .05, Have: 3, Needs: 5, AtMost: 14, Row: "a|b"}}, Family: 3,
		Resolving: []compare.Resolution{{Metric: "alignment", Seeds: 3, Size: .12, Of: 3}},
		Notes:     []compare.Note{{Kind: compare.Control}, {Kind: compare.Environments, N: 2}}}
}

func TestGolden(t *testing.T) {
	for name, f := range map[string]func(io.Writer, *compare.Table) error{
		"terminal.txt": func(w io.Writer, t *compare.Table) error { return text.Terminal(w, t, 80) },
		"short.txt":    func(w io.Writer, t *compare.Table) error { return text.Short(w, t, 80) },
		"table.md":     text.Markdown, "table.json": func(w io.Writer, t *compare.Table) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(text.NewDocument(t))
		}, "table.tex": text.LaTeX,
		"table.csv": func(w io.Writer, t *compare.Table) error { return table.CSV(w, text.Long(t)) },
	} {
		var b bytes.Buffer
		if err := f(&b, ablation()); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

// TestShow: the metrics that a study shows are in the table and among its differences,
// once each.
func TestShow(t *testing.T) {
	a := ablation()
	a.Metrics = append(a.Metrics, compare.Metric{Name: "distance.kl", Digits: 1, Label: "KL"}, compare.Metric{Name: "distance.gap", Label: "loss gap"})
	a.Show = []string{"distance.kl", "proxy"}
	a.Rows[1].Cells["distance.kl"] = compare.Cell{Mean: 31.25, N: 2}
	a.Rows[1].Differences["proxy"] = compare.Difference{Cell: compare.Cell{Mean: .2, N: 2}}
	var b bytes.Buffer
	if err := text.Markdown(&b, a); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| arm | alignment ↑ | proxy ↑ | recall ↑ | Fréchet ↓ | KL |", "| – | – | – | 31.2 |", "| difference from all data | alignment | recall | proxy | seeds", "| +.200 | 5 (2) |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

// TestLong: the long table has every estimate of the table, with its tests, and the values of
// axes in their own types.
func TestLong(t *testing.T) {
	a := ablation()
	half := .5
	a.Rows[1].Point = []compare.Value{{Axis: "finetune.beta", Value: "0.5"}, {Axis: "finetune.method", Value: "dpo"}}
	a.Rows[3].Point = []compare.Value{{Axis: "finetune.beta", Value: "1"}}
	a.Rows[1].Collapse = &compare.Collapse{Seeds: []string{"2"}, N: 2, Share: .5, Bounds: compare.Bounds{Low: .01, High: .99}}
	a.Contrasts = []compare.Contrast{{A: "a|b", B: "again", Differences: map[string]compare.Difference{"alignment": {Cell: compare.Cell{Mean: .2, N: 2}, P: &half, MorePrompts: 3, Outlier: "2"}}}}
	long := text.Long(a)
	if err := long.Check(); err != nil {
		t.Fatal(err)
	}
	find := func(want map[string]any) (at int) {
		t.Helper()
		at = -1
	rows:
		for i := range long.Rows() {
			for name, v := range want {
				if long.Column(name).Value(i) != v {
					continue rows
				}
			}
			at = i
		}
		if at < 0 {
			t.Errorf("no line has %v", want)
		}
		return at
	}
	find(map[string]any{"kind": "difference", "row": "a|b", "reference": "all data", "metric": "alignment", "axis.finetune.beta": .5, "axis.finetune.method": "dpo",
		"estimate": -.116, "pCorrected": .003, "corrected.low": -.15, "significant": true, "equivalent": false, "needs": int64(5), "morePrompts": nil})
	find(map[string]any{"kind": "level", "row": "again", "sameAs": "all data", "axis.finetune.beta": 1., "axis.finetune.method": nil, "reference": nil, "significant": nil})
	find(map[string]any{"kind": "level", "metric": "fidelity.recall.real", "estimate": .992, "low": nil})
	find(map[string]any{"kind": "contrast", "arm": nil, "row": "a|b", "reference": "again", "estimate": .2, "p": .5, "pCorrected": nil, "needs": nil, "morePrompts": 3., "outlier": "2"})
	find(map[string]any{"kind": "effect", "arm": "beta", "row": nil, "effect": "trend", "factors": "finetune.beta", "levels": nil, "monotone": true, "estimate": -.06})
	find(map[string]any{"kind": "front", "row": "a|b", "metric": "fidelity.recall", "estimate": .9, "front": false, "dominatedBy": "all data", "pCorrected": .01, "axis.finetune.beta": .5})
	find(map[string]any{"kind": "collapse", "row": "a|b", "metric": nil, "estimate": .5, "low": .01, "high": .99, "seeds": int64(2)})
}

// TestLaTeXNames: names of arms may contain text that has a meaning in LaTeX. A star
// after the end of a row would be read as part of \\*.
func TestLaTeXNames(t *testing.T) {
	tab := ablation()
	tab.Rows[0].Label, tab.Rows[1].Label, tab.Rows[2].Label = `*a <b> "c" | d`, `\x{y}_z^2 ~$&%#`, "[1ex] − ±"
	var b bytes.Buffer
	if err := text.LaTeX(&b, tab); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{*}a \textless{}b\textgreater{} ''c'' \textbar{} d &`, `\textbackslash{}x\{y\}\_z\textasciicircum{}2 \textasciitilde{}\$\&\%\# (control) &`, `{}[1ex] $-$ $\pm$ &`} {
		if !strings.Contains(b.String(), "\\\\\n"+want) && !strings.Contains(b.String(), "\\midrule\n"+want) {
			t.Errorf("no row begins with %s:\n%s", want, b.String())
		}
	}
}

func TestFitsTheTerminal(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		var b bytes.Buffer
		for _, write := range []func(io.Writer, *compare.Table, int) error{text.Terminal, text.Short} {
			if err := write(&b, ablation(), width); err != nil {
				t.Fatal(err)
			}
		}
		for line := range bytes.Lines(b.Bytes()) {
			if n := utf8.RuneCount(bytes.TrimRight(line, "\n")); n > width {
				t.Errorf("width %d: a line of %d: %s", width, n, line)
			}
		}
	}
}

// TestShort: a question, its answer and 24 rows with long points and all their notes fit 45
// lines of 100 columns.
func TestShort(t *testing.T) {
	a := ablation()
	a.Metrics[2].Primary = true
	d := a.Rows[1].Differences["alignment"]
	for i := range 20 {
		a.Rows = append(a.Rows, compare.Row{Arm: "awm", Label: fmt.Sprint("awm[finetune.rounds=", i, ",finetune.learningRate=0.0003]"),
			Point: []compare.Value{{Axis: "finetune.rounds", Value: fmt.Sprint(i)}, {Axis: "finetune.learningRate", Value: "0.0003"}},
			Cells: a.Rows[0].Cells, Differences: map[string]compare.Difference{"alignment": d, "fidelity.recall": d}})
	}
	var b bytes.Buffer
	if err := text.Head(&b, "Aligning text-to-image models", "What do unlabelled and pretraining data, the regularization weight, the reward's loss and the labels do to alignment?", 100); err != nil {
		t.Fatal(err)
	}
	if err := text.Short(&b, a, 100); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n > 45 {
		t.Errorf("%d lines:\n%s", n, &b)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line of %d: %s", n, line)
		}
	}
	for _, want := range []string{"Question: What do unlabelled", "“all data” in 0 of 3 rows and lower in 1", "awm            rounds=7 lR=3e-4", "alignment ↑, difference", "recall ↑, difference", "(reference)", "−.116 [−.136, −.096] *", "real vs. real"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, &b)
		}
	}
}

// TestNumbers: only a leading zero is dropped.
func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{.5: ".500", 10.5: "10.500", -.116: "−.116", -20.25: "−20.250", -.0001: ".000", 1: "1.000", 0: ".000", 100.01: "100.010"} {
		one := &compare.Table{Metrics: []compare.Metric{{Name: "proxy", Label: "proxy"}},
			Rows: []compare.Row{{Arm: "a", Label: "a", Cells: map[string]compare.Cell{"proxy": {Mean: v, Values: []float64{v}}}}}}
		var b bytes.Buffer
		if err := text.Markdown(&b, one); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b.Bytes(), []byte("| a | "+want+" |")) {
			t.Errorf("%v reads\n%s\nwant %s", v, &b, want)
		}
	}
}

// golden compares a text with that of a file in testdata, or rewrites the file with
// UPDATE=1.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: mismatch (-want +got):\n%s", name, d)
	}
}
