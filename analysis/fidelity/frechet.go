package fidelity

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Frechet is the Fréchet distance of two normal distributions fitted to the
// rows, ‖μ₁-μ₂‖² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^½) (Heusel et al. 2017, arXiv
// 1706.08500, eq. 6), with covariances of divisor n-1. It is biased by an
// amount that depends on n and on the set. Fewer than two rows are an error.
func Frechet(a, b Matrix) (float64, error) {
	if a.Rows < 2 || b.Rows < 2 {
		return 0, errors.New("the Fréchet distance needs at least two images a set")
	}
	ma, ca := moments(a)
	mb, cb := moments(b)
	var d float64
	for i := range ma {
		d += (ma[i] - mb[i]) * (ma[i] - mb[i])
	}
	d += mat.Trace(ca) + mat.Trace(cb)
	// tr (Σ₁Σ₂)^½ = tr (Σ₁^½ Σ₂ Σ₁^½)^½, whose argument is symmetric.
	root, err := sqrt(ca)
	if err != nil {
		return 0, err
	}
	var m, p mat.Dense
	m.Mul(root, cb)
	p.Mul(&m, root)
	n, _ := p.Dims()
	s := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			s.SetSym(i, j, (p.At(i, j)+p.At(j, i))/2)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(s, false) {
		return 0, errors.New("the covariance has no eigenvalues (features that are not numbers?)")
	}
	for _, v := range e.Values(nil) {
		d -= 2 * math.Sqrt(max(v, 0))
	}
	return max(d, 0), nil
}

func moments(m Matrix) ([]float64, *mat.SymDense) {
	mean := make([]float64, m.Cols)
	for i := range m.Rows {
		for j, v := range m.Row(i) {
			mean[j] += float64(v) / float64(m.Rows)
		}
	}
	x := mat.NewDense(m.Rows, m.Cols, nil)
	for i := range m.Rows {
		row := x.RawRowView(i)
		for j, v := range m.Row(i) {
			row[j] = float64(v) - mean[j]
		}
	}
	var c mat.SymDense
	c.SymOuterK(1/float64(m.Rows-1), x.T())
	return mean, &c
}

// sqrt is the symmetric square root of a covariance; eigenvalues that rounding
// made negative count as 0.
func sqrt(c *mat.SymDense) (*mat.Dense, error) {
	var e mat.EigenSym
	if !e.Factorize(c, true) {
		return nil, errors.New("the covariance has no eigenvalues (features that are not numbers?)")
	}
	var v mat.Dense
	e.VectorsTo(&v)
	values := e.Values(nil)
	n := len(values)
	scaled := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			scaled.Set(i, j, v.At(i, j)*math.Sqrt(max(values[j], 0)))
		}
	}
	var out mat.Dense
	out.Mul(scaled, v.T())
	return &out, nil
}
