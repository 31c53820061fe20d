package reward

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
)

// Use is how one score is made of the scores of an ensemble's members.
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

// Score returns r float32[n] of embedded images and prompts, both float32[n, E], by
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

// All returns the score of each of n embedded images float32[n, E] under a model. prompts[i]
// are indices of rows of table float32[m, E]: image i's own prompt first, then the contrasting
// ones, which a model without contrasts ignores.
//
// Where r is in [0, 1], the score is too, so that fine-tuning can use it as a weight: softmax
// and mean stay in [0, 1], and a value that the penalty takes below 0 becomes 0.
func (s *Scorer) All(m *Model, images []float32, prompts [][]int, table []float32) ([]float32, error) {
	e := s.c.Embedding
	if m.Config != s.c || len(m.Members) == 0 || len(images) != len(prompts)*e {
		return nil, fmt.Errorf("reward: %d images, %d prompts and a reward of %d members do not fit together", len(images)/e, len(prompts), len(m.Members))
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
