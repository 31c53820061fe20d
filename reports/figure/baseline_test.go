package figure_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/figure"
	"ablate/reports/format"
)

// study is the ablation table of a study whose results its baseline has: alignment and
// recall of each row and seed.
func study(t *testing.T, name, reference string, controls ...string) *compare.Table {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../experiments/baselines", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var in struct {
		Rows []struct {
			Arm, Row string
			Trials   map[string]string
			Metrics  map[string]struct {
				Better, Range string
				Images        int64
				Seeds         map[string]float64
			}
		}
	}
	if err := json.Unmarshal(b, &in); err != nil {
		t.Fatal(err)
	}
	trials := &table.Table{Meta: map[string]string{}}
	column := func(name string, kind table.Kind) *table.Column {
		if c := trials.Column(name); c != nil {
			return c
		}
		c := &table.Column{Name: name, Kind: kind}
		trials.Columns = append(trials.Columns, c)
		return c
	}
	for _, c := range []string{"arm", "view", "trial"} {
		column(c, table.String)
	}
	column("control", table.Bool)
	pretraining, feedback := column("seed.pretraining", table.Int), column("seed.feedback", table.Int)
	metrics := []string{"alignment", "fidelity.recall"}
	var axesOf []map[string]float64 // of each line
	byArm := map[string][]string{}
	for _, r := range in.Rows {
		axes := map[string]float64{}
		if _, point, ok := strings.Cut(strings.TrimSuffix(r.Row, "]"), "["); ok {
			for v := range strings.SplitSeq(point, ",") {
				axis, value, _ := strings.Cut(v, "=")
				if axes[axis], err = strconv.ParseFloat(value, 64); err != nil {
					t.Fatal(err)
				}
				column(axis, table.Float)
				if !slices.Contains(byArm[r.Arm], axis) {
					byArm[r.Arm] = append(byArm[r.Arm], axis)
				}
			}
		}
		for _, seed := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
			id, ok := r.Trials[seed]
			if !ok {
				continue
			}
			axesOf = append(axesOf, axes)
			n, err := strconv.ParseInt(seed, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			for c, v := range map[string]string{"arm": r.Arm, "view": r.Row + "@" + seed, "trial": id} {
				trials.Column(c).Strings = append(trials.Column(c).Strings, v)
			}
			pretraining.Ints, feedback.Ints = append(pretraining.Ints, n), append(feedback.Ints, n)
			trials.Column("control").Bools = append(trials.Column("control").Bools, slices.Contains(controls, r.Arm))
			for _, m := range metrics {
				c, count := column(m, table.Float), column(m+".n", table.Int)
				c.Better, c.Range = r.Metrics[m].Better, r.Metrics[m].Range
				c.Floats, count.Ints = append(c.Floats, r.Metrics[m].Seeds[seed]), append(count.Ints, r.Metrics[m].Images)
			}
		}
	}
	for _, c := range trials.Columns {
		if !strings.Contains(c.Name, ".") || c.Kind != table.Float || slices.Contains(metrics, c.Name) {
			continue
		}
		for _, axes := range axesOf {
			v, ok := axes[c.Name]
			c.Floats, c.Valid = append(c.Floats, v), append(c.Valid, ok)
		}
	}
	compare.SetAxes(trials, byArm)
	out, err := compare.Ablation(trials, nil, compare.Options{Reference: reference})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lee is the study of 24 rows, most of them close together.
func lee(t *testing.T) *compare.Table { return study(t, "lee2023", "all data", "oracle weights") }

// studies are those that have a baseline.
func studies(t *testing.T) map[string]*compare.Table {
	return map[string]*compare.Table{
		"lee2023": lee(t), "quickstart": study(t, "quickstart", "all data"), "methods": study(t, "methods", "pretrained", "oracle weights"),
		"feedback": study(t, "feedback", "pretrained", "oracle weights"), "overoptimization": study(t, "overoptimization", "pretrained"),
	}
}

// TestFrontOfBaselines draws the front and the swept axes of studies from their baselines:
// with ABLATE_FIGURES=DIR as files, of which the studies' READMEs show some.
func TestFrontOfBaselines(t *testing.T) {
	for name, tab := range studies(t) {
		save(t, name+"-front", front(t, tab))
		for _, s := range tab.Sweeps {
			for k, factor := range s.Factors {
				f, ok := figure.DoseResponse(tab, s, k, []string{"alignment", "fidelity.recall"})
				if !ok {
					t.Fatalf("%s: nothing is drawn of %s", name, s.Arm)
				}
				save(t, name+"-"+s.Arm+"-"+format.Axis(factor.Name), f)
			}
		}
	}
}

// save writes a figure into the folder ABLATE_FIGURES, in all its forms.
func save(t *testing.T, name string, f figure.Figure) {
	t.Helper()
	dir := os.Getenv("ABLATE_FIGURES")
	if dir == "" {
		return
	}
	for ext, draw := range map[string]func() ([]byte, error){".svg": f.SVG, ".png": f.PNG, ".pdf": f.PDF} {
		b, err := draw()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+ext), b, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestNames: of up to 34 rows, many of them close together, the reference and the rows on
// the front and in the answer are named, in both layouts; and no name covers another or
// leaves the figure.
func TestNames(t *testing.T) {
	for study, tab := range studies(t) {
		views, err := front(t, tab).Views("the front")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{tab.Reference}
		for _, p := range tab.Front.Points {
			if p.On {
				want = append(want, p.Label)
			}
		}
		if n := tab.Answer.Named; n != nil {
			want = append(want, n.Row)
		}
		for _, v := range views {
			width := 425.2
			if v.Narrow {
				width = 255.1
			}
			names := textsOf(t, v.SVG)
			if bad := overlapping(names, width); bad != nil {
				t.Errorf("%s, narrow %v: %v", study, v.Narrow, bad)
			}
			for _, m := range v.Marks {
				r := tab.Rows[m.Row]
				if _, ok := names[m.Name]; !ok && slices.Contains(want, r.Label) {
					t.Errorf("%s, narrow %v: %s has no name", study, v.Narrow, r.Label)
				}
			}
		}
	}
}
