package unet

import (
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/nn"
)

// A UNet is a network without weights.
type UNet struct {
	Config Config
	down   []block
	middle block
	up     []block
}

// A block is one level on the way down or up, or the middle.
type block struct {
	resnets    []nn.Resnet
	attentions []transformer // one after each resnet; none in a plain block
	sample     string        // name of the convolution that changes the size; empty in the last block
	channels   int
}

// New returns the network of a configuration that ReadConfig returned.
func New(c Config) *UNet {
	u := &UNet{Config: c}
	n := len(c.BlockOutChannels)
	embedding := 4 * c.BlockOutChannels[0]
	skips := []int{c.BlockOutChannels[0]}
	resnet := func(name string, in, out int) nn.Resnet {
		return nn.Resnet{Name: name, In: in, Out: out, Embedding: embedding, Groups: c.NormNumGroups, Eps: c.NormEps}
	}
	attention := func(name string, level, channels int) transformer {
		return transformer{name, channels, c.heads(level), c.CrossAttentionDim.at(level), c.TransformerLayersPerBlock.at(level), c.NormNumGroups, c.UseLinearProjection}
	}
	in := c.BlockOutChannels[0]
	for level, out := range c.BlockOutChannels {
		name := fmt.Sprintf("down_blocks.%d", level)
		b := block{channels: out}
		for i := range c.LayersPerBlock.at(level) {
			b.resnets = append(b.resnets, resnet(fmt.Sprintf("%s.resnets.%d", name, i), in, out))
			if c.DownBlockTypes[level] == crossDown {
				b.attentions = append(b.attentions, attention(fmt.Sprintf("%s.attentions.%d", name, i), level, out))
			}
			in = out
			skips = append(skips, out)
		}
		if level < n-1 {
			b.sample = name + ".downsamplers.0.conv"
			skips = append(skips, out)
		}
		u.down = append(u.down, b)
	}
	u.middle = block{channels: in, resnets: []nn.Resnet{resnet("mid_block.resnets.0", in, in), resnet("mid_block.resnets.1", in, in)},
		attentions: []transformer{attention("mid_block.attentions.0", n-1, in)}}
	for i := range n {
		level := n - 1 - i
		out, name := c.BlockOutChannels[level], fmt.Sprintf("up_blocks.%d", i)
		b := block{channels: out}
		for j := range c.LayersPerBlock.at(level) + 1 {
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			b.resnets = append(b.resnets, resnet(fmt.Sprintf("%s.resnets.%d", name, j), in+skip, out))
			if c.UpBlockTypes[i] == crossUp {
				b.attentions = append(b.attentions, attention(fmt.Sprintf("%s.attentions.%d", name, j), level, out))
			}
			in = out
		}
		if level > 0 {
			b.sample = name + ".upsamplers.0.conv"
		}
		u.up = append(u.up, b)
	}
	return u
}

// Params are the parameters by their names in files.
func (u *UNet) Params() []nn.Param {
	c := u.Config
	first := c.BlockOutChannels[0]
	ps := slices.Concat(nn.ConvParams("conv_in", 3, c.InChannels, first), nn.LinearParams("time_embedding.linear_1", first, 4*first, 1),
		nn.LinearParams("time_embedding.linear_2", 4*first, 4*first, 1))
	for _, b := range slices.Concat(u.down, []block{u.middle}, u.up) {
		for _, r := range b.resnets {
			ps = append(ps, r.Params()...)
		}
		for _, t := range b.attentions {
			ps = append(ps, t.params()...)
		}
		if b.sample != "" {
			ps = append(ps, nn.ConvParams(b.sample, 3, b.channels, b.channels)...)
		}
	}
	return slices.Concat(ps, nn.NormParams("conv_norm_out", first), nn.ConvParams("conv_out", 3, first, c.OutChannels))
}

// Options of a graph.
type Options struct {
	nn.Saving
	// Type is that in which layers compute; 0 is that of the latents.
	Type  dtypes.DType
	Trace func(stage string, x *graph.Node) // is called with the activation after each stage, if not nil
}

// Denoise returns the prediction float32[B, H, W, out_channels] for latents x
// float32[B, H, W, in_channels], times t float32[B] and the states of a text float32[B, S,
// cross_attention_dim].
func (u *UNet) Denoise(w nn.Weights, x, t, text *graph.Node, o Options) *graph.Node {
	trace := o.Trace
	if trace == nil {
		trace = func(string, *graph.Node) {}
	}
	c, saving, result := u.Config, &o.Saving, x.DType()
	if o.Type == 0 {
		o.Type = result
	}
	x, text = graph.ConvertDType(x, o.Type), graph.ConvertDType(text, o.Type)
	time := graph.ConvertDType(nn.Fourier(t, c.BlockOutChannels[0]/2, 10000), o.Type)
	trace("time_proj", time)
	time = w.Linear("time_embedding.linear_2", nn.SiLU(w.Linear("time_embedding.linear_1", time)))
	trace("time_embedding", time)
	x = w.Conv("conv_in", x, 1)
	trace("conv_in", x)
	// Every resnet takes SiLU of the embedding: it is computed once.
	active := nn.SiLU(time)
	resnet := func(r nn.Resnet, x *graph.Node) *graph.Node {
		return saving.Block(w, r.Params(), func(w nn.Weights, in []*graph.Node) *graph.Node { return r.Apply(w, in[0], in[1]) }, x, active)
	}
	attention := func(t transformer, x *graph.Node) *graph.Node {
		return saving.Block(w, t.params(), func(w nn.Weights, in []*graph.Node) *graph.Node { return t.apply(w, in[0], in[1], saving) }, x, text)
	}
	skips := []*graph.Node{x}
	for level, b := range u.down {
		for i, r := range b.resnets {
			x = resnet(r, x)
			if len(b.attentions) > 0 {
				x = attention(b.attentions[i], x)
			}
			skips = append(skips, x)
		}
		if b.sample != "" {
			x = w.Conv(b.sample, x, 2)
			skips = append(skips, x)
		}
		trace(fmt.Sprintf("down_block_%d", level), x)
	}
	x = resnet(u.middle.resnets[1], attention(u.middle.attentions[0], resnet(u.middle.resnets[0], x)))
	trace("mid_block", x)
	for i, b := range u.up {
		for j, r := range b.resnets {
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			x = resnet(r, graph.Concatenate([]*graph.Node{x, skip}, 3))
			if len(b.attentions) > 0 {
				x = attention(b.attentions[j], x)
			}
		}
		if b.sample != "" {
			next := skips[len(skips)-1].Shape().Dimensions
			x = w.Conv(b.sample, nn.Upsample(x, next[1], next[2]), 1)
		}
		trace(fmt.Sprintf("up_block_%d", i), x)
	}
	x = nn.SiLU(w.GroupNorm("conv_norm_out", x, c.NormNumGroups, c.NormEps))
	return graph.ConvertDType(w.Conv("conv_out", x, 1), result)
}

// A transformer attends to positions and to the text (Transformer2DModel).
type transformer struct {
	name                          string
	channels, heads, text, layers int
	groups                        int
	linear                        bool // its projections are linear layers, and not convolutions of size 1
}

func (t transformer) params() []nn.Param {
	c := t.channels
	project := func(name string) []nn.Param {
		if t.linear {
			return nn.LinearParams(t.name+name, c, c, 1)
		}
		return nn.ConvParams(t.name+name, 1, c, c)
	}
	ps := append(nn.NormParams(t.name+".norm", c), project(".proj_in")...)
	for i := range t.layers {
		name := fmt.Sprintf("%s.transformer_blocks.%d", t.name, i)
		for k, from := range []int{c, t.text} {
			attn := fmt.Sprintf("%s.attn%d", name, k+1)
			ps = append(ps, nn.NormParams(fmt.Sprintf("%s.norm%d", name, k+1), c)...)
			for _, of := range []struct {
				name string
				in   int
			}{{".to_q", c}, {".to_k", from}, {".to_v", from}} {
				ps = append(ps, nn.LinearParams(attn+of.name, of.in, c, 1)[:1]...) // they have no bias
			}
			ps = append(ps, nn.LinearParams(attn+".to_out.0", c, c, 1)...)
		}
		ps = slices.Concat(ps, nn.NormParams(name+".norm3", c), nn.LinearParams(name+".ff.net.0.proj", c, 8*c, 1), nn.LinearParams(name+".ff.net.2", 4*c, c, 1))
	}
	return append(ps, project(".proj_out")...)
}

func (t transformer) apply(w nn.Weights, x, text *graph.Node, saving *nn.Saving) *graph.Node {
	dims := x.Shape().Dimensions
	project := func(name string, x *graph.Node) *graph.Node {
		if t.linear {
			return w.Linear(t.name+name, x)
		}
		return w.Conv(t.name+name, x, 1)
	}
	h := project(".proj_in", w.GroupNorm(t.name+".norm", x, t.groups, 1e-6))
	h = graph.Reshape(h, dims[0], dims[1]*dims[2], t.channels)
	for i := range t.layers {
		name := fmt.Sprintf("%s.transformer_blocks.%d", t.name, i)
		attend := func(attn string, from, to *graph.Node) *graph.Node {
			q, k, v := w.Product(attn+".to_q", from), w.Product(attn+".to_k", to), w.Product(attn+".to_v", to)
			return w.Linear(attn+".to_out.0", w.Attention(q, k, v, t.heads, saving))
		}
		y := w.LayerNorm(name+".norm1", h, 1e-5)
		h = graph.Add(h, attend(name+".attn1", y, y))
		h = graph.Add(h, attend(name+".attn2", w.LayerNorm(name+".norm2", h, 1e-5), text))
		inner := nn.Split(w.Linear(name+".ff.net.0.proj", w.LayerNorm(name+".norm3", h, 1e-5)), 2, 4*t.channels, 4*t.channels)
		h = graph.Add(h, w.Linear(name+".ff.net.2", graph.Mul(inner[0], nn.ExactGELU(inner[1]))))
	}
	return graph.Add(x, project(".proj_out", graph.Reshape(h, dims...)))
}
