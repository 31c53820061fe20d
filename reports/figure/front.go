package figure

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// Front draws metric y against metric x: the mean of each row, with its intervals over
// seeds and its seeds as small points; the Pareto front as steps; a dotted line through
// the points of an arm along its one axis; and the value of real images against real
// images as a dashed line. Rows in focus are named first, and others if there is room; a
// row without a name is a grey point. Rows that lack one of the metrics, and rows with
// the same trials as another row, are left out. Front returns false if there is no row.
func Front(t *compare.Table, x, y string) (Figure, bool) {
	f := front{labels: [2]string{label(t, x), label(t, y)}, floor: math.NaN(), marks: &marks{}}
	mx, _ := t.Metric(x)
	my, _ := t.Metric(y)
	f.ranges = [2]string{mx.Range, my.Range}
	shared := map[string]compare.FrontPoint{}
	if t.Front != nil && t.Front.X == x && t.Front.Y == y {
		for _, p := range t.Front.Points {
			shared[p.Label] = p
			if p.On {
				f.steps = append(f.steps, plotter.XY{X: p.X, Y: p.Y})
			}
		}
		slices.SortFunc(f.steps, func(a, b plotter.XY) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(b.Y, a.Y)) })
	}
	in := focus(t)
	at := map[int]plotter.XY{}
	for i, r := range t.Rows {
		cx, okX := r.Cells[x]
		cy, okY := r.Cells[y]
		if !okX || !okY {
			continue
		}
		if p, ok := shared[cmp.Or(r.SameAs, r.Label)]; ok { // means over the seeds that all rows share, so that no row lies beyond the front
			cx, cy = p.CellX, p.CellY
		}
		at[i] = plotter.XY{X: cx.Mean, Y: cy.Mean}
		if r.SameAs != "" {
			continue
		}
		if c, ok := r.Cells[mx.Real]; ok {
			f.floor = c.Mean
		}
		f.points = append(f.points, point{row: i, name: name(r), x: cx, y: cy, focus: in[i],
			values: values(t, map[string]compare.Cell{x: cx, y: cy}, y, x)})
	}
	if len(f.points) == 0 {
		return Figure{}, false
	}
	for _, s := range t.Sweeps {
		if len(s.Factors) != 1 {
			continue
		}
		var path plotter.XYs
		for _, i := range s.Rows {
			if p, ok := at[i]; ok {
				path = append(path, p)
			}
		}
		f.paths = append(f.paths, path)
	}
	return Figure{func(l layout) drawing {
		p := newPlot(f.labels[0], f.labels[1])
		p.Add(&f)
		height := 10 * vg.Centimeter
		if l == narrow {
			p.X.Tick.Marker = ticks{most: 5}
			height = 11 * vg.Centimeter
		}
		return plotted(p, l.width(), height, f.marks)
	}}, true
}

type point struct {
	row    int
	name   string
	values string
	x, y   compare.Cell
	focus  bool
}

func (p point) mean() plotter.XY { return plotter.XY{X: p.x.Mean, Y: p.y.Mean} }

type front struct {
	labels, ranges [2]string // labels and ranges of the axes
	points         []point
	steps          plotter.XYs   // the front, sorted by x
	paths          []plotter.XYs // points of arms along their one axis
	floor          float64       // real images against real images; NaN if there is none
	marks          *marks
}

// seeds calls f with a point's values of each seed.
func (p point) seeds(f func(x, y float64)) {
	for i, s := range p.x.Seeds {
		if v, ok := p.y.Of(s); ok {
			f(p.x.Values[i], v)
		}
	}
}

// DataRange implements plot.DataRanger. The range does not exceed the possible values of
// a metric.
func (f *front) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, ymin = math.Inf(1), math.Inf(1)
	xmax, ymax = math.Inf(-1), math.Inf(-1)
	see := func(x, y float64) {
		xmin, xmax, ymin, ymax = min(xmin, x), max(xmax, x), min(ymin, y), max(ymax, y)
	}
	for _, p := range f.points {
		if p.x.Tested() {
			see(p.x.Low, p.y.Mean)
			see(p.x.High, p.y.Mean)
		}
		if p.y.Tested() {
			see(p.x.Mean, p.y.Low)
			see(p.x.Mean, p.y.High)
		}
		see(p.x.Mean, p.y.Mean)
		p.seeds(see)
	}
	if !math.IsNaN(f.floor) {
		xmin, xmax = min(xmin, f.floor), max(xmax, f.floor)
	}
	xmin, xmax = margin(xmin, xmax, f.ranges[0])
	ymin, ymax = margin(ymin, ymax, f.ranges[1])
	return xmin, xmax, ymin, ymax
}

// margin widens a range a little, within the possible values of the metric.
func margin(low, high float64, of string) (float64, float64) {
	m := .06*(high-low) + 1e-3
	if l := low - m; low < 0 || l > 0 || !table.Within01(of) && of != table.Positive {
		low = l
	} else {
		low = 0
	}
	if h := high + m; high > 1 || h < 1 || !table.Within01(of) {
		high = h
	} else {
		high = 1
	}
	return low, high
}

// Plot implements plot.Plotter. It draws the points and the names.
func (f *front) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	to := func(q plotter.XY) vg.Point { return vg.Point{X: tx(q.X), Y: ty(q.Y)} }
	r := &room{within: box{c.Min.X, c.Min.Y, c.Max.X, c.Max.Y}}
	if !math.IsNaN(f.floor) {
		const real = "real against real"
		x := tx(f.floor)
		c.StrokeLine2(draw.LineStyle{Color: grey, Width: .8, Dashes: []vg.Length{4, 3}}, x, c.Min.Y, x, c.Max.Y)
		s := small
		s.XAlign, s.YAlign = draw.XRight, draw.YTop
		c.FillText(s, vg.Point{X: x - 3, Y: c.Max.Y - 2}, real)
		r.full = append(r.full, box{x - 3 - s.Width(real), c.Max.Y - 2 - s.Height(real), x, c.Max.Y})
		r.busy = append(r.busy, along([]vg.Point{{X: x, Y: c.Min.Y}, {X: x, Y: c.Max.Y}})...)
	}
	for _, s := range f.line() {
		c.StrokeLines(draw.LineStyle{Color: faint, Width: 3}, []vg.Point{to(s[0]), to(s[1])})
	}
	for _, path := range f.paths {
		var line []vg.Point
		for _, q := range path {
			line = append(line, to(q))
		}
		c.StrokeLines(draw.LineStyle{Color: grey, Width: .6, Dashes: []vg.Length{1.5, 2}}, line)
		r.busy = append(r.busy, along(line)...)
	}
	for _, q := range f.points {
		at := to(q.mean())
		r.full = append(r.full, around(at, 9))
		f.marks.add(at, Mark{Row: q.row, Series: q.row, Name: q.name, Values: q.values})
	}
	names := f.names(r, to)
	for _, named := range []bool{false, true} { // rows with a name are drawn last
		for i, q := range f.points {
			if _, ok := names[i]; ok == named {
				q.draw(c, tx, ty, named)
			}
		}
	}
	for i, q := range f.points {
		b, ok := names[i]
		if !ok {
			continue
		}
		col, _ := arm(q.row)
		s := small
		s.Color = inkOf(col)
		if end, far := b.leader(to(q.mean())); far { // a line connects the point with a name that is far away
			c.StrokeLine2(draw.LineStyle{Color: s.Color, Width: .4}, to(q.mean()).X, to(q.mean()).Y, end.X, end.Y)
		}
		c.FillText(s, vg.Point{X: b.x0, Y: b.y0}, q.name)
	}
}

// draw draws a point. If it is named, it is in its colour, with its seeds and intervals;
// otherwise it is grey.
func (p point) draw(c draw.Canvas, tx, ty func(float64) vg.Length, named bool) {
	col, glyph := arm(p.row)
	radius := vg.Length(4)
	bar := draw.LineStyle{Color: col, Width: 1.2}
	if !named {
		col, radius = grey, 2.6
		bar = draw.LineStyle{Color: faint, Width: .8}
	}
	x, y := tx(p.x.Mean), ty(p.y.Mean)
	if p.y.Tested() {
		c.StrokeLine2(bar, x, ty(p.y.Low), x, ty(p.y.High))
	}
	if p.x.Tested() {
		c.StrokeLine2(bar, tx(p.x.Low), y, tx(p.x.High), y)
	}
	if named {
		p.seeds(func(sx, sy float64) {
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: .6}, x, y, tx(sx), ty(sy))
			c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 1.6, Shape: glyph}, vg.Point{X: tx(sx), Y: ty(sy)})
		})
	}
	c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: radius, Shape: glyph}, vg.Point{X: x, Y: y})
}

// line returns the steps of the front. A point below and left of them is not better in
// either metric than some row of the front. There is no step where a row that does not
// count for the front (a control, or a row with other seeds) is better in both metrics.
func (f *front) line() [][2]plotter.XY {
	var out [][2]plotter.XY
	for i := 1; i < len(f.steps); i++ {
		a, b := f.steps[i-1], f.steps[i]
		down, right := [2]plotter.XY{a, {X: a.X, Y: b.Y}}, [2]plotter.XY{{X: a.X, Y: b.Y}, b}
		for _, q := range f.points {
			p := q.mean()
			if p.X > down[0].X {
				down[1].Y = max(down[1].Y, p.Y)
			}
			if p.Y > right[0].Y {
				right[0].X = max(right[0].X, p.X)
			}
		}
		if down[0].Y > down[1].Y {
			out = append(out, down)
		}
		if right[0].X < right[1].X {
			out = append(out, right)
		}
	}
	return out
}
