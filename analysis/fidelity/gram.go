package fidelity

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// ErrTooFew is the error for sets with too few rows for a metric.
var ErrTooFew = errors.New("too few images")

// A Gram is a set of rows with their Gram matrix, the inner products of all pairs of rows, from
// which the metrics of neighbours and kernels are computed. It takes 8·n² bytes, and is safe
// for concurrent use.
type Gram struct {
	n, d     int
	rows     []float64 // float64[n, D]
	products []float64 // float64[n, n]
	norms    []float64 // squared norms float64[n], the diagonal of products
}

// NewGram computes the inner products of the rows float32[n, D] of a set in float64. Features
// that are not finite numbers give an error.
func NewGram(m Matrix) (*Gram, error) {
	g := &Gram{n: m.Rows, d: m.Cols, rows: make([]float64, len(m.Data)), products: make([]float64, m.Rows*m.Rows), norms: make([]float64, m.Rows)}
	for i, v := range m.Data {
		g.rows[i] = float64(v)
	}
	const block = 128
	for from := 0; from < g.n; from += block { // the blocks on and above the diagonal
		multiply(g.general(from, min(from+block, g.n)), g.general(from, g.n), g.products[from*g.n+from:], g.n)
	}
	for i := range g.n {
		for j := range i {
			g.products[i*g.n+j] = g.products[j*g.n+i]
		}
		g.norms[i] = g.products[i*g.n+i]
		if math.IsNaN(g.norms[i]) || math.IsInf(g.norms[i], 0) {
			return nil, fmt.Errorf("features of image %d must all be finite numbers", i)
		}
	}
	return g, nil
}

// general returns rows from … to-1 as a matrix of BLAS.
func (g *Gram) general(from, to int) blas64.General {
	return blas64.General{Rows: to - from, Cols: g.d, Stride: max(g.d, 1), Data: g.rows[from*g.d : to*g.d]}
}

// row returns row i float64[D].
func (g *Gram) row(i int) []float64 { return g.rows[i*g.d : (i+1)*g.d] }

// line returns the inner products of row i with all rows, float64[n].
func (g *Gram) line(i int) []float64 { return g.products[i*g.n : (i+1)*g.n] }

// multiply writes the product a·bᵀ to out, whose rows are stride apart.
func multiply(a, b blas64.General, out []float64, stride int) {
	if a.Rows == 0 || b.Rows == 0 || a.Cols == 0 {
		return
	}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, a, b, 0, blas64.General{Rows: a.Rows, Cols: b.Rows, Stride: stride, Data: out})
}

// A Pair is a real and a generated set with the inner products of their rows.
type Pair struct {
	real, generated *Gram
	cross           []float64 // float64[R, G]
}

// NewPair computes the inner products of the rows of two sets. They take 8·R·G bytes in
// addition to the two Grams. Rows of different lengths give an error.
func NewPair(real, generated *Gram) (*Pair, error) {
	if real.d != generated.d {
		return nil, fmt.Errorf("real images have %d features and generated images %d: the numbers must be equal", real.d, generated.d)
	}
	p := &Pair{real, generated, make([]float64, real.n*generated.n)}
	multiply(real.general(0, real.n), generated.general(0, generated.n), p.cross, max(generated.n, 1))
	return p, nil
}

// line returns the inner products of real row i with all generated rows, float64[G].
func (p *Pair) line(i int) []float64 { return p.cross[i*p.generated.n : (i+1)*p.generated.n] }

// distance returns the Euclidean distance of two rows, computed from their differences, so that
// equal rows have distance 0 and the order of a and b does not matter.
func distance(a, b []float64) float64 {
	var s float64
	b = b[:len(a)]
	for i, v := range a {
		s += (v - b[i]) * (v - b[i])
	}
	return math.Sqrt(s)
}

// slack returns an upper bound of the rounding error of a squared distance ‖a‖² + ‖b‖² - 2a·b
// in d features; norms is ‖a‖² + ‖b‖².
func slack(d int, norms float64) float64 { return 8 * float64(d+4) * 0x1p-53 * norms }
