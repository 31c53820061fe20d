package nn

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/backend"
)

// This file has attention by cuDNN (Dao 2023, arXiv 2307.08691), as XLA calls it: the forward function returns the
// output and a number for each row, from which the backward function computes the probabilities again.

// fewRows is the number of rows from which on cuDNN computes a self-attention. With fewer the scores are small.
const fewRows = 256

// flashes reports whether cuDNN computes the attention of q and k: a long self-attention in bfloat16, with
// heads of a width that it has.
func flashes(q, k *graph.Node, heads int) bool {
	rows, width := q.Shape().Dimensions[1], q.Shape().Dimensions[2]/heads
	return q.DType() == dtypes.BFloat16 && rows == k.Shape().Dimensions[1] && rows >= fewRows && width%8 == 0 && width <= 256
}

// flash is Attention by cuDNN.
func (w Weights) flash(q, k, v *graph.Node, heads int) *graph.Node {
	dims := q.Shape().Dimensions
	rows, width := dims[1], dims[2]/heads
	// cuDNN returns arrays [B, H, T, K] that lie in memory as [B, T, H, K].
	split := func(x *graph.Node) *graph.Node { return graph.Reshape(x, -1, rows, heads, width) }
	joined := func(x *graph.Node) *graph.Node {
		return graph.Reshape(graph.TransposeAllAxes(x, 0, 2, 1, 3), -1, rows, dims[2])
	}
	array := func(batch int) backend.Result {
		return backend.Result{Shape: shapes.Make(q.DType(), batch, heads, rows, width), Layout: []int{3, 1, 2, 0}}
	}
	forward := backend.CustomCall(backend.FlashAttention, flashConfig(dims[0], heads, rows, width, map[string]product{
		"bmm1": {3, 3, 2, 2}, "bmm2": {3, 1, 1, 2}}),
		[]backend.Result{array(dims[0]), {Shape: shapes.Make(dtypes.Float32, dims[0], heads, rows)}}, split(q), split(k), split(v))
	y, statistics := joined(forward[0]), forward[1]
	return backend.CustomGradient(y, func(dy *graph.Node) []*graph.Node {
		in := []*graph.Node{q, k, v, statistics, dy, y}
		n := w.leading(q)
		if n == 0 {
			n = dims[0]
		}
		for i, x := range in {
			if in[i] = backend.Head(x, n); i != 3 {
				in[i] = split(in[i])
			}
		}
		g := backend.CustomCall(backend.FlashGradient, flashConfig(n, heads, rows, width, map[string]product{
			"bmm1_grad_gemm1": {2, 1, 1, 2}, "bmm1_grad_gemm2": {3, 1, 1, 2}, "bmm2_grad_gemm1": {2, 1, 1, 2}, "bmm2_grad_gemm2": {3, 3, 2, 2}}),
			[]backend.Result{array(n), array(n), array(n)}, in...)
		for i, x := range g {
			if g[i] = joined(x); n < dims[0] {
				g[i] = backend.Pad(g[i], dims[0])
			}
		}
		return g
	}, q, k, v)
}

// A product has the axes of a matrix product inside the attention: those over which it sums, left and right, and the
// heads of both sides.
type product [4]int

// flashConfig is the configuration of cuDNN's functions for the scores [B, H, T, T], in XLA's form
// (CudnnfMHABackendConfig): what JAX 0.10.2 writes without a mask, bias or dropout.
func flashConfig(batch, heads, rows, width int, products map[string]product) string {
	type object = map[string]any
	config := object{
		"algorithm":  object{"algo_id": "0", "math_type": "TENSOR_OP_MATH", "tuning_knobs": object{"17": "1", "24": "0"}, "is_cudnn_frontend": true, "workspace_size": "0"},
		"fmha_scale": 1 / math.Sqrt(float64(width)),
		"intermediate_tensor_shape": object{"element_type": "BF16", "dimensions": texts(batch, heads, rows, rows), "is_dynamic_dimension": []bool{false, false, false, false},
			"layout": object{"minor_to_major": texts(3, 2, 1, 0)}},
		"is_flash_attention": true, "mask_type": "NO_MASK", "dropout_rate": 0., "seed": 42, "sliding_window_length": 0, "max_seg_per_batch": 1, "is_paged_attention": false,
	}
	for name, p := range products {
		config[name+"_dot_dimension_numbers"] = object{"lhs_contracting_dimensions": texts(p[0]), "rhs_contracting_dimensions": texts(p[1]),
			"lhs_batch_dimensions": texts(0, p[2]), "rhs_batch_dimensions": texts(0, p[3])}
	}
	text, err := json.Marshal(object{"operation_queue_id": "0", "cudnn_fmha_backend_config": config})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// texts are numbers as texts, which protocol buffers have for 64 bits in JSON.
func texts(list ...int) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = fmt.Sprint(x)
	}
	return out
}
