package backend_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
)

// TestCheckpoint: the gradients of twelve blocks that are computed again are those of the same
// blocks, to the bit, and need a fraction of the memory.
func TestCheckpoint(t *testing.T) {
	b := modeltest.Backend(t)
	const blocks, rows, width, inner = 12, 1024, 64, 512
	in := []shapes.Shape{shapes.Make(dtypes.Float32, rows, width)}
	for range blocks {
		in = append(in, shapes.Make(dtypes.Float32, width, inner), shapes.Make(dtypes.Float32, inner, width))
	}
	var args []*tensors.Tensor
	for i, s := range in {
		x := make([]float32, s.Size())
		for j := range x {
			x[j] = float32((i+7*j)%13-6) / 100
		}
		args = append(args, tensors.FromFlatDataAndDimensions(x, s.Dimensions...))
	}
	var gradients [2][]*tensors.Tensor
	var memory [2]backend.Memory
	for k := range 2 {
		fn, err := backend.NewFn(b, fmt.Sprint("blocks ", k), 0, func(in []*graph.Node) []*graph.Node {
			block := func(in []*graph.Node) *graph.Node {
				h := graph.Tanh(graph.Dot(in[0], in[1]))
				return graph.Add(in[0], graph.Dot(h, in[2]))
			}
			x := in[0]
			var chain backend.Chain
			for i := range blocks {
				if part := []*graph.Node{x, in[1+2*i], in[2+2*i]}; k == 0 {
					x = block(part)
				} else {
					x = chain.Checkpoint(block, part, nil)
				}
			}
			return graph.Gradient(graph.ReduceAllSum(graph.Square(x)), in...)
		})
		if err != nil {
			t.Fatal(err)
		}
		if memory[k], err = fn.Memory(in...); err != nil {
			t.Fatal(err)
		}
		if gradients[k], err = fn.Call(args...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range in {
		want, got := backend.Float32s(gradients[0][i]), backend.Float32s(gradients[1][i])
		for j := range want {
			if got[j] != want[j] {
				t.Fatalf("gradient %d: value %d is %v, want %v", i, j, got[j], want[j])
			}
		}
	}
	if memory[1].Temporary*4 > memory[0].Temporary {
		t.Errorf("temporary memory is %d bytes with checkpoints, and %d without: the barriers did not arrive", memory[1].Temporary, memory[0].Temporary)
	}
}

// TestFixedWeights: weights without a gradient that a chain has as fixed are not transposed for all
// blocks at once, and the gradient by the input is that of blocks that read them from outside.
func TestFixedWeights(t *testing.T) {
	b := modeltest.Backend(t)
	const blocks, channels = 8, 64
	in := []shapes.Shape{shapes.Make(dtypes.Float32, 1, 4, 4, channels)}
	for range blocks {
		in = append(in, shapes.Make(dtypes.Float32, 3, 3, channels, channels))
	}
	var args []*tensors.Tensor
	for i, s := range in {
		x := make([]float32, s.Size())
		for j := range x {
			x[j] = float32((i+7*j)%13-6) / 100
		}
		args = append(args, tensors.FromFlatDataAndDimensions(x, s.Dimensions...))
	}
	var gradients [2][]float32
	var memory [2]backend.Memory
	for k := range 2 {
		fn, err := backend.NewFn(b, fmt.Sprint("fixed ", k), 0, func(in []*graph.Node) []*graph.Node {
			x := in[0]
			var chain backend.Chain
			for _, kernel := range in[1:] {
				block := func(in []*graph.Node) *graph.Node {
					w := append(in, kernel)[1]
					return graph.Add(in[0], graph.Convolve(graph.Tanh(in[0]), w).PadSame().Done())
				}
				fixed := []*graph.Node{kernel}[:k]
				x = chain.Checkpoint(block, []*graph.Node{x}, fixed)
			}
			return graph.Gradient(graph.ReduceAllSum(graph.Square(x)), in[0])
		})
		if err != nil {
			t.Fatal(err)
		}
		if memory[k], err = fn.Memory(in...); err != nil {
			t.Fatal(err)
		}
		out, err := fn.Call(args...)
		if err != nil {
			t.Fatal(err)
		}
		gradients[k] = backend.Float32s(out[0])
	}
	for j, want := range gradients[0] {
		if got := gradients[1][j]; math.Abs(float64(got-want)) > 1e-5*(1+math.Abs(float64(want))) {
			t.Fatalf("value %d of the gradient is %v, want %v", j, got, want)
		}
	}
	if memory[1].Temporary*2 > memory[0].Temporary {
		t.Errorf("temporary memory is %d bytes with fixed weights, and %d without", memory[1].Temporary, memory[0].Temporary)
	}
}

// TestMemory: the inputs and outputs of a graph are counted, and donated memory is.
func TestMemory(t *testing.T) {
	b := modeltest.Backend(t)
	fn, err := backend.NewFn(b, "memory", 1, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.Add(in[0], in[1]), graph.ReduceAllSum(in[1])}
	})
	if err != nil {
		t.Fatal(err)
	}
	s := shapes.Make(dtypes.Float32, 1000)
	m, err := fn.Memory(s, s)
	if err != nil {
		t.Fatal(err)
	}
	if m.Inputs != 8000 || m.Outputs < 4004 || m.Aliased != 4000 || m.Total() != m.Inputs+m.Outputs-4000+m.Temporary {
		t.Errorf("got %+v", m)
	}
}

// TestWork: matrix products with and without batch axes, and a convolution with strides and its two
// gradients, which have the same number of operations each.
func TestWork(t *testing.T) {
	b := modeltest.Backend(t)
	f32 := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	convolve := func(in []*graph.Node) *graph.Node {
		return graph.Convolve(in[0], in[1]).Strides(2).PaddingPerDim([][2]int{{1, 0}, {1, 0}}).Done()
	}
	const conv = 2 * 3 * 4 * 4 * 5 * 3 * 3 * 6 // of 3 images of 4 × 4 pixels and 5 channels, by a kernel of 3 × 3 × 6
	for name, c := range map[string]struct {
		in    []shapes.Shape
		build func(in []*graph.Node) []*graph.Node
		want  float64
	}{
		"product":     {[]shapes.Shape{f32(8, 16), f32(16, 32)}, func(in []*graph.Node) []*graph.Node { return []*graph.Node{graph.Dot(in[0], in[1])} }, 2 * 8 * 16 * 32},
		"batch":       {[]shapes.Shape{f32(7, 8, 16), f32(7, 16, 32)}, func(in []*graph.Node) []*graph.Node { return []*graph.Node{graph.Einsum("bij,bjk->bik", in[0], in[1])} }, 2 * 7 * 8 * 16 * 32},
		"sum":         {[]shapes.Shape{f32(7, 8), f32(7, 8)}, func(in []*graph.Node) []*graph.Node { return []*graph.Node{graph.Add(in[0], in[1])} }, 0},
		"convolution": {[]shapes.Shape{f32(3, 8, 8, 6), f32(3, 3, 6, 5)}, func(in []*graph.Node) []*graph.Node { return []*graph.Node{convolve(in)} }, conv},
		"gradients": {[]shapes.Shape{f32(3, 8, 8, 6), f32(3, 3, 6, 5)}, func(in []*graph.Node) []*graph.Node {
			return graph.Gradient(graph.ReduceAllSum(graph.Square(convolve(in))), in...)
		}, 3 * conv},
	} {
		fn, err := backend.NewFn(b, name, 0, c.build)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fn.Work(c.in...)
		if err != nil || math.Abs(got.Flops-c.want) > 1e-9*c.want {
			t.Errorf("%s: %v operations, %v; want %v", name, got.Flops, err, c.want)
		}
		if name == "sum" && got.Values != 4*7*8 {
			t.Errorf("a sum has values of %d bytes", got.Values)
		}
	}
}
