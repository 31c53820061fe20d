package figure

import (
	"fmt"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// Curves draws one metric of one stage over its steps: a line a trial, and for
// rows that have the metric their colour and glyph. It returns false where no
// trial has it.
func Curves(t *compare.Table, curves *table.Table, stage, metric string) (Figure, bool, error) {
	trial, step, value := curves.Column("trial"), curves.Column("step"), curves.Column("value")
	kind, name := curves.Column("stage"), curves.Column("metric")
	lines := map[string]plotter.XYs{}
	for i := range curves.Rows() {
		if kind.Strings[i] == stage && name.Strings[i] == metric {
			lines[trial.Strings[i]] = append(lines[trial.Strings[i]], plotter.XY{X: float64(step.Ints[i]), Y: value.Floats[i]})
		}
	}
	if len(lines) == 0 {
		return Figure{}, false, nil
	}
	p := newPlot("step", metric)
	p.Legend.Top, p.Legend.Padding = true, 2
	drawn := map[string]bool{}
	for i, r := range t.Rows {
		if r.SameAs != "" {
			continue
		}
		col, glyph := arm(i)
		first := true
		for _, id := range r.Trials {
			if lines[id] == nil || drawn[id] {
				continue
			}
			drawn[id] = true
			l, err := plotter.NewLine(lines[id])
			if err != nil {
				return Figure{}, false, fmt.Errorf("figure: %s of %s: %w", metric, stage, err)
			}
			l.Color, l.Width = col, .9
			p.Add(l)
			var marks plotter.XYs
			for k := len(lines[id]) / 8; k < len(lines[id]); k += max(1, len(lines[id])/4) {
				marks = append(marks, lines[id][k])
			}
			s, err := plotter.NewScatter(marks)
			if err != nil {
				return Figure{}, false, fmt.Errorf("figure: %s of %s: %w", metric, stage, err)
			}
			s.GlyphStyle = draw.GlyphStyle{Color: col, Radius: 2.5, Shape: glyph}
			p.Add(s)
			if first {
				p.Legend.Add(r.Label, l, s)
				first = false
			}
		}
	}
	return Figure{plot: p, width: 15 * vg.Centimeter, height: 7 * vg.Centimeter}, true, nil
}
