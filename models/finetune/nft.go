package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/schedule"
)

// NFT is DiffusionNFT's loss of each image float32[B] (Zheng et al. 2025, arXiv
// 2509.16117, eq. 6 with the weighting of the released code): with the implicit outputs
// u⁺ = βu_θ + (1-β)u_old and u⁻ = (1+β)u_old - βu_θ and r float32[B] in [0, 1] the
// image's optimality,
//
//	[r·‖x̂₀⁺ - x₀‖²/w⁺ + (1-r)·‖x̂₀⁻ - x₀‖²/w⁻]/β,
//
// means over pixels, w the mean absolute error of that x̂₀, which carries no
// gradient. r may be a plain good/bad label: the bad images teach as well.
func NFT(o Outputs, r, beta *graph.Node) *graph.Node {
	away := graph.Mul(beta, graph.Sub(o.Model, o.Old))
	still := graph.Mul(beta, graph.Sub(o.Still, o.Old))
	part := func(u, still *graph.Node) *graph.Node {
		clean := func(u *graph.Node) *graph.Node { return o.Schedule.Clean(o.Noisy, u, o.Time) }
		return normalized(clean(u), clean(still), o.Clean)
	}
	plus := part(graph.Add(o.Old, away), graph.Add(o.Old, still))
	minus := part(graph.Sub(o.Old, away), graph.Sub(o.Old, still))
	return graph.Div(graph.Add(graph.Mul(r, plus), graph.Mul(graph.OneMinus(r), minus)), beta)
}

// normalized is the mean over pixels of (x - y)² over the mean absolute
// difference of still, x as a constant, at least 1e-5; float32[B].
func normalized(x, still, y *graph.Node) *graph.Node {
	w := graph.MaxScalar(schedule.MeanPixels(graph.Abs(graph.Sub(still, y))), 1e-5)
	return graph.Div(schedule.MeanSquare(x, y), w)
}

var nft = Objective{Name: "nft", Reads: []Copy{Old}, Images: 1, Constants: 2,
	Loss: func(o Outputs, image []*graph.Node, _ *graph.Node, c []*graph.Node) *graph.Node {
		return graph.Mul(c[1], graph.ReduceAllMean(NFT(o, image[0], c[0])))
	}}
