package finetune

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/embedder"
	"ablate/models/nn"
	"ablate/models/reward"
)

// A RewardModel is a reward as a graph: its parameters, and r float32[B] of images
// float32[B, H, W, C] in the model's range and text float32[B, Text].
type RewardModel struct {
	Name   string
	Params []nn.Param
	Score  func(w nn.Weights, images, text *graph.Node) *graph.Node
}

// NewRewardModel returns a learned reward on its embedder, and the values of both. The reward
// is the mean of its members minus a penalty, an input of the graph, times their standard
// deviation. Normalization over prompts (reward.TextNorm) is left out, because the gradient is
// that of the reward.
func NewRewardModel(c embedder.Config, values nn.Values, m *reward.Model) (*RewardModel, nn.Values, error) {
	if c.Width != m.Embedding {
		return nil, nil, fmt.Errorf("finetune: the reward was trained on embeddings of width %d, the embedder gives %d", m.Embedding, c.Width)
	}
	const penalty, embed = "penalty", "embedder."
	member := func(k int) string { return fmt.Sprintf("member %d.", k) }
	j := &RewardModel{Name: fmt.Sprintf("%d members %+v on %+v", len(m.Members), m.Config, c), Params: []nn.Param{{Name: penalty, Shape: []int{1}}}}
	all := nn.Values{penalty: {float32(m.Penalty)}}
	put := func(prefix string, ps []nn.Param, v nn.Values) {
		for _, p := range ps {
			all[prefix+p.Name] = v[p.Name]
			p.Name = prefix + p.Name
			j.Params = append(j.Params, p)
		}
	}
	put(embed, c.Params(), values)
	for k, v := range m.Members {
		put(member(k), m.Config.Params(), v)
	}
	j.Score = func(w nn.Weights, images, text *graph.Node) *graph.Node {
		of := func(prefix string, ps []nn.Param) nn.Weights {
			own := nn.Weights{}
			for _, p := range ps {
				own[p.Name] = w.At(prefix + p.Name)
			}
			return own
		}
		own := of(embed, c.Params())
		image, prompt := c.Image(own, images), c.Text(own, text)
		var scores []*graph.Node
		for k := range m.Members {
			scores = append(scores, m.Config.Score(of(member(k), m.Config.Params()), image, prompt))
		}
		stacked := graph.Stack(scores, 0) // [members, B]
		mean := graph.ReduceMean(stacked, 0)
		if len(scores) == 1 {
			return mean
		}
		apart := graph.ReduceMean(graph.Square(graph.Sub(stacked, graph.InsertAxes(mean, 0))), 0)
		return graph.Sub(mean, graph.Mul(w.At(penalty), graph.Sqrt(graph.AddScalar(apart, 1e-12))))
	}
	return j, all, nil
}
