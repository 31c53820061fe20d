package clip

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// Vision is what an image encoder computes. Its first token is the class token, which stands for
// the whole image, and the others are patches, row by row.
type Vision struct {
	Hidden []*graph.Node // float32[B, T, D]: the normalized embeddings, and then the output of each layer
	Last   *graph.Node   // float32[B, T, D]: the last of Hidden
	Pooled *graph.Node   // float32[B, D]: the class token of Last, normalized
}

// tokens is the number of patches and the class token.
func (c VisionConfig) tokens() int {
	n := c.ImageSize / c.PatchSize
	return n*n + 1
}

// Params are the image encoder's parameters in their fixed order.
func (c VisionConfig) Params() []nn.Param { return c.params("") }

func (c VisionConfig) params(prefix string) []nn.Param {
	ps := []nn.Param{
		{Name: prefix + "embeddings.class_embedding", Shape: []int{c.Width}, Std: 1 / math.Sqrt(float64(c.Width))},
		{Name: prefix + "embeddings.patch_embedding.weight", Shape: []int{c.PatchSize, c.PatchSize, c.Channels, c.Width}, Std: .02},
		{Name: prefix + "embeddings.position_embedding.weight", Shape: []int{c.tokens(), c.Width}, Std: .02},
	}
	ps = append(ps, nn.NormParams(prefix+"pre_layrnorm", c.Width)...) // the files have this spelling
	ps = append(ps, c.Encoder.params(prefix)...)
	return append(ps, nn.NormParams(prefix+"post_layernorm", c.Width)...)
}

// Encode reads pixels float32[B, S, S, C], as Processor.Pixels makes them.
func (c VisionConfig) Encode(w nn.Weights, pixels *graph.Node) Vision { return c.encode(w, "", pixels) }

func (c VisionConfig) encode(w nn.Weights, prefix string, pixels *graph.Node) Vision {
	pixels.AssertDims(-1, c.ImageSize, c.ImageSize, c.Channels)
	b, n, p := pixels.Shape().Dimensions[0], c.ImageSize/c.PatchSize, c.PatchSize
	// The convolution's kernels do not overlap: it is a product with the patches. Pixels at the
	// right and bottom that do not fill a patch are not read.
	x := graph.Slice(pixels, graph.AxisRange(), graph.AxisRange(0, n*p), graph.AxisRange(0, n*p))
	x = graph.TransposeAllAxes(graph.Reshape(x, b, n, p, n, p*c.Channels), 0, 1, 3, 2, 4)
	x = graph.Reshape(x, b, n*n, p*p*c.Channels)
	kernel := graph.Reshape(w.At(prefix+"embeddings.patch_embedding.weight"), p*p*c.Channels, c.Width)
	x = graph.DotGeneral(x, []int{2}, nil, kernel, []int{0}, nil) // [B, T-1, D]

	class := graph.BroadcastToDims(graph.Reshape(w.At(prefix+"embeddings.class_embedding"), 1, 1, c.Width), b, 1, c.Width)
	x = graph.Concatenate([]*graph.Node{class, x}, 1)
	x = graph.Add(x, graph.InsertAxes(w.At(prefix+"embeddings.position_embedding.weight"), 0))
	states := c.Encoder.encode(w, prefix, w.LayerNorm(prefix+"pre_layrnorm", x, c.Epsilon), nil)
	last := states[c.Layers]
	first := graph.Reshape(graph.Slice(last, graph.AxisRange(), graph.AxisElem(0)), b, c.Width)
	return Vision{states, last, w.LayerNorm(prefix+"post_layernorm", first, c.Epsilon)}
}
