package clip

import (
	"math"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// Prefixes of the parameters of both encoders in a file of CLIPModel.
const textPrefix, visionPrefix = "text_model.", "vision_model."

// Params are the parameters of both encoders and their projections, in their fixed order.
func (c Config) Params() []nn.Param {
	ps := append(c.Text.params(textPrefix), c.Vision.params(visionPrefix)...)
	return append(ps,
		nn.Param{Name: "text_projection.weight", Shape: []int{c.Projection, c.Text.Width}, Std: 1 / math.Sqrt(float64(c.Text.Width))},
		nn.Param{Name: "visual_projection.weight", Shape: []int{c.Projection, c.Vision.Width}, Std: 1 / math.Sqrt(float64(c.Vision.Width))},
		nn.Param{Name: "logit_scale", Shape: []int{}, Fill: math.Log(1 / .07)})
}

// EncodeText returns the features float32[B, E] of prompts with ids int32[B, T], and the states of
// the text encoder. mask bool[B, T] is false for padding; it changes no features, because a token
// attends only to those before it, and padding follows the end token. It may be nil.
func (c Config) EncodeText(w nn.Weights, ids, mask *graph.Node) (features *graph.Node, states Text) {
	states = c.Text.encode(w, textPrefix, ids, mask)
	return w.Product("text_projection", states.Pooled), states
}

// EncodeImage returns the features float32[B, E] of pixels float32[B, S, S, C], and the states of
// the image encoder.
func (c Config) EncodeImage(w nn.Weights, pixels *graph.Node) (features *graph.Node, states Vision) {
	states = c.Vision.encode(w, visionPrefix, pixels)
	return w.Product("visual_projection", states.Pooled), states
}

// Unit divides features float32[B, E] by their Euclidean norm.
func Unit(features *graph.Node) *graph.Node {
	return graph.Div(features, graph.Sqrt(graph.ReduceAndKeep(graph.Square(features), graph.ReduceSum, -1)))
}

// Cosine is the cosine of each image with each text, float32[images, texts], by their features.
func Cosine(images, texts *graph.Node) *graph.Node {
	return graph.DotGeneral(Unit(images), []int{1}, nil, Unit(texts), []int{1}, nil)
}

// Logits are the cosines times the learned inverse temperature.
func Logits(w nn.Weights, cosine *graph.Node) *graph.Node {
	return graph.Mul(cosine, graph.Exp(w.At("logit_scale")))
}

// Score is CLIPScore, 100·max(cosine, 0), as torchmetrics computes it (Hessel et al. 2021, arXiv
// 2104.08718, eq. 1, has the factor 2.5).
func Score(cosine *graph.Node) *graph.Node {
	return graph.MulScalar(graph.MaxScalar(cosine, 0), 100)
}
