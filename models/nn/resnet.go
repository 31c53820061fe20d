package nn

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

// A Resnet is diffusers' ResnetBlock2D: two convolutions of size 3, each after group
// normalization and SiLU, between which the embedding of the time is added.
type Resnet struct {
	Name      string
	In, Out   int // channels
	Embedding int // width of the embedding; 0 if it takes none
	Groups    int
	Eps       float64
}

// Params are the block's parameters.
func (r Resnet) Params() []Param {
	ps := append(NormParams(r.Name+".norm1", r.In), ConvParams(r.Name+".conv1", 3, r.In, r.Out)...)
	if r.Embedding > 0 {
		ps = append(ps, LinearParams(r.Name+".time_emb_proj", r.Embedding, r.Out, 1)...)
	}
	ps = slices.Concat(ps, NormParams(r.Name+".norm2", r.Out), ConvParams(r.Name+".conv2", 3, r.Out, r.Out))
	if r.In != r.Out {
		ps = append(ps, ConvParams(r.Name+".conv_shortcut", 1, r.In, r.Out)...)
	}
	return ps
}

// Apply returns float32[B, H, W, Out] for x float32[B, H, W, In] and SiLU of the embedding,
// float32[B, Embedding]; nil if it takes none.
func (r Resnet) Apply(w Weights, x, embedding *graph.Node) *graph.Node {
	h := w.Conv(r.Name+".conv1", SiLU(w.GroupNorm(r.Name+".norm1", x, r.Groups, r.Eps)), 1)
	if r.Embedding > 0 {
		h = graph.Add(h, graph.Reshape(w.Linear(r.Name+".time_emb_proj", embedding), h.Shape().Dimensions[0], 1, 1, r.Out))
	}
	h = w.Conv(r.Name+".conv2", SiLU(w.GroupNorm(r.Name+".norm2", h, r.Groups, r.Eps)), 1)
	if r.In != r.Out {
		x = w.Conv(r.Name+".conv_shortcut", x, 1)
	}
	return graph.Add(x, h)
}
