package backend_test

import (
	"fmt"
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
					x = chain.Checkpoint(block, part...)
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
