package finetune

import (
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// RewardWeighted is the name of the method.
const RewardWeighted = "reward-weighted"

// rewardWeighted is reward-weighted likelihood (Lee et al. 2023, arXiv 2302.12192,
// section 3.3): the mean of r·ℓ over generated images, r in [0, 1]. The scores are the
// weights, and the anchor is the likelihood of pretraining pairs.
type rewardWeighted struct{ weightedLikelihood }

func (rewardWeighted) Name() string { return "reward-weighted" }

func (rewardWeighted) Prepare(p *Pool, batch int) (*Plan, error) {
	all := p.Sampler(p.All())
	return &Plan{Weights: p.Scores, Effective: p.Scores, Draw: func(r *rand.Rand) []int { return all.DrawBatch(r, batch) }}, nil
}

// weightedLikelihood has the methods that are common to all whose loss is a weighted
// likelihood.
type weightedLikelihood struct{}

func (weightedLikelihood) Revision() int                                     { return 0 }
func (weightedLikelihood) Constants() map[string]float64                     { return nil }
func (weightedLikelihood) Copies() []Copy                                    { return nil }
func (weightedLikelihood) Variant() string                                   { return "" }
func (weightedLikelihood) Loss() func(o Outputs, in train.Nodes) *graph.Node { return nil }
