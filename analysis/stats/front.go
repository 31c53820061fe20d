package stats

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Point is a pair of values of which higher ones are better.
type Point struct{ X, Y float64 }

// Front reports, for each point, whether no other point dominates it.
func Front(points []Point) []bool {
	out := make([]bool, len(points))
	for _, i := range front(points) {
		out[i] = true
	}
	return out
}

// front returns the indices of the points that no other point dominates, sorted by falling X
// and rising Y.
func front(points []Point) []int {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(points[j].X, points[i].X), cmp.Compare(points[j].Y, points[i].Y))
	})
	var out []int
	best, last := math.Inf(-1), Point{math.NaN(), math.NaN()} // largest Y so far, and the last point of the front
	for _, i := range order {
		if p := points[i]; p.Y > best || p == last {
			out, best, last = append(out, i), p.Y, p
		}
	}
	return out
}

// BehindFront returns, for each point, its distance to the front: by how much both values must
// rise so that no other point dominates it; 0 on the front (the additive ε indicator of Zitzler
// et al. 2003, for a set of one point).
func BehindFront(points []Point) []float64 {
	out := make([]float64, len(points))
	on := front(points)
	for i, p := range points {
		gain := func(k int) (x, y float64) { return points[on[k]].X - p.X, points[on[k]].Y - p.Y }
		// Along the front the gain in X falls and that in Y rises, so that their minimum is
		// largest where they cross.
		k := sort.Search(len(on), func(k int) bool { x, y := gain(k); return y >= x })
		for _, k := range []int{k - 1, k} {
			if k >= 0 && k < len(on) {
				x, y := gain(k)
				out[i] = max(out[i], min(x, y))
			}
		}
	}
	return out
}
