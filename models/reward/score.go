package reward

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
)

// Use is how a score is made of what the members of an ensemble say.
type Use struct {
	// Penalty is the weight of the members' disagreement; see Pessimistic.
	Penalty float64 `json:"penalty,omitempty"`
	// Temperature, where it is positive, replaces r by its softmax over the prompt
	// and contrasting ones; see TextNorm.
	Temperature float64 `json:"contrast_temperature,omitempty"`
	// Contrasts is the number of contrasting prompts.
	Contrasts int `json:"contrasts,omitempty"`
}

// A Model is a learned reward: one perceptron or several of one architecture.
type Model struct {
	Config
	Use
	Members []nn.Values
}

// A Scorer computes r for many images.
type Scorer struct {
	c  Config
	b  backend.Backend
	fn *backend.Fn
}

// NewScorer compiles a scorer for every reward of the configuration.
func NewScorer(b backends.Backend, c Config) (*Scorer, error) {
	ps := c.Params()
	fn, err := backend.NewFn(b, "score", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{c.Score(nn.Bind(ps, in[2:]), in[0], in[1])}
	})
	return &Scorer{c: c, b: b, fn: fn}, err
}

const scoreBatch = 256

// Score is r float32[n] of embedded images and prompts, both float32[n, E], by
// one perceptron.
func (s *Scorer) Score(w nn.Values, images, prompts []float32) ([]float32, error) {
	params, err := w.Tensors(s.b, s.c.Params())
	if err != nil {
		return nil, err
	}
	defer backend.Free(params...)
	e := s.c.Embedding
	out, err := backend.Batched(s.fn, params, len(images)/e, scoreBatch, func(from, to int) []*tensors.Tensor {
		return []*tensors.Tensor{backend.Rows(images, from, to, scoreBatch, e), backend.Rows(prompts, from, to, scoreBatch, e)}
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out[0], nil
}

// All is the score of each of n embedded images float32[n, E] under a model.
// prompts[i] are places in table float32[m, E]: image i's own prompt, and after
// it the contrasting ones, which a model without contrasts leaves unread.
//
// Where r is in [0, 1], so is the score, which fine-tuning takes for a weight:
// a softmax is in it, a mean of members stays in it, and what the penalty takes
// below 0 is 0.
func (s *Scorer) All(m *Model, images []float32, prompts [][]int, table []float32) ([]float32, error) {
	e := s.c.Embedding
	if m.Config != s.c || len(m.Members) == 0 || len(images) != len(prompts)*e {
		return nil, fmt.Errorf("reward: %d images, %d prompts and a reward of %d members do not belong together", len(images)/e, len(prompts), len(m.Members))
	}
	var x, z []float32
	for i, list := range prompts {
		if m.Temperature <= 0 {
			list = list[:1]
		}
		for _, p := range list {
			x = append(x, images[i*e:(i+1)*e]...)
			z = append(z, table[p*e:(p+1)*e]...)
		}
	}
	members := make([][]float32, len(m.Members))
	for k, w := range m.Members {
		r, err := s.Score(w, x, z)
		if err != nil {
			return nil, err
		}
		if m.Temperature > 0 {
			at := 0
			normal := make([]float32, len(prompts))
			for i, list := range prompts {
				normal[i] = TextNorm(r[at:at+len(list)], m.Temperature)
				at += len(list)
			}
			r = normal
		}
		members[k] = r
	}
	if len(members) == 1 {
		return members[0], nil
	}
	return Pessimistic(members, m.Penalty), nil
}
