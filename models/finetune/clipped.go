package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// Clipped is the clipped surrogate of a policy gradient (Schulman et al. 2017,
// arXiv 1707.06347, eq. 7): the mean of -min(ρA, clip(ρ, 1 ± c)A), for the ratios ρ and the
// advantages A float32[B]. DDPO (Black et al. 2023, arXiv 2305.13301), Flow-GRPO
// (arXiv 2505.05470) and AWM all take it.
func Clipped(ratio, advantage, clip *graph.Node) *graph.Node {
	return graph.Neg(graph.ReduceAllMean(graph.Min(graph.Mul(ratio, advantage), graph.Mul(clamp(ratio, clip), advantage))))
}

// DPOK is the policy's loss of DPOK (Fan et al. 2023, arXiv 2305.16381) as its
// released code has it: the mean of -w·A·clamp(ρ, 1 ± c). Without Clipped's minimum
// the gradient is zero wherever the ratio is clamped.
func DPOK(ratio, advantage, clip, weight *graph.Node) *graph.Node {
	return graph.Neg(graph.ReduceAllMean(graph.Mul(weight, graph.Mul(advantage, clamp(ratio, clip)))))
}

// clamp is ρ within 1 ± c.
func clamp(ratio, clip *graph.Node) *graph.Node {
	return graph.Min(graph.Max(ratio, graph.OneMinus(clip)), graph.OnePlus(clip))
}
