package fidelity

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A Subset has the indices of some rows of each of two sets, without repetition.
type Subset struct{ Real, Generated []int }

// The number and size of subsets in KID's implementations (the authors' code and clean-fid).
const (
	subsets    = 100
	subsetSize = 1000
)

// Subsets returns the subsets of rows over which KID is averaged: 100 subsets of equally many
// rows of each set, 1,000 or the size of the smaller set, drawn without replacement from a
// constant seed, so that sets of equal sizes are compared on the same rows. Where a subset
// would be the whole of both sets, there is only one.
func Subsets(real, generated int) []Subset {
	size := min(real, generated, subsetSize)
	r := rand.New(rand.NewChaCha8(sha256.Sum256([]byte("ablate fidelity kernel subsets 1"))))
	draw := func(n int) []int {
		rows := r.Perm(n)[:size]
		slices.Sort(rows)
		return rows
	}
	out := make([]Subset, subsets)
	if size == real && size == generated {
		out = out[:1]
	}
	for i := range out {
		out[i] = Subset{draw(real), draw(generated)}
	}
	return out
}

// Kernel returns the kernel inception distance KID (Bińkowski et al. 2018, arXiv 1801.01401,
// section 4), the unbiased squared maximum mean discrepancy
//
//	Σ_{i≠j} k(xᵢ,xⱼ)/(m(m-1)) + Σ_{i≠j} k(yᵢ,yⱼ)/(n(n-1)) - 2 Σ_{ij} k(xᵢ,yⱼ)/(mn)
//
// with k(x, y) = (x·y/D + 1)³, as the mean over subsets and for each of them. It may be
// negative. A set or subset of fewer than two rows, and an empty list of subsets, give
// ErrTooFew.
func (p *Pair) Kernel(subsets []Subset) (mean float64, each []float64, err error) {
	if len(subsets) == 0 {
		return 0, nil, fmt.Errorf("%w: the kernel distance needs one or more subsets", ErrTooFew)
	}
	each = make([]float64, len(subsets))
	for k, s := range subsets {
		m, n := float64(len(s.Real)), float64(len(s.Generated))
		if m < 2 || n < 2 {
			return 0, nil, fmt.Errorf("%w: the kernel distance needs two or more images of each set", ErrTooFew)
		}
		var cross float64
		for _, i := range s.Real {
			cross += cubes(p.line(i), s.Generated, p.real.d)
		}
		each[k] = p.real.within(s.Real)/(m*(m-1)) + p.generated.within(s.Generated)/(n*(n-1)) - 2*cross/(m*n)
		mean += each[k] / float64(len(subsets))
	}
	return mean, each, nil
}

// within returns the sum of the kernel over all ordered pairs of different rows.
func (g *Gram) within(rows []int) float64 {
	var s float64
	for a, i := range rows {
		s += 2 * cubes(g.line(i), rows[:a], g.d)
	}
	return s
}

// cubes returns Σ (products[j]/d + 1)³ over the indices j in at.
func cubes(products []float64, at []int, d int) float64 {
	var s float64
	by := 1 / float64(d)
	for _, j := range at {
		k := products[j]*by + 1
		s += k * k * k
	}
	return s
}
