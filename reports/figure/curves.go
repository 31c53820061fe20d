package figure

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Curves draws one metric of one stage over its steps: a row's mean over its
// seeds as a line, and around it a band, the 95% interval of the mean from
// three seeds on, else from the least seed to the greatest. Rows that repeat
// another's trials, or share all of a stage with an earlier row, are drawn once. It
// returns false where no trial has the metric.
func Curves(t *compare.Table, curves *table.Table, stage, metric string) (Figure, bool, error) {
	trial, step, value := curves.Column("trial"), curves.Column("step"), curves.Column("value")
	kind, name := curves.Column("stage"), curves.Column("metric")
	lines := map[string]map[int64]float64{}
	for i := range curves.Rows() {
		if kind.Strings[i] == stage && name.Strings[i] == metric {
			if lines[trial.Strings[i]] == nil {
				lines[trial.Strings[i]] = map[int64]float64{}
			}
			lines[trial.Strings[i]][step.Ints[i]] = value.Floats[i]
		}
	}
	if len(lines) == 0 {
		return Figure{}, false, nil
	}
	c := &bands{}
	var l legend
	seen := map[string]bool{}
	for i, r := range t.Rows {
		if r.SameAs != "" {
			continue
		}
		b := band{row: i}
		var runs []map[int64]float64
		var seeds []stats.Seed
		for k, id := range r.Trials {
			if lines[id] != nil {
				runs = append(runs, lines[id])
				seeds = append(seeds, r.Seed(k))
			}
		}
		if len(runs) == 0 {
			continue
		}
		for s := range runs[0] {
			b.steps = append(b.steps, s)
		}
		slices.Sort(b.steps)
		for _, s := range b.steps {
			var v []float64
			var with []stats.Seed
			for k, run := range runs {
				if x, ok := run[s]; ok && !math.IsNaN(x) && !math.IsInf(x, 0) {
					v, with = append(v, x), append(with, seeds[k])
				}
			}
			if len(v) == 0 {
				v = []float64{math.NaN()}
			}
			low, high := span(with, v)
			b.mean, b.low, b.high = append(b.mean, stat.Mean(v, nil)), append(b.low, low), append(b.high, high)
		}
		if k := key(b.mean); !seen[k] {
			seen[k] = true
			if len(c.list) == mostRows {
				l.more++
				continue
			}
			c.list = append(c.list, b)
			l.add(i, r.Name())
		}
	}
	if len(c.list) == 0 {
		return Figure{}, false, nil
	}
	p := newPlot("step", metric)
	p.Add(c)
	if len(c.list) == 1 {
		l = legend{} // one line needs no name: rows that share it are many
	}
	return l.figure(p, 7*vg.Centimeter), true, nil
}

// span is the 95% interval of a mean over seeds, or with fewer than three from
// the least seed to the greatest.
func span(seeds []stats.Seed, v []float64) (low, high float64) {
	if e, ok := stats.OverSeeds(seeds, v); ok && e.SD > 0 {
		i := e.Interval(compare.Level)
		return i.Low, i.High
	}
	return slices.Min(v), slices.Max(v)
}

func key(v []float64) string {
	var b []byte
	for _, x := range v {
		u := math.Float64bits(x)
		for i := range 8 {
			b = append(b, byte(u>>(8*i)))
		}
	}
	return string(b)
}

type band struct {
	row             int
	steps           []int64
	mean, low, high []float64
}

type bands struct{ list []band }

func (c *bands) maxStep() float64 {
	var m int64
	for _, b := range c.list {
		m = max(m, b.steps[len(b.steps)-1])
	}
	return float64(m)
}

// DataRange is what the axes must show.
func (c *bands) DataRange() (xmin, xmax, ymin, ymax float64) {
	ymin, ymax = math.Inf(1), math.Inf(-1)
	for _, b := range c.list {
		for i := range b.mean {
			if !math.IsNaN(b.mean[i]) {
				ymin, ymax = min(ymin, b.low[i]), max(ymax, b.high[i])
			}
		}
	}
	if ymin > ymax {
		ymin, ymax = 0, 1
	}
	return 0, c.maxStep(), ymin, ymax
}

// Plot draws bands, then lines, then marks.
func (c *bands) Plot(canvas draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&canvas)
	for _, b := range c.list {
		col, _ := arm(b.row)
		var outline []vg.Point
		for i, s := range b.steps {
			outline = append(outline, vg.Point{X: tx(float64(s)), Y: ty(b.high[i])})
		}
		for i := len(b.steps) - 1; i >= 0; i-- {
			outline = append(outline, vg.Point{X: tx(float64(b.steps[i])), Y: ty(b.low[i])})
		}
		if !slices.ContainsFunc(b.mean, math.IsNaN) {
			canvas.FillPolygon(faintOf(col), canvas.ClipPolygonXY(outline))
		}
	}
	for _, b := range c.list {
		col, glyph := arm(b.row)
		var pts []vg.Point
		for i, s := range b.steps {
			if !math.IsNaN(b.mean[i]) {
				pts = append(pts, vg.Point{X: tx(float64(s)), Y: ty(b.mean[i])})
			}
		}
		canvas.StrokeLines(draw.LineStyle{Color: col, Width: 1.2}, canvas.ClipLinesXY(pts)...)
		for k := len(pts) / 8; k < len(pts); k += max(1, len(pts)/4) {
			canvas.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 2.5, Shape: glyph}, pts[k])
		}
	}
}
