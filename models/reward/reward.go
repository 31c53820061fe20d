// Package reward trains a reward model r(image, prompt) in [0, 1] on good/bad labels: a
// multilayer perceptron on frozen embeddings of image and prompt (Lee et al. 2023, arXiv
// 2302.12192, section 3.2). Each training objective is one file: mse.go, classification.go,
// crossentropy.go, bradleyterry.go. Two methods against the over-optimization of a learned
// reward are in ensemble.go and textnorm.go.
package reward

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// The inputs of the perceptron, made of the embeddings of an image and a prompt.
const (
	// Product is image, text and their elementwise product, as unit vectors that are
	// scaled to entries of order 1. The shapes world has it, whose embedder is small.
	Product = "image+text+product"
	// Concat is text and image as they are (Lee et al. 2023).
	Concat = "text+image"
)

// Config is the architecture of the perceptron.
type Config struct {
	Embedding int    `json:"embedding_dim"` // width of an image's and of a prompt's embedding
	Hidden    int    `json:"hidden_dim"`
	Inputs    string `json:"inputs"`           // Product or Concat
	Linear    bool   `json:"linear,omitempty"` // r is the logit, which is not limited to [0, 1]
}

// Default returns the perceptron of the shapes world: two hidden layers, as in the
// paper, of width 256, where the paper has 1024.
func Default(embedding int) Config {
	return Config{Embedding: embedding, Hidden: 256, Inputs: Product}
}

// Check returns an error for a configuration from a file that is not valid.
func (c Config) Check() error {
	if c.Embedding < 1 || c.Hidden < 1 || c.Embedding > 1<<16 || c.Hidden > 1<<16 {
		return fmt.Errorf("reward configuration %+v: every number must be from 1 to 65536", c)
	}
	if c.Inputs != Product && c.Inputs != Concat {
		return fmt.Errorf("reward configuration: inputs are %q: want %q or %q", c.Inputs, Product, Concat)
	}
	return nil
}

// Params are the perceptron's parameters in their fixed order.
func (c Config) Params() []nn.Param {
	in := 2 * c.Embedding
	if c.Inputs == Product {
		in = 3 * c.Embedding
	}
	var ps []nn.Param
	ps = append(ps, nn.LinearParams("mlp.0", in, c.Hidden, math.Sqrt2)...)
	ps = append(ps, nn.LinearParams("mlp.1", c.Hidden, c.Hidden, math.Sqrt2)...)
	return append(ps, nn.LinearParams("mlp.2", c.Hidden, 1, 1)...)
}

// Logit returns s float32[...], the perceptron's output before the sigmoid, for
// embeddings of images and prompts, both float32[..., Embedding].
func (c Config) Logit(w nn.Weights, image, text *graph.Node) *graph.Node {
	var x *graph.Node
	switch c.Inputs {
	case Product:
		// Entries of unit vectors are of order 1/√E; scaling makes them of order 1.
		s := math.Sqrt(float64(c.Embedding))
		x = graph.Concatenate([]*graph.Node{
			graph.MulScalar(image, s), graph.MulScalar(text, s), graph.MulScalar(graph.Mul(image, text), s*s),
		}, -1)
	case Concat:
		x = graph.Concatenate([]*graph.Node{text, image}, -1)
	default:
		panic(fmt.Errorf("reward: unknown inputs %q", c.Inputs))
	}
	relu := func(x *graph.Node) *graph.Node { return graph.MaxScalar(x, 0) }
	h := relu(w.Linear("mlp.0", x))
	h = relu(w.Linear("mlp.1", h))
	y := w.Linear("mlp.2", h) // [..., 1]
	return graph.Reshape(y, y.Shape().Dimensions[:y.Rank()-1]...)
}

// Score returns r float32[...]: the sigmoid of the logit, or the logit where the
// perceptron is linear.
func (c Config) Score(w nn.Weights, image, text *graph.Node) *graph.Node {
	s := c.Logit(w, image, text)
	if c.Linear {
		return s
	}
	return graph.Logistic(s)
}
