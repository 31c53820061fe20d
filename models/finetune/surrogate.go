package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// Clipped is the clipped surrogate of a policy gradient (Schulman et al. 2017, arXiv
// 1707.06347, eq. 7): the mean of -min(ρA, clip(ρ, 1 ± c)A), for ratios ρ and advantages
// A float32[B].
func Clipped(ratio, advantage, clip *graph.Node) *graph.Node {
	return graph.Neg(graph.ReduceAllMean(graph.Min(graph.Mul(ratio, advantage), graph.Mul(clamp(ratio, clip), advantage))))
}

// clamp returns ρ clipped to 1 ± c.
func clamp(ratio, clip *graph.Node) *graph.Node {
	return graph.Min(graph.Max(ratio, graph.OneMinus(clip)), graph.OnePlus(clip))
}
