package nn

import (
	"maps"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/backend"
)

// leadingRows is the name of an array with as many values as there are leading rows.
const leadingRows = "(leading rows)"

// Leading returns weights with which low-rank updates and gradients are those of the first n rows of
// a batch, and the other rows are computed by the network without the updates: a policy and its
// reference in one pass. Layers with many operations compute no gradient of the other rows, and both
// are rounded alike. They must not need a gradient by weights other than the updates.
func (w Weights) Leading(g *graph.Graph, n int) Weights {
	w = maps.Clone(w)
	w[leadingRows] = graph.Zeros(g, shapes.Make(dtypes.Float32, n))
	return w
}

// leading returns the number of leading rows of x; 0 if all of its rows are.
func (w Weights) leading(x *graph.Node) int {
	if n := w[leadingRows]; n != nil && n.Shape().Size() < x.Shape().Dimensions[0] {
		return n.Shape().Size()
	}
	return 0
}

// updated returns a layer's update f of x, which only leading rows have.
func (w Weights) updated(x *graph.Node, f func(x *graph.Node) *graph.Node) *graph.Node {
	n := w.leading(x)
	if n == 0 {
		return f(x)
	}
	return backend.Pad(f(backend.Head(x, n)), x.Shape().Dimensions[0])
}

// rows returns f(in), whose gradient by in is that of the leading rows.
func (w Weights) rows(f func(in []*graph.Node) *graph.Node, in ...*graph.Node) *graph.Node {
	n := w.leading(in[0])
	if n == 0 {
		return f(in)
	}
	return backend.CustomGradient(f(in), func(v *graph.Node) []*graph.Node {
		heads := make([]*graph.Node, len(in))
		for i, x := range in {
			heads[i] = backend.Head(x, n)
		}
		g := graph.Gradient(graph.ReduceAllSum(graph.Mul(f(heads), backend.Head(v, n))), heads...)
		for i, x := range g {
			g[i] = backend.Pad(x, in[i].Shape().Dimensions[0])
		}
		return g
	}, in...)
}
