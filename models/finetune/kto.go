package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// KTO is Diffusion-KTO (Li et al. 2024, arXiv 2404.04465, eq. 9) on good/bad
// labels y float32[B] in {0, 1}: the mean of
//
//	w(y)·(1 - σ(±β·(g - z))), g = ℓ_base - ℓ_θ, z = max(0, mean g),
//
// plus for good images and minus for bad ones, w their weights. z stands for the
// divergence from the base and carries no gradient, as in the released code: it
// is that of still, the losses ℓ_θ as constants.
func KTO(model, still, base, good, beta, desirable, undesirable *graph.Node) *graph.Node {
	g := graph.Sub(base, model)
	z := graph.MaxScalar(graph.ReduceAllMean(graph.Sub(base, still)), 0)
	sign := graph.AddScalar(graph.MulScalar(good, 2), -1)
	weight := graph.Add(graph.Mul(desirable, good), graph.Mul(undesirable, graph.OneMinus(good)))
	value := graph.Logistic(graph.Mul(graph.Mul(sign, beta), graph.Sub(g, z)))
	return graph.ReduceAllMean(graph.Mul(weight, graph.OneMinus(value)))
}

var kto = Objective{Name: "kto", Reads: []Copy{Base}, Images: 1, Constants: 3,
	Loss: func(o Outputs, image []*graph.Node, _ *graph.Node, c []*graph.Node) *graph.Node {
		return KTO(o.Loss(o.Model), o.Loss(o.Still), o.Loss(o.Base), image[0], c[0], c[1], c[2])
	}}
