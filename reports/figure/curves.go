package figure

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// Curves draws curves of a metric over the steps of a stage: the mean over a row's seeds
// as a line, in a band that is its interval or, without one, the range of the seeds. It
// returns false if there is no curve.
func Curves(t *compare.Table, curves []compare.Curve, metric string) (Figure, bool) {
	if len(curves) == 0 {
		return Figure{}, false
	}
	byRow := map[int]compare.Curve{}
	var rows []int
	for _, c := range curves {
		byRow[c.Row] = c
		rows = append(rows, c.Row)
	}
	b := &bands{t: t, metric: metric, marks: &marks{}}
	var l legend
	for _, i := range drawn(t, rows, mostRows) {
		b.list = append(b.list, byRow[i])
		l.add(i, name(t.Rows[i]))
	}
	l.more = len(rows) - len(b.list)
	if len(b.list) == 1 {
		l = legend{} // a single line needs no legend: it may be shared by many rows
	}
	return Figure{func(at layout) drawing {
		p := newPlot("step", metric)
		if at == narrow {
			p.X.Tick.Marker = ticks{most: 5}
		}
		p.Add(b)
		return l.figure(7*vg.Centimeter, b.marks, p.Draw, at)
	}}, true
}

type bands struct {
	t      *compare.Table
	metric string
	list   []compare.Curve
	marks  *marks
}

// DataRange implements plot.DataRanger.
func (b *bands) DataRange() (xmin, xmax, ymin, ymax float64) {
	ymin, ymax = math.Inf(1), math.Inf(-1)
	for _, c := range b.list {
		for _, s := range c.Steps {
			xmax, ymin, ymax = max(xmax, float64(s.At)), min(ymin, s.Low), max(ymax, s.High)
		}
	}
	of := ""
	if ymin >= 0 {
		of = table.Positive
	}
	ymin, ymax = margin(ymin, ymax, of)
	return 0, xmax, ymin, ymax
}

// Plot implements plot.Plotter. It draws bands, then lines, then marks.
func (b *bands) Plot(canvas draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&canvas)
	for _, c := range b.list {
		col, _ := arm(c.Row)
		var outline []vg.Point
		for _, s := range c.Steps {
			outline = append(outline, vg.Point{X: tx(float64(s.At)), Y: ty(s.High)})
		}
		for _, s := range slices.Backward(c.Steps) {
			outline = append(outline, vg.Point{X: tx(float64(s.At)), Y: ty(s.Low)})
		}
		canvas.FillPolygon(faintOf(col), canvas.ClipPolygonXY(outline))
	}
	for _, c := range b.list {
		col, glyph := arm(c.Row)
		var line []vg.Point
		for _, s := range c.Steps {
			line = append(line, vg.Point{X: tx(float64(s.At)), Y: ty(s.Mean)})
		}
		canvas.StrokeLines(draw.LineStyle{Color: col, Width: 1.2}, canvas.ClipLinesXY(line)...)
		for k := len(line) / 8; k < len(line); k += max(1, len(line)/4) {
			canvas.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 2.5, Shape: glyph}, line[k])
			s := c.Steps[k]
			b.marks.add(line[k], Mark{Row: c.Row, Series: c.Row, Name: name(b.t.Rows[c.Row]), Values: fmt.Sprintf("step %d: %s %s", s.At, b.metric, step(s))})
		}
	}
}

// step describes a point of a curve in words.
func step(s compare.Step) string {
	v := format.Number(0, s.Mean)
	switch {
	case s.Interval:
		v += fmt.Sprintf(" [%s, %s]", format.Number(0, s.Low), format.Number(0, s.High))
	case s.Low != s.High:
		v += fmt.Sprintf(" (seeds from %s to %s)", format.Number(0, s.Low), format.Number(0, s.High))
	}
	return v
}
