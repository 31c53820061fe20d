package pipeline

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
	"ablate/models/process"
	"ablate/models/train"
)

// LikelihoodLoss returns Σ weightᵢ·ℓᵢ over a batch, where ℓ is the denoising loss of the
// process, a surrogate of -log p. Its inputs are x0 and noise float32[B, H, W, C], time
// and weight float32[B], and cond. Pretraining has weights 1/B; reward-weighted
// likelihood with a pretraining term (Lee et al. 2023, arXiv 2302.12192, section 3.3)
// has r/B for generated images and β/K for K pretraining pairs, all in one batch.
func (n Network) LikelihoodLoss(denoise Denoiser, in train.Nodes) *graph.Node {
	x0, eps, t, p := in.At("x0"), in.At("noise"), in.At("time"), n.Process
	prediction := denoise(p.Noisy(x0, eps, t), t, in.At("cond"))
	return graph.ReduceAllSum(graph.Mul(in.At("weight"), process.Loss(p, prediction, p.Target(x0, eps, t), t)))
}

// PretrainingStep is the training step of the whole network, text encoder included.
func (n Network) PretrainingStep() train.Step {
	return train.Step{Name: "pretrain " + n.Name, Params: n.AllParams(),
		Loss: func(w nn.Weights, _ train.Sets, in train.Nodes) *graph.Node {
			return n.LikelihoodLoss(n.Bind(w, true), in)
		}}
}
