package figure

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// Place is where a figure shows a row: from its left and from its foot, in
// shares of its width and height.
type Place struct {
	Row  int
	X, Y float64
}

// FrontPoints draws alignment against fidelity: each row's mean with its interval
// where it has one, its seeds as small points, the Pareto front as steps, the
// path of an arm along its one axis as a line, and the figure of real against
// real as a dashed line. Rows without both figures, and rows that repeat
// another's trials, are left out; so is a label for which there is no room.
// It returns the places of the rows' points, too.
func FrontPoints(t *compare.Table, x, y string) (Figure, []Place) {
	f := &front{}
	labels := map[string]string{x: x, y: y}
	var real string
	for _, m := range t.Metrics {
		arrow := format.Direction(m.Better)
		switch m.Name {
		case x:
			labels[x], real = m.Label+arrow, m.Real
		case y:
			labels[y] = m.Label + arrow
		}
	}
	f.floor = math.NaN()
	for i, r := range t.Rows {
		cx, okX := r.Cells[x]
		cy, okY := r.Cells[y]
		if !okX || !okY || r.SameAs != "" {
			continue
		}
		if c, ok := r.Cells[real]; ok {
			f.floor = c.Mean
		}
		f.points = append(f.points, point{index: i, label: r.Name(), x: cx, y: cy})
	}
	if t.Front != nil && t.Front.X == x && t.Front.Y == y {
		at := map[string]compare.FrontPoint{}
		for _, p := range t.Front.Points {
			at[p.Label] = p
			if p.On {
				f.steps = append(f.steps, plotter.XY{X: p.X, Y: p.Y})
			}
		}
		for k, q := range f.points { // over the seeds that the rows share, so that none lies beyond the front
			if p, ok := at[t.Rows[q.index].Label]; ok {
				f.points[k].x.Mean, f.points[k].y.Mean = p.X, p.Y
			}
		}
		slices.SortFunc(f.steps, func(a, b plotter.XY) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(b.Y, a.Y)) })
	}
	for _, s := range t.Sweeps {
		if len(s.Factors) != 1 {
			continue
		}
		path := make(plotter.XYs, 0, len(s.Factors[0].Levels))
		for _, i := range s.Rows {
			cx, okX := t.Rows[i].Cells[x]
			cy, okY := t.Rows[i].Cells[y]
			if okX && okY {
				path = append(path, plotter.XY{X: cx.Mean, Y: cy.Mean})
			}
		}
		f.paths = append(f.paths, path)
	}
	p := newPlot(labels[x], labels[y])
	p.Add(f)
	fig := Figure{plot: p, width: 15 * vg.Centimeter, height: 10 * vg.Centimeter}
	c := draw.New(vgsvg.New(fig.width, fig.height))
	data := p.DataCanvas(c)
	tx, ty := p.Transforms(&data)
	var places []Place
	for _, q := range f.points {
		places = append(places, Place{q.index, float64(tx(q.x.Mean) / fig.width), float64(ty(q.y.Mean) / fig.height)})
	}
	return fig, places
}

type point struct {
	index int
	label string
	x, y  compare.Cell
}

type front struct {
	points []point
	steps  plotter.XYs   // the front, by x
	paths  []plotter.XYs // of arms along their one axis
	floor  float64       // real against real; NaN without one
}

// seeds pairs a point's values seed by seed.
func (p point) seeds(f func(x, y float64)) {
	for i, s := range p.x.Seeds {
		for j, o := range p.y.Seeds {
			if s == o {
				f(p.x.Values[i], p.y.Values[j])
			}
		}
	}
}

// DataRange is what the axes must show.
func (f *front) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, ymin = math.Inf(1), math.Inf(1)
	xmax, ymax = math.Inf(-1), math.Inf(-1)
	see := func(x, y float64) {
		xmin, xmax, ymin, ymax = min(xmin, x), max(xmax, x), min(ymin, y), max(ymax, y)
	}
	for _, p := range f.points {
		see(p.x.Low, p.y.Low)
		see(p.x.High, p.y.High)
		p.seeds(see)
	}
	if !math.IsNaN(f.floor) {
		xmin, xmax = min(xmin, f.floor), max(xmax, f.floor)
	}
	if len(f.points) == 0 {
		return 0, 1, 0, 1
	}
	mx, my := .06*(xmax-xmin)+1e-3, .06*(ymax-ymin)+1e-3
	return xmin - mx, xmax + mx, ymin - my, ymax + my
}

type box struct{ x0, y0, x1, y1 vg.Length }

func (a box) overlaps(b box) bool { return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1 }

// along are boxes that cover a line.
func along(line []vg.Point) []box {
	const size = 4
	var out []box
	for i := 1; i < len(line); i++ {
		a, d := line[i-1], line[i].Sub(line[i-1])
		n := max(1, math.Ceil(math.Hypot(float64(d.X), float64(d.Y))/size))
		for k := range int(n) {
			p := a.Add(d.Scale(vg.Length((float64(k) + .5) / n)))
			out = append(out, box{p.X - size/2, p.Y - size/2, p.X + size/2, p.Y + size/2})
		}
	}
	return out
}

// Plot draws the points, and labels where they cover nothing.
func (f *front) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	var taken []box
	if !math.IsNaN(f.floor) {
		const real = "real against real"
		x := tx(f.floor)
		c.StrokeLine2(draw.LineStyle{Color: grey, Width: .8, Dashes: []vg.Length{4, 3}}, x, c.Min.Y, x, c.Max.Y)
		s := small
		s.XAlign, s.YAlign = draw.XRight, draw.YTop
		c.FillText(s, vg.Point{X: x - 3, Y: c.Max.Y - 2}, real)
		taken = append(taken, box{x - 3 - s.Width(real), c.Max.Y - 2 - s.Height(real), x + 1, c.Max.Y}, box{x - 1, c.Min.Y, x + 1, c.Max.Y})
	}
	if len(f.steps) > 1 {
		var line []vg.Point
		for i, q := range f.steps {
			if i > 0 { // what is dominated lies below and left: down at the next point's x would claim too much
				line = append(line, vg.Point{X: tx(f.steps[i-1].X), Y: ty(q.Y)})
			}
			line = append(line, vg.Point{X: tx(q.X), Y: ty(q.Y)})
		}
		c.StrokeLines(draw.LineStyle{Color: faint, Width: 3}, line)
	}
	for _, path := range f.paths {
		var line []vg.Point
		for _, q := range path {
			line = append(line, vg.Point{X: tx(q.X), Y: ty(q.Y)})
		}
		c.StrokeLines(draw.LineStyle{Color: grey, Width: .8, Dashes: []vg.Length{1.5, 2}}, line)
		taken = append(taken, along(line)...)
	}
	for _, q := range f.points {
		x, y := tx(q.x.Mean), ty(q.y.Mean)
		taken = append(taken, box{x - 5, y - 5, x + 5, y + 5})
		q.seeds(func(sx, sy float64) {
			taken = append(taken, box{tx(sx) - 2, ty(sy) - 2, tx(sx) + 2, ty(sy) + 2})
		})
		if q.y.Interval != "" {
			taken = append(taken, box{x - 1, ty(q.y.Low), x + 1, ty(q.y.High)})
		}
		if q.x.Interval != "" {
			taken = append(taken, box{tx(q.x.Low), y - 1, tx(q.x.High), y + 1})
		}
	}
	for _, q := range f.points {
		col, glyph := arm(q.index)
		x, y := tx(q.x.Mean), ty(q.y.Mean)
		line := draw.LineStyle{Color: col, Width: 1.2}
		if q.y.Interval != "" {
			c.StrokeLine2(line, x, ty(q.y.Low), x, ty(q.y.High))
		}
		if q.x.Interval != "" {
			c.StrokeLine2(line, tx(q.x.Low), y, tx(q.x.High), y)
		}
		q.seeds(func(sx, sy float64) {
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: .6}, x, y, tx(sx), ty(sy))
			c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 1.6, Shape: glyph}, vg.Point{X: tx(sx), Y: ty(sy)})
		})
		c.DrawGlyph(draw.GlyphStyle{Color: col, Radius: 4, Shape: glyph}, vg.Point{X: x, Y: y})
	}
	for _, q := range f.points {
		col, _ := arm(q.index)
		s := small
		s.Color = inkOf(col)
		w, h := s.Width(q.label), s.Height(q.label)
		x, y := tx(q.x.Mean), ty(q.y.Mean)
		for k, at := range places(w, h) {
			b := box{x + at.X, y + at.Y, x + at.X + w, y + at.Y + h}
			if b.x0 < c.Min.X || b.x1 > c.Max.X || b.y0 < c.Min.Y || b.y1 > c.Max.Y || slices.ContainsFunc(taken, b.overlaps) {
				continue
			}
			if k >= near { // far from its point, a line leads to it
				end := vg.Point{X: min(max(x, b.x0), b.x1), Y: min(max(y, b.y0), b.y1)}
				c.StrokeLine2(draw.LineStyle{Color: s.Color, Width: .3}, x, y, end.X, end.Y)
			}
			taken = append(taken, b)
			c.FillText(s, vg.Point{X: b.x0, Y: b.y0}, q.label)
			break
		}
	}
}

// near are the places that are plainly a point's own.
const near = 16

// places are where a label of a size may stand beside its point, best first:
// on the four sides, at the corners, then further and further away.
func places(w, h vg.Length) []vg.Point {
	out := []vg.Point{{X: 8, Y: -h / 2}, {X: -8 - w, Y: -h / 2}, {X: -w / 2, Y: 8}, {X: -w / 2, Y: -8 - h}}
	for _, d := range []vg.Length{6, 14, 24, 36, 50, 65, 80, 95, 110, 125} {
		out = append(out, vg.Point{X: 7, Y: d}, vg.Point{X: 7, Y: -d - h}, vg.Point{X: -7 - w, Y: d}, vg.Point{X: -7 - w, Y: -d - h}, vg.Point{X: -w / 2, Y: d + 6}, vg.Point{X: -w / 2, Y: -d - 6 - h})
	}
	return out
}
