package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// ddpo is DDPO (Black et al. 2023, arXiv 2305.13301) with importance sampling.
type ddpo struct {
	Clip    float64 `json:"clip" key:"ddpo.clip"`
	Updates int     `json:"updates" key:"ddpo.updates"` // updates of the weights for each rollout
}

func (ddpo) Name() string                    { return "ddpo" }
func (ddpo) Revision() int                   { return 0 }
func (m ddpo) Constants() map[string]float64 { return map[string]float64{"clip": m.Clip} }
func (m ddpo) Rollout() RolloutShape         { return RolloutShape{Updates: m.Updates} }

func (ddpo) Surrogate(ratio, advantage *graph.Node, in train.Nodes) *graph.Node {
	return Clipped(ratio, advantage, in.At("clip"))
}

// Advantages standardizes scores by the last scores of their prompt, where at least 16 are
// known (as in ddpo-pytorch), and otherwise by those of the rollout (section 4.3 of the paper).
func (ddpo) Advantages(h *History, scores []float32, prompts []int) []float32 {
	const enough = 16
	h.Add(scores, prompts)
	mean, sd := moments(scores)
	a := make([]float32, len(scores))
	for i, s := range scores {
		m, d := mean, sd
		if own := (*h)[prompts[i]]; len(own) >= enough {
			m, d = moments(own)
		}
		a[i] = float32((float64(s) - m) / (d + 1e-6))
	}
	return clipTo(a, AdvantageClip)
}
