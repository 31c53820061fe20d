package reward

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// CrossEntropy is the log loss of a Bernoulli label (Bishop 2006, eq. 4.90), for
// logits s and labels y float32[B], r = σ(s):
//
//	L = mean_i -[y_i log r_i + (1 - y_i) log(1 - r_i)] = mean_i softplus(s_i) - y_i s_i
//
// It is computed from the logit, because a sigmoid that is rounded to 0 or 1 has no finite
// logarithm and no gradient.
func CrossEntropy(s, y *graph.Node) *graph.Node {
	return graph.ReduceAllMean(graph.Sub(nn.Softplus(s), graph.Mul(y, s)))
}
