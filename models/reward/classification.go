package reward

import "github.com/gomlx/gomlx/pkg/core/graph"

// Classification is the loss of telling the right prompt z_0 among wrong ones
// (Lee et al. 2023, arXiv 2302.12192, 3.2), for scores r float32[B, 1+N], the
// right prompt's first:
//
//	P(j | x, {z}) = exp(r(x, z_j)/T) / Σ_k exp(r(x, z_k)/T)
//	L_pc = - Σ_i y_i log P(0 | x_i, {z}) / Σ_i y_i
//
// Only images labelled good, y = 1, say which prompt is the right one; a batch
// without one adds 0. present float32[B, 1+N] is 0 where there is no such wrong
// prompt. T, a scalar, divides the scores.
func Classification(r, present, y, temperature *graph.Node) *graph.Node {
	absent := graph.MulScalar(graph.OneMinus(present), -1e9)
	logp := first(graph.LogSoftmax(graph.Add(graph.Div(r, temperature), absent), -1))
	good := graph.MaxScalar(graph.ReduceAllSum(y), 1)
	return graph.Neg(graph.Div(graph.ReduceAllSum(graph.Mul(y, logp)), good))
}
