package figure

import (
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// DoseResponse draws metrics against the levels of one axis of an arm, with one panel per
// metric: the mean of each row with its interval over seeds, and its seeds as small
// points. If the arm has several axes, there is one line for each combination of levels
// of the others; parallel lines mean that the axes do not interact. A dashed line in a
// band is the reference with its interval. DoseResponse returns false if no row has one
// of the metrics.
func DoseResponse(t *compare.Table, s compare.Sweep, factor int, metrics []string) (Figure, bool) {
	d := &dose{table: t, axis: axisOf(s.Factors[factor]), marks: &marks{}}
	byName := map[string]int{}
	for k, row := range s.Rows {
		var others []string
		for f, at := range s.At {
			if f != factor {
				others = append(others, format.Axis(s.Factors[f].Name)+"="+format.Level(s.Factors[f].Levels[at[k]]))
			}
		}
		name := strings.Join(others, " ")
		if _, ok := byName[name]; !ok {
			byName[name] = len(d.lines)
			d.lines = append(d.lines, series{name: name})
		}
		line := &d.lines[byName[name]]
		line.doses = append(line.doses, level{s.At[factor][k], row})
	}
	l := legend{below: true}
	for i, line := range d.lines {
		slices.SortFunc(line.doses, func(a, b level) int { return a.at - b.at })
		if line.name != "" && len(d.lines) <= mostLevels {
			l.add(i, line.name)
		}
	}
	if len(d.lines) > mostLevels {
		l.note = "A line for each combination of the other axes. "
	}
	for _, m := range metrics {
		if slices.ContainsFunc(s.Rows, func(i int) bool { _, ok := t.Rows[i].Cells[m]; return ok }) {
			d.metrics = append(d.metrics, m)
		}
	}
	if len(d.metrics) == 0 {
		return Figure{}, false
	}
	if i := slices.IndexFunc(t.Rows, func(r compare.Row) bool { return r.Label == t.Reference }); i >= 0 {
		d.reference = t.Rows[i].Cells
		l.note += "Dashed: the reference, " + name(t.Rows[i]) + "."
	}
	return Figure{func(at layout) drawing {
		columns := min(2, len(d.metrics))
		if at == narrow {
			columns = 1
		}
		rows := (len(d.metrics) + columns - 1) / columns
		return l.figure(vg.Length(rows)*doseHigh, d.marks, func(c draw.Canvas) { d.draw(c, columns, rows, s.Factors[factor].Name) }, at)
	}}, true
}

const (
	mostLevels = 7 // largest number of lines with different colours
	doseHigh   = 6 * vg.Centimeter
)

// dose is the data of a figure.
type dose struct {
	table     *compare.Table
	axis      axis
	lines     []series
	metrics   []string
	reference map[string]compare.Cell
	marks     *marks
}

// series has the rows of one combination of levels of the other axes, in the order of the
// axis.
type series struct {
	name  string
	doses []level
}

// level is a row at a level of the axis.
type level struct{ at, row int }

// axis has the positions of the levels of a factor on an axis.
type axis struct {
	at     []float64
	labels []string
	log    bool // the positions are logarithms
	broken bool // the first level is 0, which has no logarithm and is set apart
}

// axisOf places levels on an axis: numbers by their size, on a logarithmic axis if they
// span a factor of ten, and other levels at equal distances. On a logarithmic axis, 0 has
// no position; it is set apart from the others by their average distance.
func axisOf(f compare.Factor) axis {
	var a axis
	for i, l := range f.Levels {
		a.labels = append(a.labels, format.Level(l))
		a.at = append(a.at, float64(i))
	}
	if f.Numbers == nil {
		return a
	}
	copy(a.at, f.Numbers)
	positive := a.at
	if a.at[0] == 0 {
		positive = a.at[1:]
	}
	if len(positive) < 2 || !(positive[0] > 0) || positive[len(positive)-1] < 10*positive[0] {
		return a
	}
	for i, x := range positive {
		positive[i] = math.Log10(x)
	}
	a.log = true
	if len(positive) < len(a.at) {
		a.at[0], a.broken = positive[0]-(positive[len(positive)-1]-positive[0])/float64(len(positive)-1), true
	}
	return a
}

// Ticks implements plot.Ticker. It returns the levels, with names as far as there is
// room.
func (a axis) Ticks(low, high float64) []plot.Tick {
	const room = 150 // smallest width of an axis in points
	var out []plot.Tick
	end := math.Inf(-1)
	for i, x := range a.at {
		at, w := (x-low)/(high-low)*room, float64(small.Width(a.labels[i]))
		tick := plot.Tick{Value: x}
		if at-w/2 > end {
			tick.Label, end = a.labels[i], at+w/2+3
		}
		if tick.Label == "" {
			tick.Label = " " // a level without a name; an empty label would make it a minor tick
		}
		out = append(out, tick)
	}
	return out
}

func (d *dose) draw(c draw.Canvas, columns, rows int, axis string) {
	if d.axis.log {
		axis += " (log scale)"
	}
	w, h := (c.Max.X-c.Min.X)/vg.Length(columns), (c.Max.Y-c.Min.Y)/vg.Length(rows)
	for k, m := range d.metrics {
		corner := vg.Point{X: c.Min.X + w*vg.Length(k%columns), Y: c.Max.Y - h*vg.Length(k/columns+1)}
		p := newPlot(fit(axis, w-20), metricName(d.table, m)+format.Direction(better(d.table, m)))
		p.X.Tick.Marker = d.axis
		p.Y.Tick.Marker = ticks{most: 6}
		p.Add(&response{d, m})
		p.Draw(draw.Crop(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: corner, Max: corner.Add(vg.Point{X: w, Y: h})}}, 2, -8, 2, -6))
	}
}

func better(t *compare.Table, metric string) string {
	m, _ := t.Metric(metric)
	return m.Better
}

// response is one panel.
type response struct {
	*dose
	metric string
}

// DataRange implements plot.DataRanger.
func (r *response) DataRange() (xmin, xmax, ymin, ymax float64) {
	ymin, ymax = math.Inf(1), math.Inf(-1)
	see := func(c compare.Cell) {
		if c.Tested() {
			ymin, ymax = min(ymin, c.Low), max(ymax, c.High)
		}
		ymin, ymax = min(ymin, c.Mean), max(ymax, c.Mean)
		for _, v := range c.Values {
			ymin, ymax = min(ymin, v), max(ymax, v)
		}
	}
	for _, l := range r.lines {
		for _, q := range l.doses {
			if c, ok := r.table.Rows[q.row].Cells[r.metric]; ok {
				see(c)
			}
		}
	}
	if c, ok := r.reference[r.metric]; ok {
		see(c)
	}
	m, _ := r.table.Metric(r.metric)
	ymin, ymax = margin(ymin, ymax, m.Range)
	first, last := slices.Min(r.axis.at), slices.Max(r.axis.at)
	side := .08 * (last - first)
	return first - side, last + side, ymin, ymax
}

// Plot implements plot.Plotter. It draws the reference, then a line for each series.
func (r *response) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	if ref, ok := r.reference[r.metric]; ok {
		if ref.Tested() {
			c.FillPolygon(shade, []vg.Point{{X: c.Min.X, Y: ty(ref.Low)}, {X: c.Max.X, Y: ty(ref.Low)}, {X: c.Max.X, Y: ty(ref.High)}, {X: c.Min.X, Y: ty(ref.High)}})
		}
		c.StrokeLine2(draw.LineStyle{Color: grey, Width: .8, Dashes: []vg.Length{4, 3}}, c.Min.X, ty(ref.Mean), c.Max.X, ty(ref.Mean))
	}
	for i, l := range r.lines {
		col, glyph := arm(i)
		if len(r.lines) > mostLevels {
			col, glyph = grey, draw.CircleGlyph{}
		}
		// The points of several lines at one level are placed side by side.
		beside := vg.Length(0)
		if n := len(r.lines); n > 1 {
			beside = 8 * (vg.Length(i)/vg.Length(n-1) - .5)
		}
		var at []vg.Point
		apart := false // whether the first point is at a level that is set apart
		for _, q := range l.doses {
			cell, ok := r.table.Rows[q.row].Cells[r.metric]
			if !ok {
				continue
			}
			x := tx(r.axis.at[q.at]) + beside
			if cell.Tested() {
				c.StrokeLine2(draw.LineStyle{Color: col, Width: 1.2}, x, ty(cell.Low), x, ty(cell.High))
			}
			for _, v := range cell.Values {
				c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 1.3, Shape: draw.CircleGlyph{}}, vg.Point{X: x + 3, Y: ty(v)})
			}
			apart = apart || r.axis.broken && q.at == 0
			at = append(at, vg.Point{X: x, Y: ty(cell.Mean)})
			r.marks.add(at[len(at)-1], Mark{Row: q.row, Series: i, Name: name(r.table.Rows[q.row]), Values: metricName(r.table, r.metric) + " " + format.Cell(r.table.Digits(r.metric), cell)})
		}
		// Between 0 and the other levels the axis has no scale, so the line is dotted
		// there.
		line := at
		if apart && len(at) > 1 {
			c.StrokeLines(draw.LineStyle{Color: col, Width: 1.2, Dashes: []vg.Length{1.5, 2}}, at[:2])
			line = at[1:]
		}
		c.StrokeLines(draw.LineStyle{Color: col, Width: 1.2}, line)
		for _, q := range at {
			c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 3.2, Shape: glyph}, q)
		}
	}
}
