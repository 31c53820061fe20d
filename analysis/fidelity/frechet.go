package fidelity

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// A Normal is the normal distribution fitted to the rows of a set: mean and covariance Σ with
// divisor n-1. Σ is stored as a factor R with RᵀR = (n-1)Σ, because the factor keeps the
// precision of the rows where Σ is singular, which Σ and its eigenvalues do not.
type Normal struct {
	mean   []float64  // float64[D]
	factor *mat.Dense // float64[min(n, D), D]
	n      int
	trace  float64 // of Σ
}

// Fit fits a normal distribution to rows float32[n, D]. Fewer than two rows give ErrTooFew;
// features that are not finite numbers give another error.
func Fit(m Matrix) (*Normal, error) {
	if m.Rows < 2 {
		return nil, fmt.Errorf("%w: the Fréchet distance needs two or more images in each set", ErrTooFew)
	}
	f := &Normal{mean: make([]float64, m.Cols), n: m.Rows}
	for i := range m.Rows {
		for j, v := range m.Row(i) {
			f.mean[j] += float64(v) / float64(m.Rows)
		}
	}
	x := mat.NewDense(m.Rows, m.Cols, nil)
	for i := range m.Rows {
		row := x.RawRowView(i)
		for j, v := range m.Row(i) {
			row[j] = float64(v) - f.mean[j]
			f.trace += row[j] * row[j] / float64(m.Rows-1)
		}
	}
	if math.IsNaN(f.trace) || math.IsInf(f.trace, 0) {
		return nil, errors.New("the covariance of features is not finite: features must be finite numbers, and their squares too")
	}
	f.factor = x
	if m.Rows > m.Cols {
		var qr mat.QR
		qr.Factorize(x)
		var r mat.Dense
		qr.RTo(&r)
		f.factor = mat.DenseCopyOf(r.Slice(0, m.Cols, 0, m.Cols))
	}
	return f, nil
}

// Frechet returns the Fréchet distance of two normal distributions, ‖μ₁-μ₂‖² + tr(Σ₁ + Σ₂ -
// 2(Σ₁Σ₂)^½) (Heusel et al. 2017, arXiv 1706.08500, eq. 6). The last trace is the sum of the
// singular values of R₁R₂ᵀ over √((n₁-1)(n₂-1)), so that no matrix root is needed. The estimate
// has a bias that depends on n and on the set. Distributions over different numbers of features
// give an error.
func Frechet(a, b *Normal) (float64, error) {
	if len(a.mean) != len(b.mean) {
		return 0, fmt.Errorf("one set has %d features and the other %d: the Fréchet distance needs equal numbers", len(a.mean), len(b.mean))
	}
	d := a.trace + b.trace
	for i, v := range a.mean {
		d += (v - b.mean[i]) * (v - b.mean[i])
	}
	var m mat.Dense
	m.Mul(a.factor, b.factor.T())
	var svd mat.SVD
	if !svd.Factorize(&m, mat.SVDNone) {
		return 0, errors.New("the singular values of the covariances did not converge")
	}
	var s float64
	for _, v := range svd.Values(nil) {
		s += v
	}
	d -= 2 * s / math.Sqrt(float64(a.n-1)*float64(b.n-1))
	return max(d, 0), nil
}
