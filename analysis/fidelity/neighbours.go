package fidelity

import (
	"fmt"
	"math"
	"slices"
)

// Neighbours are metrics of how two sets cover each other, from k-nearest-neighbour balls. The
// ball of a row has the distance to its k-th nearest neighbour within its own set as radius,
// and excludes points at exactly that distance. A row is not its own neighbour.
type Neighbours struct {
	// Precision is the share of generated rows within the ball of at least one real row; Recall
	// is the share of real rows within the ball of at least one generated row (Kynkäänniemi et
	// al. 2019, arXiv 1904.06991, eq. 1 and 2). These equations include points at a distance
	// equal to the radius; excluding them follows the code of the authors of density and
	// coverage (prdc).
	Precision, Recall float64
	// Density is the mean number of real balls that contain a generated row, divided by k: 1
	// where the distributions are equal, and it may exceed 1. Coverage is the share of real
	// rows whose ball contains a generated row (Naeem et al. 2020, arXiv 2002.09797, section
	// 3).
	Density, Coverage float64
}

// Neighbours computes the metrics with balls of k neighbours, k ≥ 1. Counts are exact: where
// rounding of the inner products could decide, distances are computed from the rows themselves.
// Sets with k rows or fewer give ErrTooFew.
func (p *Pair) Neighbours(k int) (Neighbours, error) {
	if r, g := p.real.n, p.generated.n; k < 1 || r <= k || g <= k {
		return Neighbours{}, fmt.Errorf("%w: for %[4]d nearest neighbours each set needs more than %[4]d images, and there are %[2]d real and %[3]d generated ones", ErrTooFew, r, g, k)
	}
	real, generated := p.real.radii(k), p.generated.radii(k)
	var inReal, recalled, covered int
	precise := make([]bool, p.generated.n)
	for i := range p.real.n {
		hit, recall := false, false
		x, ni, ri := p.line(i), p.real.norms[i], real[i]
		for j, product := range x {
			norms := ni + p.generated.norms[j]
			square, e := norms-2*product, slack(p.real.d, norms)
			inside := func(radius float64) bool {
				r := radius * radius
				if math.Abs(square-r) > e {
					return square < r
				}
				return distance(p.real.row(i), p.generated.row(j)) < radius
			}
			if inside(ri) {
				inReal++
				hit, precise[j] = true, true
			}
			recall = recall || inside(generated[j])
		}
		if hit {
			covered++
		}
		if recall {
			recalled++
		}
	}
	in := 0
	for _, hit := range precise {
		if hit {
			in++
		}
	}
	r, g := float64(p.real.n), float64(p.generated.n)
	return Neighbours{Precision: float64(in) / g, Recall: float64(recalled) / r, Density: float64(inReal) / g / float64(k), Coverage: float64(covered) / r}, nil
}

// radii returns the distance of each row to its k-th nearest neighbour other than itself, exact
// up to the rounding of distance.
func (g *Gram) radii(k int) []float64 {
	out := make([]float64, g.n)
	most := slices.Max(g.norms)
	squares := make([]float64, g.n)
	var near []float64
	for i := range out {
		ni := g.norms[i]
		for j, product := range g.line(i) {
			squares[j] = ni + g.norms[j] - 2*product
		}
		squares[i] = math.Inf(1)
		// All rows that may be among the k nearest, for any rounding error.
		bound := kth(squares, k) + 2*slack(g.d, ni+most)
		near = near[:0]
		for j, s := range squares {
			if s <= bound {
				near = append(near, distance(g.row(i), g.row(j)))
			}
		}
		slices.Sort(near)
		out[i] = near[k-1]
	}
	return out
}

// kth returns the k-th smallest value of d, counted from 1.
func kth(d []float64, k int) float64 {
	top := make([]float64, 0, k+1)
	for _, v := range d {
		if len(top) == k && v >= top[k-1] {
			continue
		}
		at, _ := slices.BinarySearch(top, v)
		top = slices.Insert(top, at, v)
		if len(top) > k {
			top = top[:k]
		}
	}
	return top[len(top)-1]
}
