// Package dit is the denoiser of the shapes world: a small diffusion transformer with
// adaptive layer norm (Peebles & Xie 2023, arXiv 2212.09748, section 3.2, adaLN-Zero),
// conditioned on time and on the text embedding of a bag-of-words encoder, which is here too.
//
// A token is one 8×8 patch, which is exactly one cell of the world's grid. That makes the
// task easier than it is on real images, which reports must state.
package dit

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// Config is the architecture, as in config.json of a checkpoint.
type Config struct {
	ImageSize  int `json:"sample_size"`
	Channels   int `json:"in_channels"`
	PatchSize  int `json:"patch_size"`
	Width      int `json:"width"`
	Layers     int `json:"num_layers"`
	Heads      int `json:"num_attention_heads"`
	MLPRatio   int `json:"mlp_ratio"`
	TextWidth  int `json:"cross_attention_dim"`
	Vocabulary int `json:"vocab_size"`
}

// Default returns the configuration of the shapes world's denoiser for a vocabulary of the
// given size. It has 2.1 million parameters.
func Default(vocabulary int) Config {
	return Config{ImageSize: 16, Channels: 3, PatchSize: 8, Width: 192, Layers: 3, Heads: 4, MLPRatio: 3, TextWidth: 192, Vocabulary: vocabulary}
}

// Check returns an error for a configuration from a file that is not valid.
func (c Config) Check() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"sample_size", c.ImageSize}, {"in_channels", c.Channels}, {"patch_size", c.PatchSize}, {"width", c.Width},
		{"num_layers", c.Layers}, {"num_attention_heads", c.Heads}, {"mlp_ratio", c.MLPRatio},
		{"cross_attention_dim", c.TextWidth}, {"vocab_size", c.Vocabulary}} {
		if f.value < 1 || f.value > 1<<16 {
			return fmt.Errorf("%s is %d: it must be from 1 to 65536", f.name, f.value)
		}
	}
	if c.ImageSize%c.PatchSize != 0 {
		return fmt.Errorf("patch_size %d does not divide sample_size %d", c.PatchSize, c.ImageSize)
	}
	if c.Width%c.Heads != 0 {
		return fmt.Errorf("num_attention_heads %d does not divide width %d", c.Heads, c.Width)
	}
	return nil
}

func (c Config) tokens() int { return (c.ImageSize / c.PatchSize) * (c.ImageSize / c.PatchSize) }
func (c Config) patch() int  { return c.PatchSize * c.PatchSize * c.Channels }

// timeFeatures is the number of sine and of cosine features of time.
const timeFeatures = 32

// Params are the denoiser's parameters in their fixed order.
func (c Config) Params() []nn.Param {
	d := c.Width
	var ps []nn.Param
	ps = append(ps, nn.LinearParams("patch_embed", c.patch(), d, 1)...)
	ps = append(ps, nn.Param{Name: "position", Shape: []int{c.tokens(), d}, Std: 0.02})
	ps = append(ps, nn.LinearParams("time.0", 2*timeFeatures, d, 1)...)
	ps = append(ps, nn.LinearParams("time.1", d, d, 1)...)
	ps = append(ps, nn.LinearParams("text", c.TextWidth, d, 1)...)
	for i := range c.Layers {
		b := fmt.Sprintf("blocks.%d.", i)
		ps = append(ps, nn.LinearParams(b+"modulation", d, 6*d, 0)...)
		ps = append(ps, nn.LinearParams(b+"attention.qkv", d, 3*d, 1)...)
		ps = append(ps, nn.LinearParams(b+"attention.out", d, d, 1)...)
		ps = append(ps, nn.LinearParams(b+"mlp.0", d, c.MLPRatio*d, 1)...)
		ps = append(ps, nn.LinearParams(b+"mlp.1", c.MLPRatio*d, d, 1)...)
	}
	ps = append(ps, nn.LinearParams("modulation", d, 2*d, 0)...)
	ps = append(ps, nn.LinearParams("out", d, c.patch(), 0)...)
	return ps
}

// Denoise predicts the clean image (x-prediction) from x float32[B, S, S, C], the noisy image
// at time t float32[B] in [0, 1], where 1 is noise, and the text embedding
// float32[B, TextWidth].
func (c Config) Denoise(w nn.Weights, x, t, text *graph.Node) *graph.Node {
	b := x.Shape().Dimensions[0]
	x.AssertDims(b, c.ImageSize, c.ImageSize, c.Channels)
	t.AssertDims(b)
	text.AssertDims(b, c.TextWidth)
	n, p, d := c.ImageSize/c.PatchSize, c.PatchSize, c.Width

	h := graph.Reshape(x, b, n, p, n, p*c.Channels)
	h = graph.TransposeAllAxes(h, 0, 1, 3, 2, 4)
	h = graph.Reshape(h, b, n*n, c.patch()) // [B, T, patch]
	h = graph.Add(w.Linear("patch_embed", h), graph.InsertAxes(w.At("position"), 0))

	cond := w.Linear("time.0", nn.Fourier(graph.MulScalar(t, 1000), timeFeatures, 10000))
	cond = w.Linear("time.1", nn.SiLU(cond))
	cond = nn.SiLU(graph.Add(cond, w.Linear("text", text))) // [B, D]

	for i := range c.Layers {
		block := fmt.Sprintf("blocks.%d.", i)
		m := modulation(w.Linear(block+"modulation", cond), d)
		a := m.shiftScale(h, 0, 1)
		a = nn.SelfAttention(w.Linear(block+"attention.qkv", a), c.Heads)
		a = w.Linear(block+"attention.out", a)
		h = graph.Add(h, graph.Mul(m.at(2), a))
		f := w.Linear(block+"mlp.0", m.shiftScale(h, 3, 4))
		f = w.Linear(block+"mlp.1", nn.GELU(f))
		h = graph.Add(h, graph.Mul(m.at(5), f))
	}
	m := modulation(w.Linear("modulation", cond), d)
	h = w.Linear("out", m.shiftScale(h, 0, 1)) // [B, T, patch]

	h = graph.Reshape(h, b, n, n, p, p*c.Channels)
	h = graph.TransposeAllAxes(h, 0, 1, 3, 2, 4)
	return graph.Reshape(h, b, c.ImageSize, c.ImageSize, c.Channels)
}

// modulated are the chunks of an adaptive layer norm's modulation (shift, scale, gate), each
// float32[B, 1, D].
type modulated []*graph.Node

func modulation(x *graph.Node, d int) modulated {
	sizes := make([]int, x.Shape().Dimensions[1]/d)
	for i := range sizes {
		sizes[i] = d
	}
	m := modulated(nn.Split(x, 1, sizes...))
	for i := range m {
		m[i] = graph.InsertAxes(m[i], 1)
	}
	return m
}

func (m modulated) at(i int) *graph.Node { return m[i] }

// shiftScale is LayerNorm(h)·(1 + m[scale]) + m[shift].
func (m modulated) shiftScale(h *graph.Node, shift, scale int) *graph.Node {
	return graph.Add(graph.Mul(nn.Normalize(h), graph.OnePlus(m[scale])), m[shift])
}

// TextParams are the text encoder's parameters.
func (c Config) TextParams() []nn.Param {
	ps := nn.LinearParams("embed", c.Vocabulary, c.TextWidth, 1)
	return append(ps, nn.LinearParams("out", c.TextWidth, c.TextWidth, 1)...)
}

// EncodeText maps words float32[B, Vocabulary], 1 for each word of the prompt, to the text
// embedding float32[B, TextWidth].
func (c Config) EncodeText(w nn.Weights, words *graph.Node) *graph.Node {
	words.AssertDims(-1, c.Vocabulary)
	return w.Linear("out", nn.SiLU(w.Linear("embed", words)))
}
