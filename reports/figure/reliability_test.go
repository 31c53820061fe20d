package figure_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"ablate/analysis/table"
	"ablate/reports/figure"
)

// TestReliability: seeds are pooled by their images, a reward that two rows share
// is drawn once and names both, and a study without one has no figure.
func TestReliability(t *testing.T) {
	tab := ablation()
	rel := &table.Table{}
	cols := map[string]*table.Column{}
	for _, name := range []string{"trial", "bin", "low", "high", "n", "score", "labelled"} {
		c := &table.Column{Name: name, Kind: table.Float}
		switch name {
		case "trial":
			c.Kind = table.String
		case "bin", "n":
			c.Kind = table.Int
		}
		cols[name] = c
		rel.Columns = append(rel.Columns, c)
	}
	add := func(trial string, n [10]int64, shift float64) {
		for b, k := range n {
			cols["trial"].Strings = append(cols["trial"].Strings, trial)
			cols["bin"].Ints, cols["n"].Ints = append(cols["bin"].Ints, int64(b)), append(cols["n"].Ints, k)
			for name, v := range map[string]float64{"low": float64(b) / 10, "high": float64(b+1) / 10, "score": float64(b)/10 + .05, "labelled": float64(b)/10*.8 + shift} {
				cols[name].Floats = append(cols[name].Floats, v)
			}
		}
	}
	add("a1", [10]int64{400, 200, 100, 60, 40, 30, 30, 40, 60, 40}, .05)
	add("a2", [10]int64{0, 0, 0, 0, 40, 30, 30, 40, 60, 120}, .15)
	add("b1", [10]int64{300, 0, 90, 0, 70, 0, 50, 0, 30, 9}, .2)
	tab.Rows[2].Trials, tab.Rows[3].Trials, tab.Rows[4].Trials = []string{"a1", "a2"}, []string{"a1", "a2"}, []string{"b1"}
	rewards := figure.Rewards(tab, rel)
	if len(rewards) != 2 || rewards[0].Row != 2 || !slices.Equal(rewards[0].Rows, []int{2, 3}) || rewards[1].Row != 4 || rewards[0].N != 1320 {
		t.Fatalf("rewards %+v", rewards)
	}
	// Bin 9: 40 of share .72+.05 and 120 of share .72+.15.
	if b := rewards[0].Bins[9]; b.N != 160 || math.Abs(b.Good-(40*.77+120*.87)/160) > 1e-12 || math.Abs(b.Score-.95) > 1e-12 {
		t.Errorf("bin 9 is %+v", b)
	}
	f, ok := figure.Reliability(tab, rewards)
	if !ok {
		t.Fatal("no figure")
	}
	svg, err := f.SVG()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "reliability.svg", svg)
	if again, _ := f.SVG(); !bytes.Equal(svg, again) {
		t.Error("equal figures differ")
	}
	if _, ok := figure.Reliability(tab, figure.Rewards(tab, nil)); ok {
		t.Error("a figure of nothing")
	}
}
