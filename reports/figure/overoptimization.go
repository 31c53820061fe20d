package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// mostBest is the largest number of panels of arms with best of n.
const mostBest = 6

// OverOptimization draws proxy and gold against √KL (Gao et al. 2022). Each course has a
// panel on shared axes, with the gold of the other courses in grey. Fine-tunings and best
// of n have separate groups of panels and separate x axes, because their distances are
// different estimates. With at least three independent seeds, a point has the interval of
// its mean, drawn as a band; with fewer, its seeds are drawn. OverOptimization returns
// false if there is no course.
func OverOptimization(t *compare.Table, tuned, best []compare.Course) (Figure, bool) {
	if len(tuned)+len(best) == 0 {
		return Figure{}, false
	}
	return Figure{func(at layout) drawing {
		g := &panels{table: t, at: at, marks: &marks{}, low: math.Inf(1), high: math.Inf(-1)}
		g.add("Along fine-tuning", "√KL, estimated along the path (√nats)", tuned, mostRows, "row")
		g.add("Best of n draws, nothing fine-tuned", "√KL by its formula, log n − (n−1)/n (√nats)", best, mostBest, "arm")
		height := vg.Length(4)
		for _, q := range g.groups {
			height += q.height()
		}
		return drawing{at.width(), height, g.draw, g.marks}
	}}, true
}

const (
	footLine  = 18 // height of the name of a group's x axis
	nameLine  = 11 // height of a line of a panel's name
	mostNames = 4  // largest number of lines of a name
	panelHigh = 108
	above     = 6  // space between a panel and the name of the next
	ordinate  = 14 // width of the name of the y axis
)

// headLine returns the height of the heading of a group.
func (l layout) headLine() vg.Length {
	if l == narrow {
		return 38
	}
	return 24
}

// panels has groups of panels, one below the other, which share their y axis.
type panels struct {
	table     *compare.Table
	at        layout
	marks     *marks
	groups    []panelGroup
	low, high float64 // range of the y axis
}

type panelGroup struct {
	at      layout
	name, x string
	courses []compare.Course
	names   [][]string // name of each course, in lines
	more    string     // sentence on courses that are not drawn
	count   bool       // each point is labelled with its n
	far     float64    // end of the x axis
}

func (g *panels) add(head, x string, courses []compare.Course, most int, what string) {
	if len(courses) == 0 {
		return
	}
	var rows []int
	for _, c := range courses {
		rows = append(rows, c.Row)
	}
	rows = drawn(g.table, rows, most)
	q := panelGroup{at: g.at, name: head, x: x, count: what == "arm", far: 1e-3}
	for _, c := range courses {
		if !slices.Contains(rows, c.Row) {
			continue
		}
		if !q.count { // best of n is named by its arm
			c.Label = name(g.table.Rows[c.Row])
		}
		q.courses = append(q.courses, c)
	}
	q.more = left(len(courses)-len(q.courses), what)
	for _, c := range q.courses {
		q.names = append(q.names, wrap(c.Label, q.wide()-30))
		for _, p := range c.Points {
			for _, v := range [][]float64{p.Proxy, p.Gold} {
				s := c.Over(p, v)
				g.low, g.high = min(g.low, s.Low), max(g.high, s.High)
			}
			q.far = max(q.far, stat.Mean(p.Distance, nil))
			if stats.Independent(p.Seeds) < 3 {
				q.far = max(q.far, slices.Max(p.Distance))
			}
		}
	}
	g.groups = append(g.groups, q)
}

func (q panelGroup) columns() int {
	if q.at == narrow {
		return min(2, len(q.courses))
	}
	return min(3, len(q.courses))
}

func (q panelGroup) wide() vg.Length {
	return (q.at.width() - ordinate) / vg.Length(max(2, q.columns())) // a single panel is as wide as one of two
}

// nameLines returns the number of lines of the longest name in a row of panels.
func (q panelGroup) nameLines(row int) vg.Length {
	n := 0
	for k := row * q.columns(); k < min((row+1)*q.columns(), len(q.names)); k++ {
		n = max(n, len(q.names[k]))
	}
	if q.count {
		n++ // one more line for n above the points
	}
	return vg.Length(n)*nameLine + above
}

func (q panelGroup) rows() int { return (len(q.courses) + q.columns() - 1) / q.columns() }

func (q panelGroup) height() vg.Length {
	h := q.at.headLine() + footLine
	for r := range q.rows() {
		h += q.nameLines(r) + panelHigh
	}
	return h
}

// wrap breaks a label into lines that are not wider than width, preferably after a comma
// or bracket in the second half of the line. It cuts the text after the last line.
func wrap(label string, width vg.Length) []string {
	var lines []string
	rest := []rune(label)
	for len(rest) > 0 {
		end := len(rest)
		for end > 1 && small.Width(string(rest[:end])) > width {
			end--
		}
		if end < len(rest) {
			end = breakAt(rest, end)
			if len(lines) == mostNames-1 {
				return append(lines, string(rest[:max(1, end-2)])+"…")
			}
		}
		lines = append(lines, strings.TrimSpace(string(rest[:end])))
		rest = rest[end:]
	}
	return lines
}

// breakAt returns the best position to end a line that has room for end runes.
func breakAt(label []rune, end int) int {
	for _, after := range []string{" ,[/", "="} {
		for k := end; k > end/2; k-- {
			if strings.ContainsRune(after, label[k-1]) {
				return k
			}
		}
	}
	return end
}

func (g *panels) draw(c draw.Canvas) {
	top := c.Max.Y
	for _, q := range g.groups {
		bottom := top - q.height()
		g.group(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: bottom}, Max: vg.Point{X: c.Max.X, Y: top}}}, q)
		top = bottom
	}
}

func (g *panels) group(c draw.Canvas, q panelGroup) {
	head := small
	head.Font.Size, head.Color, head.YAlign = 10, palette[4], draw.YCenter
	y, more := c.Max.Y-12, c.Min.X+16+head.Width(q.name)
	c.FillText(head, vg.Point{X: c.Min.X + 4, Y: y}, q.name)
	if q.at == narrow {
		y, more = y-14, c.Min.X+4
	}
	if q.more != "" {
		s := small
		s.YAlign = draw.YCenter
		c.FillText(s, vg.Point{X: more, Y: y}, q.more)
	}
	x := c.Max.X - 6
	for _, k := range []struct {
		name   string
		hollow bool
	}{{"proxy", true}, {"gold", false}} {
		s := small
		s.Color, s.XAlign, s.YAlign = palette[4], draw.XRight, draw.YCenter
		c.FillText(s, vg.Point{X: x, Y: y}, k.name)
		x -= s.Width(k.name) + 6
		c.StrokeLines(stroke(palette[4], k.hollow), []vg.Point{{X: x - 22, Y: y}, {X: x, Y: y}})
		mark(&c, palette[4], vg.Point{X: x - 11, Y: y}, k.hollow)
		x -= 22 + 12
	}
	foot := small
	foot.Font.Size, foot.Color, foot.XAlign, foot.YAlign = 10, palette[4], draw.XCenter, draw.YCenter
	middle := max(c.Min.X+ordinate+q.wide()*vg.Length(q.columns())/2, c.Min.X+4+foot.Width(q.x)/2)
	c.FillText(foot, vg.Point{X: middle, Y: c.Min.Y + footLine/2}, q.x)
	foot.Rotation = math.Pi / 2
	c.FillText(foot, vg.Point{X: c.Min.X + ordinate/2, Y: (c.Max.Y - q.at.headLine() + c.Min.Y + footLine) / 2}, "share, score")

	top := c.Max.Y - q.at.headLine()
	for row := range q.rows() {
		for k := row * q.columns(); k < min((row+1)*q.columns(), len(q.courses)); k++ {
			left := c.Min.X + ordinate + q.wide()*vg.Length(k%q.columns())
			at := vg.Rectangle{Min: vg.Point{X: left, Y: top - q.nameLines(row) - panelHigh}, Max: vg.Point{X: left + q.wide(), Y: top - q.nameLines(row)}}
			col, glyph := arm(q.courses[k].Row)
			s := small
			s.Color, s.YAlign = inkOf(col), draw.YCenter
			lines := len(q.names[k])
			if q.count {
				lines++
			}
			for n, line := range q.names[k] {
				y := at.Max.Y + nameLine*(vg.Length(lines-n)-.5)
				if n == 0 {
					c.DrawGlyphNoClip(draw.GlyphStyle{Color: col, Radius: 3, Shape: glyph}, vg.Point{X: left + 14, Y: y})
				}
				c.FillText(s, vg.Point{X: left + 22, Y: y}, line)
			}
			p := newPlot("", "")
			p.X.Tick.Label.Font.Size, p.Y.Tick.Label.Font.Size = 8, 8
			p.X.Tick.Marker, p.Y.Tick.Marker = ticks{most: 6}, ticks{most: 5}
			p.Add(&panel{g, q, k})
			p.Draw(draw.Crop(draw.Canvas{Canvas: c.Canvas, Rectangle: at}, 4, -8, 0, -2))
		}
		top -= q.nameLines(row) + panelHigh
	}
}

// stroke returns the line style: solid for the gold, dashed (hollow) for the proxy.
func stroke(col color.RGBA, hollow bool) draw.LineStyle {
	s := draw.LineStyle{Color: col, Width: 1.2}
	if hollow {
		s.Dashes = []vg.Length{3, 2}
	}
	return s
}

// mark draws a point: filled for the gold, hollow for the proxy.
func mark(c *draw.Canvas, col color.RGBA, at vg.Point, hollow bool) {
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: col, Radius: 2.8, Shape: draw.CircleGlyph{}}, at)
	if hollow {
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: white, Radius: 1.7, Shape: draw.CircleGlyph{}}, at)
	}
}

// panel has the data of one course, and the other courses for the background.
type panel struct {
	g *panels
	q panelGroup
	k int
}

// DataRange implements plot.DataRanger.
func (l *panel) DataRange() (xmin, xmax, ymin, ymax float64) {
	low, high := margin(l.g.low, l.g.high, table.Share)
	return 0, 1.04 * l.q.far, low, high
}

// Plot implements plot.Plotter. It draws the gold of the other courses, then the course.
func (l *panel) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	line := func(course compare.Course, of func(compare.Passage) []float64) []vg.Point {
		var out []vg.Point
		for _, p := range course.Points {
			out = append(out, vg.Point{X: tx(stat.Mean(p.Distance, nil)), Y: ty(course.Over(p, of(p)).Mean)})
		}
		return out
	}
	gold, proxy := func(p compare.Passage) []float64 { return p.Gold }, func(p compare.Passage) []float64 { return p.Proxy }
	for k, course := range l.q.courses {
		if k != l.k {
			c.StrokeLines(draw.LineStyle{Color: faint, Width: .8}, line(course, gold))
		}
	}
	course := l.q.courses[l.k]
	col, _ := arm(course.Row)
	if l.q.count {
		s := small
		s.Font.Size, s.XAlign, s.YAlign = 8, draw.XCenter, draw.YBottom
		end := vg.Length(math.Inf(-1))
		for i, q := range course.Points {
			name := fmt.Sprint(q.At)
			if i == 0 {
				name = fmt.Sprint("n = ", q.At)
			}
			at := tx(stat.Mean(q.Distance, nil))
			w := s.Width(name)
			at = max(at, c.Min.X+w/2)
			at = min(at, c.Max.X-w/2)
			if at-w/2 > end+3 {
				c.FillText(s, vg.Point{X: at, Y: c.Max.Y + 4}, name)
				end = at + w/2
			}
		}
	}
	intervals(c, course, gold, tx, ty, col, false)
	intervals(c, course, proxy, tx, ty, col, true)
	for _, m := range []struct {
		name   string
		of     func(compare.Passage) []float64
		hollow bool
	}{{"gold", gold, false}, {"proxy", proxy, true}} {
		pts := line(course, m.of)
		for _, q := range course.Points {
			if len(q.Seeds) < 2 || stats.Independent(q.Seeds) > 2 {
				continue
			}
			for k, v := range m.of(q) {
				seed := draw.GlyphStyle{Color: col, Radius: 1.3, Shape: draw.CircleGlyph{}}
				if m.hollow {
					seed.Radius, seed.Shape = 1.5, draw.RingGlyph{}
				}
				c.DrawGlyph(seed, vg.Point{X: tx(q.Distance[k]), Y: ty(v)})
			}
		}
		c.StrokeLines(stroke(col, m.hollow), pts)
		for i, at := range pts {
			mark(&c, col, at, m.hollow)
			q := course.Points[i]
			when := fmt.Sprint("step ", q.At)
			if l.q.count {
				when = fmt.Sprint("n = ", q.At)
			}
			l.g.marks.add(at, Mark{Row: course.Row, Series: course.Row, Name: course.Label,
				Values: fmt.Sprintf("%s: %s %s at √KL %s", when, m.name, step(course.Over(q, m.of(q))), format.Number(0, stat.Mean(q.Distance, nil)))})
		}
	}
}

// intervals draws the intervals of a course: filled for the gold, and only their edges
// for the proxy, so that neither hides the other.
func intervals(c draw.Canvas, course compare.Course, of func(compare.Passage) []float64, tx, ty func(float64) vg.Length, col color.RGBA, hollow bool) {
	var lower, upper []vg.Point
	for _, p := range course.Points {
		if stats.Independent(p.Seeds) < 3 {
			return
		}
		s := course.Over(p, of(p))
		x := tx(stat.Mean(p.Distance, nil))
		lower, upper = append(lower, vg.Point{X: x, Y: ty(s.Low)}), append(upper, vg.Point{X: x, Y: ty(s.High)})
	}
	edge := draw.LineStyle{Color: col, Width: .5}
	switch {
	case len(lower) == 1:
		edge.Width = .8
		beside := vg.Point{X: 1.4} // the bars of gold and proxy are side by side
		if hollow {
			edge.Dashes, beside.X = []vg.Length{2, 2}, -1.4
		}
		c.StrokeLines(edge, []vg.Point{lower[0].Add(beside), upper[0].Add(beside)})
	case hollow:
		edge.Dashes = []vg.Length{2, 2}
		c.StrokeLines(edge, lower, upper)
	default:
		slices.Reverse(upper)
		c.FillPolygon(faintOf(col), append(lower, upper...))
	}
}
