package finetune

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/schedule"
)

// Score is s = -w(ℓ, t) float32[B], AWM's log-likelihood of an image: ℓ itself,
// ℓ times t or t², or the generalized Huber form t/p·((ℓ + e)^p - e^p) with
// e = 1e-10 (Xue et al. 2025, arXiv 2509.25050, and its released code).
func Score(weighting string, loss, t, power *graph.Node) *graph.Node {
	const e = 1e-10
	switch weighting {
	case "uniform":
		return graph.Neg(loss)
	case "t":
		return graph.Neg(graph.Mul(t, loss))
	case "t2":
		return graph.Neg(graph.Mul(graph.Square(t), loss))
	case "ghuber":
		// x^p as exp(p log x): its gradient by x is finite for every x > 0.
		root := graph.Exp(graph.Mul(power, graph.Log(graph.AddScalar(loss, e))))
		floor := graph.Exp(graph.MulScalar(power, logTiny))
		return graph.Neg(graph.Mul(graph.Div(t, power), graph.Sub(root, floor)))
	}
	panic(fmt.Errorf("finetune: awm has no weighting %q", weighting))
}

const logTiny = -23.025850929940457 // log 1e-10

// AWM is advantage-weighted matching (arXiv 2509.25050): the mean of
// -min(ρA, clip(ρ, 1 ± c)A) with ρ = exp(s_θ - s_old), the ratio of likelihoods of a
// generated image by its own denoising loss, plus, over rounds, β_e times the mean
// square distance of the output to that of a slow average. advantage float32[B]
// is scaled to ±1.
func AWM(score, old, advantage, clip *graph.Node) (loss, ratio *graph.Node) {
	ratio = graph.Exp(graph.Sub(score, old))
	return Clipped(ratio, advantage, clip), ratio
}

func awm(weighting string, averaged bool) Objective {
	o := Objective{Name: "awm " + weighting, Reads: []Copy{Old}, Images: 1, Constants: 3}
	if averaged {
		o.Name += " averaged"
		o.Reads = append(o.Reads, Average)
	}
	o.Loss = func(o Outputs, image []*graph.Node, _ *graph.Node, c []*graph.Node) *graph.Node {
		score := func(u *graph.Node) *graph.Node { return Score(weighting, o.Loss(u), o.Time, c[2]) }
		loss, _ := AWM(score(o.Model), score(o.Old), image[0], c[0])
		if !averaged {
			return loss
		}
		return graph.Add(loss, graph.Mul(c[1], graph.ReduceAllMean(schedule.MeanSquare(o.Model, o.Average))))
	}
	return o
}
