package fidelity

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Vendi returns the Vendi score of rows with cosine similarity: the effective number of
// different rows, 1 where all have the same direction and n where all are orthogonal (Friedman
// & Dieng 2022, arXiv 2210.02410, eq. 1 with definition 3.1). It grows with the number of rows,
// so compare it at equal n only. An empty set gives ErrTooFew; a row of zeros or with numbers
// that are not finite gives another error.
func Vendi(m Matrix) (float64, error) {
	if m.Rows == 0 {
		return 0, fmt.Errorf("%w: the Vendi score needs one or more images", ErrTooFew)
	}
	x := mat.NewDense(m.Rows, max(m.Cols, 1), nil)
	for i := range m.Rows {
		var norm float64
		for _, v := range m.Row(i) {
			norm += float64(v) * float64(v)
		}
		if norm == 0 || math.IsNaN(norm) || math.IsInf(norm, 0) {
			return 0, fmt.Errorf("the features of image %d have no direction: they must be finite numbers that are not all 0", i)
		}
		for j, v := range m.Row(i) {
			x.Set(i, j, float64(v)/math.Sqrt(norm))
		}
	}
	// X·Xᵀ and Xᵀ·X have the same eigenvalues except for zeros; the smaller matrix is used.
	var k mat.SymDense
	if m.Rows <= m.Cols {
		k.SymOuterK(1, x)
	} else {
		k.SymOuterK(1, x.T())
	}
	return entropy(&k, m.Rows)
}

// VendiOf returns the Vendi score of a kernel matrix float64[n, n], n ≥ 1, that is symmetric,
// positive semidefinite and has ones on its diagonal.
func VendiOf(k mat.Symmetric) (float64, error) { return entropy(k, k.SymmetricDim()) }

// entropy returns exp(-Σ λ ln λ) over the positive eigenvalues λ of k/n.
func entropy(k mat.Symmetric, n int) (float64, error) {
	var e mat.EigenSym
	if !e.Factorize(k, false) {
		return 0, errors.New("the eigenvalues of the similarities did not converge")
	}
	var h float64
	for _, v := range e.Values(nil) {
		if v /= float64(n); v > 0 {
			h -= v * math.Log(v)
		}
	}
	return math.Exp(h), nil
}

// VendiOfPairs returns the Vendi score of two rows of the same group, averaged over all pairs
// of a group and then over the groups of two rows or more with equal weights: a value between 1
// and 2, which does not depend on the sizes of groups. It also returns the number of rows in
// such groups; 0, 0 where there is none. A row of zeros has similarity 0 with all others. group
// has the group of each row.
func VendiOfPairs(m Matrix, group []int) (float64, int) {
	return overGroups(m, group, func(a, b []float32) float64 {
		var xx, yy, xy float64
		for j, v := range a {
			x, y := float64(v), float64(b[j])
			xx, yy, xy = xx+x*x, yy+y*y, xy+x*y
		}
		c := 0.
		if xx > 0 && yy > 0 {
			c = min(max(xy/math.Sqrt(xx*yy), -1), 1)
		}
		var h float64 // the eigenvalues of [1 c; c 1]/2
		for _, v := range []float64{(1 + c) / 2, (1 - c) / 2} {
			if v > 0 {
				h -= v * math.Log(v)
			}
		}
		return math.Exp(h)
	}, func(int) float64 { return 1 })
}
