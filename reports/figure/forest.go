package figure

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// interval is a line of a forest plot: a label, an estimate with its interval, and the
// seeds' values as points.
type interval struct {
	label  string
	values string
	row    int // row whose colour and glyph it has
	of     int // row of the table to which it belongs; −1 if there is none
	cell   compare.Cell
	filled bool // the glyph is filled and not hollow
}

// Forest draws the paired difference of every row from the reference, with its interval
// if there is one and its seeds as small points. Glyphs of significant differences are
// filled. It returns false if there is no difference.
func Forest(t *compare.Table, metric string) (Figure, bool) {
	var rows []int
	for i, r := range t.Rows {
		if _, ok := r.Differences[metric]; ok && r.SameAs == "" {
			rows = append(rows, i)
		}
	}
	var list []interval
	for _, i := range drawn(t, rows, mostLines) {
		d := t.Rows[i].Differences[metric]
		v := metricName(t, metric) + " " + format.Change(t.Digits(metric), d.Cell)
		if d.Significant {
			v += " *"
		}
		list = append(list, interval{name(t.Rows[i]), v, i, i, d.Cell, d.Significant})
	}
	return forest(list, len(rows)-len(list), label(t, metric)+", difference from "+t.Reference)
}

// Effects draws the main effects of an arm's axes on a metric, and the trends along them.
func Effects(t *compare.Table, s compare.Sweep, metric string) (Figure, bool) {
	var list []interval
	for _, e := range s.Effects {
		if e.Metric != metric || e.Kind == compare.Interaction {
			continue
		}
		row := 0
		for k := range s.Factors {
			if s.Factors[k].Name == e.Factors[0] {
				row = k
			}
		}
		v := metricName(t, metric) + " " + format.Change(t.Digits(metric), e.Cell)
		if e.Significant {
			v += " *"
		}
		list = append(list, interval{format.Effect(e), v, row, -1, e.Cell, e.Significant})
	}
	all := len(list)
	list = list[:min(all, mostLines)]
	return forest(list, all-len(list), label(t, metric)+", effects in "+s.Arm)
}

// label returns the name of a metric with its better direction.
func label(t *compare.Table, metric string) string {
	for _, m := range t.Metrics {
		if m.Name == metric {
			return m.Label + format.Direction(m.Better)
		}
	}
	return metric
}

// mostLines is the largest number of lines of a forest plot.
const mostLines = 60

// forest draws the lines of list. more is the number of lines that are left out.
func forest(list []interval, more int, x string) (Figure, bool) {
	if len(list) == 0 {
		return Figure{}, false
	}
	if more > 0 {
		x += "; " + left(more, "line")
	}
	m := &marks{}
	return Figure{func(l layout) drawing {
		p := newPlot(fit(x, l.width()-20), "")
		p.HideY()
		f := &lines{list: list, at: l, marks: m}
		p.Add(f)
		return plotted(p, l.width(), 1.8*vg.Centimeter+f.line()*vg.Length(len(list)), m)
	}}, true
}

// lines are the lines of a forest plot. Their labels are to the left of the data, or
// above it if the figure is narrow.
type lines struct {
	list  []interval
	at    layout
	marks *marks
}

// line returns the height of a line.
func (l *lines) line() vg.Length {
	if l.at == narrow {
		return 28
	}
	return .62 * vg.Centimeter
}

// DataRange implements plot.DataRanger.
func (l *lines) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax = 0, 0
	for _, i := range l.list {
		xmin, xmax = min(xmin, i.cell.Low), max(xmax, i.cell.High)
		for _, v := range i.cell.Values {
			xmin, xmax = min(xmin, v), max(xmax, v)
		}
	}
	if xmin == xmax {
		xmin, xmax = -1, 1
	}
	m := .04 * (xmax - xmin)
	ymax = .6
	if l.at == narrow {
		ymax = .8
	}
	return xmin - m, xmax + m, -float64(len(l.list)) + .4, ymax
}

// label returns the label of a line, shortened to the available width.
func (l *lines) label(i interval) string {
	if l.at == narrow {
		return fit(i.label, l.at.width()-20)
	}
	return fit(i.label, l.at.width()*2/5)
}

// GlyphBoxes implements plot.GlyphBoxer. It reserves space for the labels, and for the
// label of the last tick.
func (l *lines) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	right := plot.GlyphBox{X: 1, Y: .5, Rectangle: vg.Rectangle{Max: vg.Point{X: 14}}}
	if l.at == narrow {
		return []plot.GlyphBox{right}
	}
	var labels []string
	for _, i := range l.list {
		labels = append(labels, l.label(i))
	}
	return []plot.GlyphBox{{X: 0, Y: .5, Rectangle: vg.Rectangle{Min: vg.Point{X: -widest(labels) - 10}}}, right}
}

// Plot implements plot.Plotter. It draws the lines.
func (l *lines) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	zero := tx(0)
	c.StrokeLine2(draw.LineStyle{Color: grey, Width: .8, Dashes: []vg.Length{4, 3}}, zero, c.Min.Y, zero, c.Max.Y)
	left := tx(p.X.Min)
	for k, i := range l.list {
		y := ty(-float64(k))
		col, glyph := arm(i.row)
		s := small
		s.Color, s.XAlign, s.YAlign = inkOf(col), draw.XRight, draw.YCenter
		if l.at == narrow {
			s.XAlign, s.YAlign = draw.XLeft, draw.YBottom
			c.FillText(s, vg.Point{X: left, Y: y + 6}, l.label(i))
		} else {
			c.FillText(s, vg.Point{X: left - 8, Y: y}, l.label(i))
		}
		l.marks.add(vg.Point{X: tx(i.cell.Mean), Y: y}, Mark{Row: i.of, Series: k, Name: i.label, Values: i.values})
		if i.cell.Interval != "" && !math.IsNaN(i.cell.Low) {
			c.StrokeLine2(draw.LineStyle{Color: col, Width: 1.4}, tx(i.cell.Low), y, tx(i.cell.High), y)
			for _, x := range []float64{i.cell.Low, i.cell.High} {
				c.StrokeLine2(draw.LineStyle{Color: col, Width: 1.4}, tx(x), y-3, tx(x), y+3)
			}
		}
		for _, v := range i.cell.Values {
			c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 1.6, Shape: glyph}, vg.Point{X: tx(v), Y: y - 5})
		}
		c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 3.6, Shape: draw.CircleGlyph{}}, vg.Point{X: tx(i.cell.Mean), Y: y})
		if !i.filled {
			c.DrawGlyph(draw.GlyphStyle{Color: white, Radius: 2.2, Shape: draw.CircleGlyph{}}, vg.Point{X: tx(i.cell.Mean), Y: y})
		}
	}
}
