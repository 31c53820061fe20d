package backend_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
)

// TestReplicate: each of three devices computes from its own inputs, and updates its state in place, by
// the sum over all of them.
func TestReplicate(t *testing.T) {
	const n = 3
	b := modeltest.Devices(t, n)
	fn, err := backend.NewFn(b, "replicate", 2, func(in []*graph.Node) []*graph.Node {
		matrix, vector, x := in[0], in[1], in[2]
		sums := backend.Sum(graph.Mul(matrix, x), graph.Mul(vector, x))
		return []*graph.Node{graph.Add(matrix, sums[0]), graph.Sub(vector, sums[1]), graph.Square(x)}
	})
	if err != nil {
		t.Fatal(err)
	}
	fn.Replicate(n)
	first := make([]*tensors.Tensor, 2)
	for i, dims := range [][]int{{2, 2}, {5}} {
		x := make([]float32, 4+i)
		for k := range x {
			x[k] = float32(k + 1)
		}
		if first[i], err = backend.Put(b, x, dims...); err != nil {
			t.Fatal(err)
		}
	}
	states := make([][]*tensors.Tensor, n)
	for d := range n {
		states[d] = first
		if d > 0 {
			states[d] = nil
			for _, x := range first {
				y, err := backend.Copy(b, x, d)
				if err != nil {
					t.Fatal(err)
				}
				states[d] = append(states[d], y)
			}
		}
	}
	matrix, vector := 1., 1. // the first values
	for step := range 3 {
		var in []*tensors.Tensor
		sum := 0.
		for d := range n {
			x := float32(d+1) / float32(step+2)
			sum += float64(x)
			in = append(append(in, states[d]...), tensors.FromScalar(x))
		}
		out, err := fn.Call(in...)
		if err != nil {
			t.Fatal(err)
		}
		matrix, vector = matrix*(1+sum), vector*(1-sum)
		for d := range n {
			own := out[3*d : 3*d+3]
			states[d] = own[:2]
			x := float64(d+1) / float64(step+2)
			for i, want := range []float64{matrix, vector, x * x} {
				if got := float64(backend.Float32s(own[i])[0]); math.Abs(got-want) > 1e-5*math.Abs(want)+1e-6 {
					t.Errorf("step %d, device %d: output %d is %v, want %v", step, d, i, got, want)
				}
			}
			if on, err := own[0].Device(); err != nil || int(on) != d {
				t.Errorf("an output of device %d is on device %d; %v", d, on, err)
			}
		}
	}
	if fn.Compiled() != 1 {
		t.Errorf("compiled %d times", fn.Compiled())
	}
}
