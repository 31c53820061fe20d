package finetune

import (
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// refl is ReFL (Xu et al. 2023, arXiv 2304.05977, algorithm 1): the reward of the clean
// image that the prediction at a random late step implies. The step is the same for
// all images of a draw, which serves several batches. The released code omits the paper's
// pretraining term, and so does this method.
type refl struct {
	From   float64 `json:"from" key:"refl.from"`     // first step that may be drawn, as a share of the sampler's steps
	Weight float64 `json:"weight" key:"refl.weight"` // of the reward
	Margin float64 `json:"margin" key:"refl.margin"` // in the units of the reward
}

func (refl) Name() string  { return "refl" }
func (refl) Revision() int { return 0 }
func (m refl) Constants() map[string]float64 {
	return map[string]float64{"weight": m.Weight, "margin": m.Margin}
}

func (m refl) Stop(steps int, r *rand.Rand) (int, error) {
	from := min(max(int(m.From*float64(steps)), 1), steps-1)
	return from + r.IntN(steps-from), nil
}

func (refl) Steps(int) int { return 1 }

// Loss is w·mean relu(margin - r(x̂₀)).
func (refl) Loss(g GradientGraph, x *graph.Node, times []*graph.Node, in train.Nodes) *graph.Node {
	clean := g.Process.Clean(x, g.Predict(x, times[0]), graph.BroadcastToDims(times[0], x.Shape().Dimensions[0]))
	short := graph.MaxScalar(graph.Sub(in.At("margin"), g.Score(clean)), 0)
	return graph.Mul(in.At("weight"), graph.ReduceAllMean(short))
}
