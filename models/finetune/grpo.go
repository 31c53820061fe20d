package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// grpo is Flow-GRPO (Liu et al. 2025, arXiv 2505.05470).
type grpo struct {
	Clip    float64 `json:"clip" key:"grpo.clip"`
	Group   int     `json:"group" key:"grpo.group"` // images of one prompt in a rollout
	KL      float64 `json:"kl" key:"grpo.kl"`
	Updates int     `json:"updates" key:"grpo.updates"` // updates of the weights for each rollout
}

func (grpo) Name() string                    { return "grpo" }
func (grpo) Revision() int                   { return 0 }
func (m grpo) Constants() map[string]float64 { return map[string]float64{"clip": m.Clip} }
func (m grpo) Rollout() RolloutShape         { return RolloutShape{Group: m.Group, Updates: m.Updates} }

func (grpo) Surrogate(ratio, advantage *graph.Node, in train.Nodes) *graph.Node {
	return Clipped(ratio, advantage, in.At("clip"))
}

// Advantages returns scores minus the mean of their group, divided by the standard deviation
// of the rollout. Eq. 4 of the paper divides by that of the group.
func (grpo) Advantages(_ *History, scores []float32, prompts []int) []float32 {
	return clipTo(Advantages(scores, prompts, false), AdvantageClip)
}
