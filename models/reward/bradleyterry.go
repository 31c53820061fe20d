package reward

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
	"ablate/models/random"
)

// BradleyTerry is the log loss of a preference (Bradley & Terry 1952; for
// learned rewards Christiano et al. 2017, arXiv 1706.03741; for images of
// one prompt ImageReward, arXiv 2304.05977, eq. 1), for logits s_w of the
// preferred and s_l of the other image of a pair, float32[P]:
//
//	L = mean_i -log σ(s_w - s_l)
//
// A pair is an image labelled good and one labelled bad of the same prompt. The loss
// depends only on differences within a prompt, so it does not determine a constant for
// each prompt: r = σ(s) orders images, and is not the probability of "good".
func BradleyTerry(preferred, other *graph.Node) *graph.Node {
	return graph.ReduceAllMean(nn.Softplus(graph.Sub(other, preferred)))
}

// pairs are the labelled images that have an opposite, an image of the same
// prompt with the other label.
type pairs struct {
	data     Data
	opposite map[int][2][]int // by prompt: its images labelled bad, and good
	with     []int            // images that have an opposite
	order    *random.Shuffled // of with
}

func newPairs(d Data, epochs random.Steps) (*pairs, error) {
	p := &pairs{data: d, opposite: map[int][2][]int{}}
	for i, z := range d.Prompt {
		o := p.opposite[z]
		o[d.side(i)] = append(o[d.side(i)], i)
		p.opposite[z] = o
	}
	for i, z := range d.Prompt {
		if len(p.opposite[z][1-d.side(i)]) > 0 {
			p.with = append(p.with, i)
		}
	}
	if len(p.with) == 0 {
		return nil, fmt.Errorf("reward: loss %q learns from a good and a bad image of one prompt, and none of the %d prompts of the %d labelled images has both (raise feedback.labelled, or choose a loss of single images)",
			BradleyTerryLoss, len(p.opposite), len(d.Labels))
	}
	p.order = random.NewShuffled(len(p.with), epochs)
	return p, nil
}

// side is 1 for an image labelled good and 0 for a bad one.
func (d Data) side(i int) int {
	if d.Labels[i] > .5 {
		return 1
	}
	return 0
}

// draw returns pair number k of a training. Every image that has an opposite comes once
// before any comes again; its opposite is drawn uniformly.
func (p *pairs) draw(k int, r *rand.Rand) (good, bad int) {
	i := p.with[p.order.At(k)]
	s := p.data.side(i)
	others := p.opposite[p.data.Prompt[i]][1-s]
	j := others[r.IntN(len(others))]
	if s == 1 {
		return i, j
	}
	return j, i
}
