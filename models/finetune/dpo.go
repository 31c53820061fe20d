package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// DPO is Diffusion-DPO (Wallace et al. 2023, arXiv 2311.12908, eq. 14): the mean
// over pairs of -log σ(inside),
//
//	inside = -β/2·((ℓ_w - ℓ_l)_θ - (ℓ_w - ℓ_l)_base).
//
// The first half of the batch is preferred to the second, pair by pair, and both
// images of a pair have the same noise and time. ℓ is the mean over pixels, as in
// the released code, where β is 5000; a sum would need another β.
func DPO(model, base, beta *graph.Node) (loss, inside *graph.Node) {
	pairs := model.Shape().Dimensions[0] / 2
	margin := func(l *graph.Node) *graph.Node {
		return graph.Sub(graph.Slice(l, graph.AxisRange(0, pairs)), graph.Slice(l, graph.AxisRange(pairs)))
	}
	inside = graph.Mul(graph.MulScalar(beta, -.5), graph.Sub(margin(model), margin(base)))
	return graph.ReduceAllMean(nn.Softplus(graph.Neg(inside))), inside
}

var dpo = Objective{Name: "dpo", Reads: []Copy{Base}, Constants: 1,
	Loss: func(o Outputs, _ []*graph.Node, _ *graph.Node, c []*graph.Node) *graph.Node {
		loss, _ := DPO(o.Loss(o.Model), o.Loss(o.Base), c[0])
		return loss
	}}
