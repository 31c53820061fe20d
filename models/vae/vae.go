// Package vae is the autoencoder of Stable Diffusion: AutoencoderKL of diffusers, by its
// config.json and with the names of its files (Rombach et al. 2022, arXiv 2112.10752,
// section 3.1; the code of diffusers 0.42 for what the paper leaves open).
//
// Axis letters: B batch, H and W pixels of the latents, F the factor by which images are larger,
// C channels.
package vae

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/checkpoint"
	"ablate/models/nn"
)

// Config is a config.json.
type Config struct {
	InChannels       int      `json:"in_channels"`
	OutChannels      int      `json:"out_channels"`
	LatentChannels   int      `json:"latent_channels"`
	SampleSize       int      `json:"sample_size"` // height and width of images; 0 if the file has none
	BlockOutChannels []int    `json:"block_out_channels"`
	LayersPerBlock   int      `json:"layers_per_block"`
	DownBlockTypes   []string `json:"down_block_types"`
	UpBlockTypes     []string `json:"up_block_types"`
	NormNumGroups    int      `json:"norm_num_groups"`
	ScalingFactor    float64  `json:"scaling_factor"` // by which latents are multiplied for the denoiser
	ShiftFactor      float64  `json:"shift_factor"`   // which is subtracted from them before
	UseQuantConv     bool     `json:"use_quant_conv"`
	UsePostQuantConv bool     `json:"use_post_quant_conv"`
	MiddleAttention  bool     `json:"mid_block_add_attention"`
}

const downType, upType = "DownEncoderBlock2D", "UpDecoderBlock2D"

// only are the keys that choose another architecture, with what is implemented. The statistics
// of latents are not used by this class, and force_upcast is for computing in 16 bits.
var only = map[string]string{"_class_name": `"AutoencoderKL"`, "act_fn": `"silu"`, "force_upcast": "false|true"}

// ReadConfig reads a config.json. An error names the file, the key and its value.
func ReadConfig(path string) (Config, error) {
	c := Config{InChannels: 3, OutChannels: 3, LatentChannels: 4, BlockOutChannels: []int{64}, LayersPerBlock: 1, DownBlockTypes: []string{downType},
		UpBlockTypes: []string{upType}, NormNumGroups: 32, ScalingFactor: 0.18215, UseQuantConv: true, UsePostQuantConv: true, MiddleAttention: true}
	err := checkpoint.ReadConfig(path, &c, only)
	return c, err
}

// Check returns an error if no network has this configuration.
func (c Config) Check() error {
	n := len(c.BlockOutChannels)
	if n == 0 || n > 8 {
		return fmt.Errorf("block_out_channels has %d levels; must have 1 to 8", n)
	}
	for _, of := range []struct {
		key, known string
		types      []string
	}{{"down_block_types", downType, c.DownBlockTypes}, {"up_block_types", upType, c.UpBlockTypes}} {
		if len(of.types) != n {
			return fmt.Errorf("%s has %d blocks, and block_out_channels %d levels", of.key, len(of.types), n)
		}
		for _, t := range of.types {
			if t != of.known {
				return fmt.Errorf("%s has a %s: use an engine that has this block", of.key, t)
			}
		}
	}
	for _, of := range []struct {
		key    string
		values []int
	}{{"block_out_channels", c.BlockOutChannels}, {"in_channels", []int{c.InChannels}}, {"out_channels", []int{c.OutChannels}}, {"latent_channels", []int{c.LatentChannels}},
		{"norm_num_groups", []int{c.NormNumGroups}}} {
		for _, x := range of.values {
			if x < 1 || x > 1<<16 {
				return fmt.Errorf("%s is %d; must be 1 to %d", of.key, x, 1<<16)
			}
		}
	}
	if c.LayersPerBlock < 1 || c.LayersPerBlock > 64 {
		return fmt.Errorf("layers_per_block is %d; must be 1 to 64", c.LayersPerBlock)
	}
	for _, channels := range c.BlockOutChannels {
		if channels%c.NormNumGroups != 0 {
			return fmt.Errorf("block_out_channels has %d, which is no multiple of norm_num_groups, %d", channels, c.NormNumGroups)
		}
	}
	if !(c.ScalingFactor > 0) || c.SampleSize < 0 {
		return fmt.Errorf("scaling_factor is %v and sample_size %d; must be above 0 and at least 0", c.ScalingFactor, c.SampleSize)
	}
	return nil
}

// Factor is the number of pixels of an image, along one axis, for a pixel of its latents.
func (c Config) Factor() int { return 1 << (len(c.BlockOutChannels) - 1) }

// A VAE is a network without weights.
type VAE struct {
	Config           Config
	encoder, decoder half
}

// A half is the encoder or the decoder.
type half struct {
	name    string // prefix of its parameters
	in, out int    // channels
	middle  middle
	blocks  []block
	ends    [2]int // channels after conv_in and before conv_out
}

type block struct {
	resnets  []nn.Resnet
	sample   string // name of the convolution that changes the size; empty in the last block
	channels int
}

// A middle has an attention over all positions between two resnets.
type middle struct {
	resnets   []nn.Resnet
	attention string // its name; empty if there is none
	channels  int
}

// The epsilon of all its group normalizations.
const eps = 1e-6

// New returns the network of a configuration that ReadConfig returned.
func New(c Config) *VAE {
	n := len(c.BlockOutChannels)
	first, widest := c.BlockOutChannels[0], c.BlockOutChannels[n-1]
	resnet := func(name string, in, out int) nn.Resnet {
		return nn.Resnet{Name: name, In: in, Out: out, Groups: c.NormNumGroups, Eps: eps}
	}
	between := func(name string) middle {
		m := middle{channels: widest, resnets: []nn.Resnet{resnet(name+".resnets.0", widest, widest), resnet(name+".resnets.1", widest, widest)}}
		if c.MiddleAttention {
			m.attention = name + ".attentions.0"
		}
		return m
	}
	// blocks has layers resnets in each block, from the given channels.
	blocks := func(name, sample string, channels []int, layers int) []block {
		var all []block
		in := channels[0]
		for i, out := range channels {
			b := block{channels: out}
			for j := range layers {
				b.resnets = append(b.resnets, resnet(fmt.Sprintf("%s.%d.resnets.%d", name, i, j), in, out))
				in = out
			}
			if i < len(channels)-1 {
				b.sample = fmt.Sprintf("%s.%d.%s.0.conv", name, i, sample)
			}
			all = append(all, b)
		}
		return all
	}
	reversed := slices.Clone(c.BlockOutChannels)
	slices.Reverse(reversed)
	return &VAE{c,
		half{"encoder", c.InChannels, 2 * c.LatentChannels, between("encoder.mid_block"), blocks("encoder.down_blocks", "downsamplers", c.BlockOutChannels, c.LayersPerBlock), [2]int{first, widest}},
		half{"decoder", c.LatentChannels, c.OutChannels, between("decoder.mid_block"), blocks("decoder.up_blocks", "upsamplers", reversed, c.LayersPerBlock+1), [2]int{widest, first}},
	}
}

// EncoderParams are the parameters of Encode, by their names in files.
func (v *VAE) EncoderParams() []nn.Param {
	ps := v.encoder.params()
	if v.Config.UseQuantConv {
		ps = append(ps, nn.ConvParams("quant_conv", 1, 2*v.Config.LatentChannels, 2*v.Config.LatentChannels)...)
	}
	return ps
}

// DecoderParams are the parameters of Decode, by their names in files.
func (v *VAE) DecoderParams() []nn.Param {
	ps := v.decoder.params()
	if v.Config.UsePostQuantConv {
		ps = append(ps, nn.ConvParams("post_quant_conv", 1, v.Config.LatentChannels, v.Config.LatentChannels)...)
	}
	return ps
}

func (h half) params() []nn.Param {
	ps := nn.ConvParams(h.name+".conv_in", 3, h.in, h.ends[0])
	for _, b := range h.blocks {
		for _, r := range b.resnets {
			ps = append(ps, r.Params()...)
		}
		if b.sample != "" {
			ps = append(ps, nn.ConvParams(b.sample, 3, b.channels, b.channels)...)
		}
	}
	for _, r := range h.middle.resnets {
		ps = append(ps, r.Params()...)
	}
	if a := h.middle.attention; a != "" {
		ps = append(ps, nn.NormParams(a+".group_norm", h.middle.channels)...)
		for _, name := range []string{".to_q", ".to_k", ".to_v", ".to_out.0"} {
			ps = append(ps, nn.LinearParams(a+name, h.middle.channels, h.middle.channels, 1)...)
		}
	}
	return slices.Concat(ps, nn.NormParams(h.name+".conv_norm_out", h.ends[1]), nn.ConvParams(h.name+".conv_out", 3, h.ends[1], h.out))
}

// older are the names that files of Stable Diffusion 1 have for parts of the attention.
var older = map[string]string{"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

// Names returns the names that files have for a parameter.
func Names(parameter string) []string {
	names := []string{parameter}
	for part, old := range older {
		if before, after, ok := strings.Cut(parameter, ".attentions.0."+part+"."); ok {
			names = append(names, before+".attentions.0."+old+"."+after)
		}
	}
	return names
}

func (m middle) apply(w nn.Weights, x *graph.Node, groups int) *graph.Node {
	x = m.resnets[0].Apply(w, x, nil)
	if a := m.attention; a != "" {
		dims := x.Shape().Dimensions
		h := graph.Reshape(w.GroupNorm(a+".group_norm", x, groups, eps), dims[0], dims[1]*dims[2], m.channels)
		h = w.Linear(a+".to_out.0", w.Attention(w.Linear(a+".to_q", h), w.Linear(a+".to_k", h), w.Linear(a+".to_v", h), 1, &nn.Saving{}))
		x = graph.Add(x, graph.Reshape(h, dims...))
	}
	return m.resnets[1].Apply(w, x, nil)
}

// A Trace is called with the activation after a stage.
type Trace func(stage string, x *graph.Node)

func (t Trace) call(stage string, x *graph.Node) {
	if t != nil {
		t(stage, x)
	}
}

// Encode returns the mean and the logarithm of the variance of the latents' distribution,
// float32[B, H, W, 2·latent_channels], for images x float32[B, F·H, F·W, in_channels] in [-1, 1].
// trace may be nil.
func (v *VAE) Encode(w nn.Weights, x *graph.Node, trace Trace) *graph.Node {
	h := v.encoder
	x = w.Conv(h.name+".conv_in", x, 1)
	for _, b := range h.blocks {
		for _, r := range b.resnets {
			x = r.Apply(w, x, nil)
		}
		if b.sample != "" {
			x = w.ConvPadded(b.sample, x, 2, [2]int{0, 1})
		}
	}
	x = h.middle.apply(w, x, v.Config.NormNumGroups)
	trace.call("encoder_mid_block", x)
	x = h.end(w, x, v.Config.NormNumGroups)
	if v.Config.UseQuantConv {
		x = w.Conv("quant_conv", x, 1)
	}
	return x
}

// Decode returns images float32[B, F·H, F·W, out_channels], about in [-1, 1], for latents z
// float32[B, H, W, latent_channels]. trace may be nil.
func (v *VAE) Decode(w nn.Weights, z *graph.Node, trace Trace) *graph.Node {
	h := v.decoder
	if v.Config.UsePostQuantConv {
		z = w.Conv("post_quant_conv", z, 1)
	}
	x := h.middle.apply(w, w.Conv(h.name+".conv_in", z, 1), v.Config.NormNumGroups)
	trace.call("decoder_mid_block", x)
	for _, b := range h.blocks {
		for _, r := range b.resnets {
			x = r.Apply(w, x, nil)
		}
		if b.sample != "" {
			dims := x.Shape().Dimensions
			x = w.Conv(b.sample, nn.Upsample(x, 2*dims[1], 2*dims[2]), 1)
		}
	}
	return h.end(w, x, v.Config.NormNumGroups)
}

// end is what both halves do last.
func (h half) end(w nn.Weights, x *graph.Node, groups int) *graph.Node {
	return w.Conv(h.name+".conv_out", nn.SiLU(w.GroupNorm(h.name+".conv_norm_out", x, groups, eps)), 1)
}

// Distribution returns the mean, the logarithm of the variance and the standard deviation of
// latents, float32[B, H, W, latent_channels] each, for the result of Encode. The logarithm is
// within -30 and 20, as in diffusers.
func Distribution(moments *graph.Node) (mean, logVariance, std *graph.Node) {
	half := moments.Shape().Dimensions[3] / 2
	parts := nn.Split(moments, 3, half, half)
	logVariance = graph.ClipScalar(parts[1], -30, 20)
	return parts[0], logVariance, graph.Exp(graph.MulScalar(logVariance, .5))
}

// Scaled returns what the denoiser takes for latents.
func (c Config) Scaled(latents *graph.Node) *graph.Node {
	return graph.MulScalar(graph.AddScalar(latents, -c.ShiftFactor), c.ScalingFactor)
}

// Unscaled returns the latents that the denoiser's are.
func (c Config) Unscaled(x *graph.Node) *graph.Node {
	return graph.AddScalar(graph.DivScalar(x, c.ScalingFactor), c.ShiftFactor)
}
