package clip

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/nn"
)

// Text is what a text encoder computes.
type Text struct {
	Hidden []*graph.Node // float32[B, T, D]: the embeddings, and then the output of each layer
	Last   *graph.Node   // float32[B, T, D]: the last of Hidden, normalized; Stable Diffusion's conditioning
	Pooled *graph.Node   // float32[B, D]: Last at the end token
}

// Params are the text encoder's parameters in their fixed order.
func (c TextConfig) Params() []nn.Param { return c.params("") }

func (c TextConfig) params(prefix string) []nn.Param {
	ps := []nn.Param{
		{Name: prefix + "embeddings.token_embedding.weight", Shape: []int{c.Vocabulary, c.Width}, Std: .02},
		{Name: prefix + "embeddings.position_embedding.weight", Shape: []int{c.Positions, c.Width}, Std: .02},
	}
	ps = append(ps, c.Encoder.params(prefix)...)
	return append(ps, nn.NormParams(prefix+"final_layer_norm", c.Width)...)
}

// Encode reads prompts' ids int32[B, T], padding included, with T at most Positions. The end
// token is the first that has the id End, or, where that is 2, the first of the largest id.
// Stable Diffusion does not mask padding.
func (c TextConfig) Encode(w nn.Weights, ids *graph.Node) Text { return c.encode(w, "", ids, nil) }

// Normalize is the normalization after the last layer, for the state of an earlier one ("clip
// skip" of diffusers).
func (c TextConfig) Normalize(w nn.Weights, x *graph.Node) *graph.Node {
	return w.LayerNorm("final_layer_norm", x, c.Epsilon)
}

// encode is Encode with parameters whose names have a prefix, and with a mask bool[B, T], false
// for padding, to which no token attends; nil if there is none.
func (c TextConfig) encode(w nn.Weights, prefix string, ids, mask *graph.Node) Text {
	ids.AssertDims(-1, -1)
	g, b, t := ids.Graph(), ids.Shape().Dimensions[0], ids.Shape().Dimensions[1]
	x := graph.Gather(w.At(prefix+"embeddings.token_embedding.weight"), graph.InsertAxes(ids, -1)) // [B, T, D]
	position := graph.Slice(w.At(prefix+"embeddings.position_embedding.weight"), graph.AxisRange(0, t))
	x = graph.Add(x, graph.InsertAxes(position, 0))

	row := graph.Iota(g, shapes.Make(dtypes.Int32, 1, 1, t, t), 2)
	column := graph.Iota(g, shapes.Make(dtypes.Int32, 1, 1, t, t), 3)
	allowed := graph.GreaterOrEqual(row, column)
	if mask != nil {
		mask.AssertDims(b, t)
		whole := shapes.Make(dtypes.Bool, b, 1, t, t)
		allowed = graph.LogicalAnd(graph.BroadcastToShape(allowed, whole), graph.BroadcastToShape(graph.InsertAxes(mask, 1, 1), whole))
	}
	states := c.Encoder.encode(w, prefix, x, allowed)
	last := w.LayerNorm(prefix+"final_layer_norm", states[c.Layers], c.Epsilon)

	end := ids
	if c.End != legacyEnd {
		end = graph.ConvertDType(graph.Equal(ids, graph.Scalar(g, ids.DType(), c.End)), dtypes.Int32)
	}
	// A sum with one term that is not 0 has a gradient without a scatter.
	one := graph.OneHot(graph.ArgMax(end, -1, dtypes.Int32), t, last.DType()) // [B, T]
	return Text{states, last, graph.Einsum("bt,btd->bd", one, last)}
}
