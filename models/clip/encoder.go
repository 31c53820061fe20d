package clip

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

const quickGELU = "quick_gelu"

// activations are the values of hidden_act.
var activations = map[string]func(x *graph.Node) *graph.Node{
	"gelu": nn.ExactGELU,
	// x·σ(1.702x) is near x·Φ(x) (Hendrycks & Gimpel 2016, section 2).
	quickGELU: func(x *graph.Node) *graph.Node { return graph.Mul(x, graph.Logistic(graph.MulScalar(x, 1.702))) },
}

// params are the parameters of all layers.
func (c Encoder) params(prefix string) []nn.Param {
	var ps []nn.Param
	for i := range c.Layers {
		layer := fmt.Sprintf("%sencoder.layers.%d.", prefix, i)
		for _, name := range []string{"k_proj", "v_proj", "q_proj", "out_proj"} {
			ps = append(ps, nn.LinearParams(layer+"self_attn."+name, c.Width, c.Width, 1)...)
		}
		ps = append(ps, nn.NormParams(layer+"layer_norm1", c.Width)...)
		ps = append(ps, nn.LinearParams(layer+"mlp.fc1", c.Width, c.Hidden, 1)...)
		ps = append(ps, nn.LinearParams(layer+"mlp.fc2", c.Hidden, c.Width, 1)...)
		ps = append(ps, nn.NormParams(layer+"layer_norm2", c.Width)...)
	}
	return ps
}

// encode returns x float32[B, T, D] and the output of each layer. Where mask bool[B or 1, 1, T, T]
// is not nil, a token attends only where it is true.
func (c Encoder) encode(w nn.Weights, prefix string, x, mask *graph.Node) []*graph.Node {
	states := []*graph.Node{x}
	for i := range c.Layers {
		layer := fmt.Sprintf("%sencoder.layers.%d.", prefix, i)
		h := w.LayerNorm(layer+"layer_norm1", x, c.Epsilon)
		project := func(name string) *graph.Node { return w.Linear(layer+"self_attn."+name, h) }
		h = attend(project("q_proj"), project("k_proj"), project("v_proj"), mask, c.Heads)
		x = graph.Add(x, w.Linear(layer+"self_attn.out_proj", h))
		h = w.LayerNorm(layer+"layer_norm2", x, c.Epsilon)
		h = activations[c.Activation](w.Linear(layer+"mlp.fc1", h))
		x = graph.Add(x, w.Linear(layer+"mlp.fc2", h))
		states = append(states, x)
	}
	return states
}

// attend is softmax(q·kᵀ/√K)·v, float32[B, T, D], over the pairs for which mask is true
// (Vaswani et al. 2017, eq. 1).
func attend(q, k, v, mask *graph.Node, heads int) *graph.Node {
	dims := q.Shape().Dimensions
	split := func(x *graph.Node) *graph.Node { return graph.Reshape(x, dims[0], dims[1], heads, dims[2]/heads) }
	q = graph.MulScalar(q, 1/math.Sqrt(float64(dims[2]/heads)))
	scores := graph.Einsum("bqhk,bthk->bhqt", split(q), split(k)) // [B, H, T, T]
	if mask != nil {
		// A token attends at least to itself, so that a large number does as infinity would.
		scores = graph.Where(graph.BroadcastToShape(mask, scores.Shape()), scores, graph.MulScalar(graph.OnesLike(scores), -1e9))
	}
	weights := graph.ConvertDType(graph.Softmax(graph.ConvertDType(scores, dtypes.Float32), -1), q.DType())
	y := graph.Einsum("bhqt,bthk->bqhk", weights, split(v))
	return graph.Reshape(y, dims...)
}
