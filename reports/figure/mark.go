package figure

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
)

// Mark is a point of a figure with its values in words. Lengths are in percent of the
// figure's width and height, from its left and top.
type Mark struct {
	Row    int    // row of the ablation table; −1 if there is none
	Series int    // number of the series, whose marks belong together: a line or a row
	Name   string // name of the row
	Values string

	X, Y                     float64 // position of the point
	Left, Top, Width, Height float64 // area for the mouse; areas of a figure do not overlap
}

// marks are the marks of a drawing.
type marks struct {
	list   []Mark
	points []vg.Point // position of each, with y from the bottom of the drawing
}

// add records a mark at a point of the drawing.
func (m *marks) add(at vg.Point, mark Mark) {
	m.list = append(m.list, mark)
	m.points = append(m.points[:len(m.list)-1], at)
}

// Sides of the area of a mark, in points: large enough for a finger if there is room, and
// just large enough for a mouse if many points are close together. A narrow figure is
// shown with at least 1.35 pixels per point, a wide one with 1.6.
const (
	mostSide  = 16
	leastSide = 5
)

// place gives each mark an area: a square around its point that reaches half the distance
// to the nearest other point. If points are too close for that, their squares are moved
// to the nearest free place.
func (m *marks) place(width, height vg.Length) []Mark {
	n := len(m.list)
	side := make([]vg.Length, n)
	order := make([]int, n)
	for i, p := range m.points[:n] {
		side[i], order[i] = mostSide, i
		for j, q := range m.points[:n] {
			if i != j {
				side[i] = min(side[i], max(abs(p.X-q.X), abs(p.Y-q.Y)))
			}
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return -cmp.Compare(side[i], side[j]) })
	taken := areas{}
	out := slices.Clone(m.list)
	for _, i := range order {
		p := m.points[i]
		b := around(p, max(side[i], leastSide)).within(width, height)
		if side[i] < leastSide || taken.overlap(b) {
			b = freePlace(p, taken, width, height)
		}
		taken.add(b)
		w, h := float64(width)/100, float64(height)/100
		out[i].X, out[i].Y = float64(p.X)/w, 100-float64(p.Y)/h
		out[i].Left, out[i].Top = float64(b.x0)/w, 100-float64(b.y1)/h
		out[i].Width, out[i].Height = float64(b.x1-b.x0)/w, float64(b.y1-b.y0)/h
	}
	return out
}

// freePlace returns the small square nearest to a point that overlaps none of taken.
func freePlace(p vg.Point, taken areas, width, height vg.Length) box {
	for r := vg.Length(0); r < width+height; r++ {
		for k := range max(1, int(2*r)) {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / float64(max(1, int(2*r))))
			b := around(p.Add(vg.Point{X: r * vg.Length(cos), Y: r * vg.Length(sin)}), leastSide).within(width, height)
			if !taken.overlap(b) {
				return b
			}
		}
	}
	return around(p, leastSide)
}

// areas are boxes that are taken, by the squares of a grid that they touch: a figure has up to
// thousands.
type areas map[[2]int][]box

// touched returns the squares of the grid that a box touches.
func touched(b box) iter.Seq[[2]int] {
	at := func(x vg.Length) int { return int(math.Floor(float64(x / mostSide))) }
	return func(yield func([2]int) bool) {
		for i := at(b.x0); i <= at(b.x1); i++ {
			for j := at(b.y0); j <= at(b.y1); j++ {
				if !yield([2]int{i, j}) {
					return
				}
			}
		}
	}
}

func (a areas) add(b box) {
	for square := range touched(b) {
		a[square] = append(a[square], b)
	}
}

// overlap reports whether a box overlaps one that is taken.
func (a areas) overlap(b box) bool {
	for square := range touched(b) {
		if slices.ContainsFunc(a[square], b.overlaps) {
			return true
		}
	}
	return false
}

func abs(x vg.Length) vg.Length { return max(x, -x) }

type box struct{ x0, y0, x1, y1 vg.Length }

func (a box) overlaps(b box) bool { return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1 }

func around(p vg.Point, side vg.Length) box {
	return box{p.X - side/2, p.Y - side/2, p.X + side/2, p.Y + side/2}
}

// within returns a box moved into the drawing.
func (a box) within(width, height vg.Length) box {
	dx := max(0, -a.x0) - max(0, a.x1-width)
	dy := max(0, -a.y0) - max(0, a.y1-height)
	return box{a.x0 + dx, a.y0 + dy, a.x1 + dx, a.y1 + dy}
}
