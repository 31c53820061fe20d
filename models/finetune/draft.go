package finetune

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// draft is DRaFT-K (Clark et al. 2023, arXiv 2309.17400; AlignProp, arXiv 2310.03739):
// the reward of the drawn image is differentiated through the sampler's last K steps.
type draft struct {
	Last int `json:"last" key:"draft.last"` // K
}

func (draft) Name() string                  { return "draft" }
func (draft) Revision() int                 { return 0 }
func (draft) Constants() map[string]float64 { return nil }

func (m draft) Stop(steps int, _ *rand.Rand) (int, error) {
	if m.Last < 1 || m.Last >= steps {
		return 0, fmt.Errorf("finetune: draft goes back through %d of the sampler's %d steps: it must be at least 1 and leave one", m.Last, steps)
	}
	return steps - m.Last, nil
}

func (m draft) Steps(int) int { return m.Last }

// Loss is -mean r(x₀).
func (draft) Loss(g GradientGraph, x *graph.Node, times []*graph.Node, _ train.Nodes) *graph.Node {
	for k := range len(times) - 1 {
		x = g.Step(x, times[k], times[k+1])
	}
	return graph.Neg(graph.ReduceAllMean(g.Score(x)))
}
