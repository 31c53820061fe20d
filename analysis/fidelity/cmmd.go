package fidelity

import (
	"fmt"
	"math"
)

// CMMD returns 1,000 times the biased squared maximum mean discrepancy of rows of unit norm,
//
//	mean k(xᵢ,xⱼ) + mean k(yᵢ,yⱼ) - 2 mean k(xᵢ,yⱼ),  k(x, y) = exp(-‖x-y‖²/2σ²),
//
// with σ = 10 and i = j included (Jayasumana et al. 2024, arXiv 2401.09603, section 4, on CLIP
// embeddings; the factor 1,000 is that of the authors' code). A row is scaled to norm 1 unless
// its norm is within 1e-6 of 1, the rounding error of float32; a row of zeros stays zero. An
// empty set gives ErrTooFew.
func (p *Pair) CMMD() (float64, error) {
	if p.real.n == 0 || p.generated.n == 0 {
		return 0, fmt.Errorf("%w: CMMD needs one of each set", ErrTooFew)
	}
	a, b := p.real.unit(), p.generated.unit()
	// 1 is subtracted from each kernel value, all of which are near 1, to keep digits; the ones
	// cancel in the sum.
	var xx, yy, xy float64
	for i := range p.real.n {
		xx += gaussian(p.real.line(i)[:i], a, i, a)
		xy += gaussian(p.line(i), a, i, b)
	}
	for i := range p.generated.n {
		yy += gaussian(p.generated.line(i)[:i], b, i, b)
	}
	r, g := float64(p.real.n), float64(p.generated.n)
	return 1000 * (2*xx/(r*r) + 2*yy/(g*g) - 2*xy/(r*g)), nil
}

// unit has the factors that scale rows to unit norm, and the squared norms after scaling.
type unit struct{ scale, norms []float64 }

func (g *Gram) unit() unit {
	u := unit{make([]float64, g.n), make([]float64, g.n)}
	for i, n := range g.norms {
		u.scale[i], u.norms[i] = 1, n
		if math.Abs(n-1) > 2e-6 && n > 0 { // n is squared
			u.scale[i], u.norms[i] = 1/math.Sqrt(n), 1
		}
	}
	return u
}

// gaussian returns Σⱼ (k - 1) of row i of a with the rows of b, given their inner products.
func gaussian(products []float64, a unit, i int, b unit) float64 {
	const sigma = 10.
	var s float64
	ni, si := a.norms[i], 2*a.scale[i]
	for j, v := range products {
		square := max(ni+b.norms[j]-si*b.scale[j]*v, 0)
		s += math.Expm1(-square / (2 * sigma * sigma))
	}
	return s
}
