package nn

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/backend"
)

// NormParams are the scale NAME.weight and the shift NAME.bias, float32[width] each.
func NormParams(name string, width int) []Param {
	return []Param{{Name: name + ".weight", Shape: []int{width}, Fill: 1}, {Name: name + ".bias", Shape: []int{width}}}
}

// GroupNorm normalizes x float32[B, H, W, C] over positions and over the channels of each of
// groups groups, with a scale and a shift for each channel (Wu & He 2018, arXiv 1803.08494).
func (w Weights) GroupNorm(name string, x *graph.Node, groups int, eps float64) *graph.Node {
	dims, t := x.Shape().Dimensions, x.DType()
	b, c := dims[0], dims[3]
	x = graph.ConvertDType(x, dtypes.Float32)
	// The large array is reduced to channels first and never reshaped: XLA copies it otherwise.
	mean := func(y *graph.Node) *graph.Node {
		y = graph.Reshape(graph.ReduceMean(y, 1, 2), b, groups, c/groups)
		y = graph.BroadcastToDims(graph.ReduceAndKeep(y, graph.ReduceMean, -1), b, groups, c/groups)
		return graph.Reshape(y, b, 1, 1, c)
	}
	d := graph.Sub(x, mean(x))
	scale := graph.Reciprocal(graph.Sqrt(graph.AddScalar(mean(graph.Square(d)), eps)))
	scale = graph.Mul(scale, graph.Reshape(w.as(name+".weight", x), 1, 1, 1, c))
	return graph.ConvertDType(graph.Add(graph.Mul(d, scale), graph.Reshape(w.as(name+".bias", x), 1, 1, 1, c)), t)
}

// LayerNorm normalizes x over its last axis, with a scale and a shift (Ba et al. 2016, eq. 4).
func (w Weights) LayerNorm(name string, x *graph.Node, eps float64) *graph.Node {
	y := normalized(graph.ConvertDType(x, dtypes.Float32), eps)
	y = graph.Mul(y, graph.ExpandLeftToRank(w.as(name+".weight", y), x.Rank()))
	return graph.ConvertDType(graph.Add(y, graph.ExpandLeftToRank(w.as(name+".bias", y), x.Rank())), x.DType())
}

// normalized is x minus its mean over the last axis, divided by its standard deviation.
func normalized(x *graph.Node, eps float64) *graph.Node {
	d := graph.Sub(x, graph.ReduceAndKeep(x, graph.ReduceMean, -1))
	variance := graph.ReduceAndKeep(graph.Square(d), graph.ReduceMean, -1)
	// One division for each row and not for each value, here and in the gradient.
	return graph.Mul(d, graph.Reciprocal(graph.Sqrt(graph.AddScalar(variance, eps))))
}

// ExactGELU is x·Φ(x) by the error function, as PyTorch's default (Hendrycks & Gimpel 2016).
func ExactGELU(x *graph.Node) *graph.Node {
	return graph.Mul(graph.MulScalar(x, .5), graph.OnePlus(graph.Erf(graph.MulScalar(x, math.Sqrt(.5)))))
}

// Attention is softmax(q·kᵀ/√K)·v, float32[B, T, H·K] (Vaswani et al. 2017, eq. 1), for
// q float32[B, T, H·K] and k, v float32[B, S, H·K]. If s.Queries is positive, it is computed for so
// many rows of q at a time, or for an eighth of them if that is more, one part after the other, and
// again for the gradient: of the T·S scores a head, only those of a part are in memory. With s.Flash it
// is cuDNN's where that can compute it, and otherwise that of all rows.
func (w Weights) Attention(q, k, v *graph.Node, heads int, s *Saving) *graph.Node {
	queries := s.Queries
	if s.Flash {
		if flashes(q, k, heads) {
			return w.flash(q, k, v, heads)
		}
		queries = 0
	}
	return w.rows(func(in []*graph.Node) *graph.Node { return attention(in[0], in[1], in[2], heads, queries) }, q, k, v)
}

func attention(q, k, v *graph.Node, heads, queries int) *graph.Node {
	split := func(x *graph.Node) *graph.Node {
		dims := x.Shape().Dimensions
		return graph.Reshape(x, dims[0], dims[1], heads, dims[2]/heads)
	}
	attend := func(in []*graph.Node) *graph.Node {
		y := graph.Einsum("bhqt,bthk->bqhk", attended(split(in[0]), split(in[1])), split(in[2]))
		return graph.Reshape(y, in[0].Shape().Dimensions...)
	}
	rows := q.Shape().Dimensions[1]
	if queries <= 0 || rows <= queries {
		return attend([]*graph.Node{q, k, v})
	}
	const parts = 8 // more of them would make the graph of a long sequence large
	queries = max(queries, (rows+parts-1)/parts)
	var sizes []int
	for from := 0; from < rows; from += queries {
		sizes = append(sizes, min(queries, rows-from))
	}
	var chain backend.Chain
	list := Split(q, 1, sizes...)
	for i, part := range list {
		list[i] = chain.Checkpoint(attend, []*graph.Node{part, k, v}, nil)
	}
	return graph.Concatenate(list, 1)
}

// Upsample repeats each pixel of x float32[B, H, W, C] in 2×2 pixels and cuts the result to
// height × width, which must be 2H or 2H-1, and 2W or 2W-1: what PyTorch's nearest neighbour
// gives for these sizes.
func Upsample(x *graph.Node, height, width int) *graph.Node {
	dims := x.Shape().Dimensions
	b, h, w, c := dims[0], dims[1], dims[2], dims[3]
	x = graph.BroadcastToDims(graph.Reshape(x, b, h, 1, w, 1, c), b, h, 2, w, 2, c)
	x = graph.Reshape(x, b, 2*h, 2*w, c)
	if height == 2*h && width == 2*w {
		return x
	}
	return graph.Slice(x, graph.AxisRange(), graph.AxisRange(0, height), graph.AxisRange(0, width))
}
