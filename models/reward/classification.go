package reward

import "github.com/gomlx/gomlx/pkg/core/graph"

// Classification is the prompt classification loss (Lee et al. 2023, arXiv 2302.12192,
// section 3.2), the cross entropy of the right prompt z_0 among wrong ones, for scores r
// float32[B, 1+N], the right prompt's first:
//
//	P(j | x, {z}) = exp(r(x, z_j)/T) / Σ_k exp(r(x, z_k)/T)
//	L_pc = - Σ_i y_i log P(0 | x_i, {z}) / Σ_i y_i
//
// Only images labelled good (y = 1) count, because only they are known to show their prompt;
// a batch without one has loss 0. present float32[B, 1+N] is 0 where an image has no such
// wrong prompt. T, a scalar, divides the scores.
func Classification(r, present, y, temperature *graph.Node) *graph.Node {
	absent := graph.MulScalar(graph.OneMinus(present), -1e9)
	logp := first(graph.LogSoftmax(graph.Add(graph.Div(r, temperature), absent), -1))
	good := graph.MaxScalar(graph.ReduceAllSum(y), 1)
	return graph.Neg(graph.Div(graph.ReduceAllSum(graph.Mul(y, logp)), good))
}
