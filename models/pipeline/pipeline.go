// Package pipeline represents a text-to-image model for training, sampling and measuring: a
// denoiser and a text encoder with their weights, and a forward process. Shapes returns the
// Network of the shapes world's diffusion transformer (models/dit).
package pipeline

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
	"ablate/models/process"
)

// A Network is an architecture without weights.
type Network struct {
	// Name identifies the architecture. Trainers and samplers that were compiled for a
	// name serve every model of that name, so it must have every field of the configuration.
	Name string
	// Image is height, width and channels of the denoiser's input.
	Image [3]int
	// Text is the width of the text encoder's input, Cond that of its output.
	Text, Cond int
	Params     []nn.Param // of the denoiser
	TextParams []nn.Param // of the text encoder
	// Denoise returns the network's prediction, which Process defines, for x_t
	// float32[B, H, W, C], t float32[B] and the conditioning float32[B, Cond].
	Denoise func(w nn.Weights, x, t, cond *graph.Node) *graph.Node
	// Encode maps text float32[B, Text] to conditioning float32[B, Cond].
	Encode  func(w nn.Weights, text *graph.Node) *graph.Node
	Process process.Process
}

// Pixels is the number of values in one image.
func (n Network) Pixels() int { return n.Image[0] * n.Image[1] * n.Image[2] }

// AllParams are the denoiser's parameters, then the text encoder's, whose names
// begin with TextPrefix.
func (n Network) AllParams() []nn.Param {
	return append(append([]nn.Param{}, n.Params...), n.EncoderParams()...)
}

// EncoderParams are the text encoder's parameters by their names in AllParams.
func (n Network) EncoderParams() []nn.Param {
	ps := make([]nn.Param, len(n.TextParams))
	for i, p := range n.TextParams {
		p.Name = TextPrefix + p.Name
		ps[i] = p
	}
	return ps
}

// TextPrefix begins the names of the text encoder's parameters in a model.
const TextPrefix = "text_encoder."

// A Part names the parameters of a model that are trained.
type Part string

// The parts of a model.
const (
	DenoiserPart Part = "denoiser"
	EncoderPart  Part = "text encoder"
	BothParts    Part = "both"
)

// Trained returns the parameters of a part, by their names in AllParams.
func (n Network) Trained(p Part) ([]nn.Param, error) {
	switch p {
	case DenoiserPart:
		return n.Params, nil
	case EncoderPart:
		return n.EncoderParams(), nil
	case BothParts:
		return n.AllParams(), nil
	}
	return nil, fmt.Errorf("unknown part %q of a model: must be %q, %q or %q", p, DenoiserPart, EncoderPart, BothParts)
}

// Encodes reports whether a training step of the part includes the text encoder. The
// conditioning of a frozen encoder is computed once for each prompt, outside the step.
func (p Part) Encodes() bool { return p != DenoiserPart }

// A Denoiser returns the prediction for x_t float32[B, H, W, C], t float32[B] and a
// conditioning.
type Denoiser func(x, t, cond *graph.Node) *graph.Node

// Bind returns the denoiser with its weights, which are named as in AllParams. Where encode
// is true, its conditioning is text float32[B, Text], which it encodes; otherwise it is the
// result of Encode, float32[B, Cond].
func (n Network) Bind(w nn.Weights, encode bool) Denoiser {
	return func(x, t, cond *graph.Node) *graph.Node {
		if encode {
			cond = n.EncodeText(w, cond)
		}
		return n.Denoise(w, x, t, cond)
	}
}

// EncodeText is Encode with weights named as in AllParams.
func (n Network) EncodeText(w nn.Weights, text *graph.Node) *graph.Node {
	own := make(nn.Weights, len(n.TextParams))
	for _, p := range n.TextParams {
		own[p.Name] = w.At(TextPrefix + p.Name)
	}
	return n.Encode(own, text)
}

// CondWidth is the width of the conditioning that Bind's denoiser takes.
func (n Network) CondWidth(encode bool) int {
	if encode {
		return n.Text
	}
	return n.Cond
}

// Model is a network with weights, which are named as in AllParams.
type Model struct {
	Network
	Weights nn.Values
}

// With returns the model with some of its weights replaced.
func (m *Model) With(v nn.Values) *Model {
	all := make(nn.Values, len(m.Weights))
	for name, x := range m.Weights {
		all[name] = x
	}
	for name, x := range v {
		all[name] = x
	}
	return &Model{m.Network, all}
}
