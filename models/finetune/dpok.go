package finetune

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/train"
)

// dpok is DPOK (Fan et al. 2023, arXiv 2305.16381) as in its released code.
type dpok struct {
	Clip     float64 `json:"clip" key:"dpok.clip"`
	Weight   float64 `json:"weight" key:"dpok.weight"` // of the reward, w_r
	Velocity float64 `json:"velocity" key:"dpok.velocity"`
	Updates  int     `json:"updates" key:"dpok.updates"` // updates of the weights for each rollout
}

func (dpok) Name() string  { return "dpok" }
func (dpok) Revision() int { return 0 }
func (m dpok) Constants() map[string]float64 {
	return map[string]float64{"clip": m.Clip, "weight": m.Weight}
}
func (m dpok) Rollout() RolloutShape { return RolloutShape{Updates: m.Updates} }

// Surrogate is the mean of -w·A·clip(ρ, 1 ± c). It lacks the minimum of Clipped, so the
// gradient is zero wherever the ratio is clipped.
func (dpok) Surrogate(ratio, advantage *graph.Node, in train.Nodes) *graph.Node {
	return DPOK(ratio, advantage, in.At("clip"), in.At("weight"))
}

// DPOK is the surrogate of DPOK, for ratios and advantages float32[B].
func DPOK(ratio, advantage, clip, weight *graph.Node) *graph.Node {
	return graph.Neg(graph.ReduceAllMean(graph.Mul(weight, graph.Mul(advantage, clamp(ratio, clip)))))
}

// Advantages returns scores minus a baseline, which replaces DPOK's learned value function:
// the mean of the prompt's other remembered scores or, if there are none, of the rollout's
// other scores. A score never enters its own baseline.
func (dpok) Advantages(h *History, scores []float32, prompts []int) []float32 {
	h.Add(scores, prompts)
	all, _ := moments(scores)
	others := func(mean float64, n int, own float32) float64 {
		return (mean*float64(n) - float64(own)) / float64(n-1)
	}
	a := make([]float32, len(scores))
	for i, s := range scores {
		if own := (*h)[prompts[i]]; len(own) > 1 {
			mean, _ := moments(own)
			a[i] = s - float32(others(mean, len(own), s))
		} else if len(scores) > 1 {
			a[i] = s - float32(others(all, len(scores), s))
		}
	}
	return a
}
