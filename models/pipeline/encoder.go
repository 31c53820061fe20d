package pipeline

import (
	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
)

// An Encoder computes the conditioning of many prompts with the text encoder of any
// model of a network.
type Encoder struct {
	net Network
	b   backend.Backend
	fn  *backend.Fn
}

// NewEncoder returns an encoder.
func NewEncoder(b backends.Backend, net Network) (*Encoder, error) {
	ps := net.EncoderParams()
	fn, err := backend.NewFn(b, "encode "+net.Name, 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{net.EncodeText(nn.Bind(ps, in[1:]), in[0])}
	})
	return &Encoder{net, b, fn}, err
}

// encodeBatch is constant, because the last bits of a conditioning may depend on the size of
// the batch in which it is computed.
const encodeBatch = 256

// Encode returns the conditioning float32[n, Cond] of text float32[n, Text].
func (e *Encoder) Encode(weights nn.Values, text []float32) ([]float32, error) {
	params, err := weights.Tensors(e.b, e.net.EncoderParams())
	if err != nil {
		return nil, err
	}
	defer backend.Free(params...)
	out, err := backend.Batched(e.fn, params, len(text)/e.net.Text, encodeBatch, func(from, to int) []*tensors.Tensor {
		return []*tensors.Tensor{backend.Rows(text, from, to, encodeBatch, e.net.Text)}
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out[0], nil
}
