package reward

import "github.com/gomlx/gomlx/pkg/core/graph"

// SquaredError is the loss of Lee et al. 2023 (arXiv 2302.12192, section 3.2), for scores r
// and labels y float32[B]:
//
//	L_MSE = mean_i (y_i - r(x_i, z_i))²
func SquaredError(r, y *graph.Node) *graph.Node {
	return graph.ReduceAllMean(graph.Square(graph.Sub(y, r)))
}
