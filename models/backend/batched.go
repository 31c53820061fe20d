package backend

import (
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// Rows returns rows from … to-1 of x float32[n, dims...], padded with zeros to size rows,
// because a graph is compiled for one number of rows.
func Rows(x []float32, from, to, size int, dims ...int) *tensors.Tensor {
	row := 1
	for _, d := range dims {
		row *= d
	}
	all := append([]int{size}, dims...)
	if to-from == size {
		return tensors.FromFlatDataAndDimensions(x[from*row:to*row], all...)
	}
	padded := make([]float32, size*row)
	copy(padded, x[from*row:to*row])
	return tensors.FromFlatDataAndDimensions(padded, all...)
}

// Batched calls fn on n rows, size at a time, and returns the rows of each of its outputs.
// in returns the inputs of rows from … to-1, which Batched frees after the call; they are
// followed by params, which it does not free. size must not depend on n, because the last
// bits of a row may depend on size.
func Batched(fn *Fn, params []*tensors.Tensor, n, size int, in func(from, to int) []*tensors.Tensor) ([][]float32, error) {
	var all [][]float32
	for from := 0; from < n; from += size {
		to := min(from+size, n)
		args := in(from, to)
		out, err := fn.Call(append(args, params...)...)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = make([][]float32, len(out))
		}
		for k, x := range out {
			row := x.Shape().Size() / size
			all[k] = append(all[k], Float32s(x)[:(to-from)*row]...)
		}
		Free(append(args[:len(args):len(args)], out...)...)
	}
	return all, nil
}
