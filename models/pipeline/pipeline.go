// Package pipeline is a text-to-image model as the rest of models sees it: a
// denoiser and a text encoder with their weights, under a schedule. The shapes
// world's transformer is one Network; another model is another one.
package pipeline

import (
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
	"ablate/models/schedule"
)

// A Network is an architecture without weights.
type Network struct {
	// Name tells networks of different shape apart: trainers and samplers that
	// were compiled for one are reused for every model of the same name.
	Name string
	// Image is height, width and channels of what the denoiser sees.
	Image [3]int
	// Words is the width of the text encoder's input.
	Words      int
	Params     []nn.Param // of the denoiser
	TextParams []nn.Param // of the text encoder
	Denoise    func(w nn.Weights, x, t, text *graph.Node) *graph.Node
	Encode     func(w nn.Weights, words *graph.Node) *graph.Node
	Schedule   schedule.Flow
}

// Pixels is the number of values in one image.
func (n Network) Pixels() int { return n.Image[0] * n.Image[1] * n.Image[2] }

// AllParams are the denoiser's parameters, then the text encoder's, whose
// names begin with "text_encoder.".
func (n Network) AllParams() []nn.Param {
	ps := append([]nn.Param{}, n.Params...)
	for _, p := range n.TextParams {
		p.Name = textPrefix + p.Name
		ps = append(ps, p)
	}
	return ps
}

const textPrefix = "text_encoder."

// Bind gives the network the weights w of a graph, named as in AllParams: the
// denoiser, and the text encoder from words float32[B, Words] to text states.
func (n Network) Bind(w nn.Weights) (schedule.Denoiser, func(words *graph.Node) *graph.Node) {
	text := make(nn.Weights, len(n.TextParams))
	for _, p := range n.TextParams {
		text[p.Name] = w.At(textPrefix + p.Name)
	}
	return func(x, t, states *graph.Node) *graph.Node { return n.Denoise(w, x, t, states) },
		func(words *graph.Node) *graph.Node { return n.Encode(text, words) }
}

// WeightedLoss is Σ cᵢ·ℓᵢ over a batch, with ℓᵢ the schedule's denoising loss,
// which stands for -log p. Its inputs are x₀ and ε float32[B, H, W, C], t
// float32[B], words float32[B, Words] and the coefficients c float32[B].
// Pretraining has c = 1/B; reward-weighted likelihood with a pretraining term
// (Lee et al. 2023, arXiv 2302.12192, section 3.3) has c = r/B for generated images
// and β/K for K pretraining pairs, all in one batch.
func (n Network) WeightedLoss(w nn.Weights, in []*graph.Node) *graph.Node {
	x0, eps, t, words, c := in[0], in[1], in[2], in[3], in[4]
	denoise, encode := n.Bind(w)
	return graph.ReduceAllSum(graph.Mul(c, n.Schedule.Loss(denoise, x0, eps, t, encode(words))))
}

// Model is a network with weights, named as AllParams names them.
type Model struct {
	Network
	Weights nn.Values
}
