package figure

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// mostRows is the largest number of rows of a figure that shows each row several times.
const mostRows = 20

// mostUpright is the largest number of categories whose names fit beside each other.
const mostUpright = 6

// Categories draws alignment by category: one column per category, and in it one glyph
// per row with its interval, if there is one.
func Categories(t *compare.Table) Figure {
	c := &categories{t: t, marks: &marks{}}
	for _, m := range t.Metrics {
		if name, ok := m.Category(); ok {
			c.names = append(c.names, name)
		}
	}
	var all []int
	for i, r := range t.Rows {
		if r.SameAs == "" {
			all = append(all, i)
		}
	}
	c.rows = drawn(t, all, mostRows)
	l := legend{more: len(all) - len(c.rows)}
	for _, i := range c.rows {
		l.add(i, name(t.Rows[i]))
	}
	return Figure{func(at layout) drawing {
		p := newPlot("", label(t, "alignment"))
		p.NominalX(c.names...)
		if at == narrow {
			p.X.Tick.Label.Font.Size = 8
		}
		if len(c.names) > mostUpright {
			p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/2, draw.XRight, draw.YCenter
			p.X.Tick.Label.Font.Size = 7
		}
		p.Add(c)
		return l.figure(8*vg.Centimeter, c.marks, p.Draw, at)
	}}
}

type categories struct {
	t     *compare.Table
	rows  []int
	names []string
	marks *marks
}

// DataRange implements plot.DataRanger.
func (c *categories) DataRange() (xmin, xmax, ymin, ymax float64) {
	ymin, ymax = math.Inf(1), math.Inf(-1)
	for _, i := range c.rows {
		for _, n := range c.names {
			if x, ok := c.t.Rows[i].Cells["alignment."+n]; ok {
				ymin, ymax = min(ymin, x.Low), max(ymax, x.High)
			}
		}
	}
	if ymin > ymax {
		ymin, ymax = 0, 1
	}
	ymin, ymax = margin(ymin, ymax, table.Share)
	return -.5, float64(len(c.names)) - .5, ymin, ymax
}

// Plot implements plot.Plotter. It draws the glyphs.
func (c *categories) Plot(canvas draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&canvas)
	for k, n := range c.names {
		for j, i := range c.rows {
			x, ok := c.t.Rows[i].Cells["alignment."+n]
			if !ok {
				continue
			}
			col, glyph := arm(i)
			at := tx(float64(k) + .7*(float64(j)+.5)/float64(len(c.rows)) - .35)
			if x.Interval != "" {
				canvas.StrokeLine2(draw.LineStyle{Color: col, Width: 1}, at, ty(x.Low), at, ty(x.High))
			}
			canvas.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 3, Shape: glyph}, vg.Point{X: at, Y: ty(x.Mean)})
			c.marks.add(vg.Point{X: at, Y: ty(x.Mean)}, Mark{Row: i, Series: i, Name: name(c.t.Rows[i]), Values: n + " " + format.Cell(c.t.Digits("alignment"), x)})
		}
	}
}
