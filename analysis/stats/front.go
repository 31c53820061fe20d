package stats

import (
	"cmp"
	"math"
	"slices"
)

// Point is a pair of figures of which more is better.
type Point struct{ X, Y float64 }

// dominates reports whether p is at least as good in both and better in one.
func (p Point) dominates(q Point) bool { return p.X >= q.X && p.Y >= q.Y && p != q }

// Front reports which points no other dominates.
func Front(points []Point) []bool {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(points[j].X, points[i].X), cmp.Compare(points[j].Y, points[i].Y))
	})
	out := make([]bool, len(points))
	best, last := math.Inf(-1), Point{math.NaN(), math.NaN()} // best Y so far; its point
	for _, i := range order {
		if p := points[i]; p.Y > best || p == last {
			out[i], best, last = true, p.Y, p
		}
	}
	return out
}

// BehindFront is how much each point would have to gain in both figures for no
// other to dominate it; 0 on the front (the additive ε indicator of Zitzler et
// al. 2003, of one point).
func BehindFront(points []Point) []float64 {
	out := make([]float64, len(points))
	front := Front(points)
	for i, p := range points {
		for j, q := range points {
			if front[j] && q.dominates(p) {
				out[i] = max(out[i], min(q.X-p.X, q.Y-p.Y))
			}
		}
	}
	return out
}

// Hypervolume is the area that points dominate within the quadrant above the
// reference (Zitzler & Thiele 1999).
func Hypervolume(points []Point, reference Point) float64 {
	var area float64
	// Sweep from the right: each front point adds the strip above the highest so far.
	front := Front(points)
	for y := reference.Y; ; {
		best := Point{math.Inf(-1), y}
		for i, p := range points {
			if front[i] && p.Y > y && p.X > best.X {
				best = p
			}
		}
		if best.X <= reference.X {
			return area
		}
		area += (best.X - reference.X) * (best.Y - y)
		y = best.Y
	}
}
