package fidelity

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Recall is the share of real rows that lie within the k-nearest-neighbour
// ball of at least one generated row (Kynkäänniemi et al. 2019, arXiv
// 1904.06991, eq. 1 and 2). 0 where a set has too few rows.
func Recall(real, generated Matrix, k int) float64 { return covered(generated, real, k) }

// Precision is the share of generated rows that lie within the ball of at
// least one real row.
func Precision(real, generated Matrix, k int) float64 { return covered(real, generated, k) }

// covered is the share of points inside the union of support's balls, each of
// the radius of its k-th nearest neighbour within support.
func covered(support, points Matrix, k int) float64 {
	if support.Rows <= k || points.Rows == 0 {
		return 0
	}
	radius := make([]float32, support.Rows)
	eachRow(support, support, func(i int, d []float32) {
		d[i] = float32(math.Inf(1)) // not its own neighbour
		radius[i] = kth(d, k)
	})
	in := 0
	eachRow(points, support, func(_ int, d []float32) {
		for j, v := range d {
			if v <= radius[j] {
				in++
				return
			}
		}
	})
	return float64(in) / float64(points.Rows)
}

// kth is the k-th smallest of d, counted from 1.
func kth(d []float32, k int) float32 {
	top := make([]float32, 0, k+1)
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

// eachRow calls f for every row of a with its squared distances to all rows of
// b, which f may change.
func eachRow(a, b Matrix, f func(i int, d []float32)) {
	norms := func(m Matrix) []float32 {
		out := make([]float32, m.Rows)
		for i := range out {
			out[i] = dot(m.Row(i), m.Row(i))
		}
		return out
	}
	na, nb := norms(a), norms(b)
	const block = 128
	d := make([]float32, block*b.Rows)
	for from := 0; from < a.Rows; from += block {
		rows := min(block, a.Rows-from)
		blas32.Gemm(blas.NoTrans, blas.Trans, -2,
			blas32.General{Rows: rows, Cols: a.Cols, Stride: a.Cols, Data: a.Data[from*a.Cols:]},
			blas32.General{Rows: b.Rows, Cols: b.Cols, Stride: b.Cols, Data: b.Data}, 0,
			blas32.General{Rows: rows, Cols: b.Rows, Stride: b.Rows, Data: d})
		for i := range rows {
			row := d[i*b.Rows : (i+1)*b.Rows]
			for j := range row {
				row[j] += na[from+i] + nb[j]
			}
			f(from+i, row)
		}
	}
}

// MeanPairDistance is the mean Euclidean distance of two rows of one group,
// each group weighted by its number of rows, and the number of rows in groups
// of two or more. 0, 0 where there is no pair.
func MeanPairDistance(m Matrix, group []int) (float64, int) {
	members := map[int][]int{}
	var order []int
	for i, g := range group {
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], i)
	}
	var sum float64
	n := 0
	for _, g := range order {
		list := members[g]
		if len(list) < 2 {
			continue
		}
		var d float64
		for i, a := range list {
			for _, b := range list[:i] {
				var s float64
				x, y := m.Row(a), m.Row(b)
				for j := range x {
					e := float64(x[j] - y[j])
					s += e * e
				}
				d += math.Sqrt(s)
			}
		}
		pairs := float64(len(list)*(len(list)-1)) / 2
		sum += d / pairs * float64(len(list))
		n += len(list)
	}
	if n == 0 {
		return 0, 0
	}
	return sum / float64(n), n
}
