// Package unet is the denoiser of Stable Diffusion 1 and 2: UNet2DConditionModel of diffusers,
// by its config.json and with the names of its files (Rombach et al. 2022, arXiv 2112.10752,
// section 3.3; the code of diffusers 0.42 for what the paper leaves open).
//
// Axis letters: B batch, H and W latent pixels, C channels, S tokens of the text.
package unet

import (
	"encoding/json"
	"fmt"
	"slices"

	"ablate/models/checkpoint"
)

// Config is a config.json.
type Config struct {
	InChannels        int      `json:"in_channels"`
	OutChannels       int      `json:"out_channels"`
	SampleSize        int      `json:"sample_size"` // height and width of latents; 0 if the file has none
	BlockOutChannels  []int    `json:"block_out_channels"`
	LayersPerBlock    List     `json:"layers_per_block"`
	DownBlockTypes    []string `json:"down_block_types"`
	UpBlockTypes      []string `json:"up_block_types"`
	CrossAttentionDim List     `json:"cross_attention_dim"`
	// AttentionHeadDim is the number of heads, in spite of its name, unless NumAttentionHeads
	// has that.
	AttentionHeadDim          List    `json:"attention_head_dim"`
	NumAttentionHeads         List    `json:"num_attention_heads"`
	TransformerLayersPerBlock List    `json:"transformer_layers_per_block"`
	NormNumGroups             int     `json:"norm_num_groups"`
	NormEps                   float64 `json:"norm_eps"`
	UseLinearProjection       bool    `json:"use_linear_projection"`
}

// List is a number for all levels, or one for each.
type List []int

// UnmarshalJSON implements json.Unmarshaler.
func (l *List) UnmarshalJSON(data []byte) error {
	var one *int
	if json.Unmarshal(data, &one) == nil {
		if *l = nil; one != nil {
			*l = List{*one}
		}
		return nil
	}
	var many []int
	if err := json.Unmarshal(data, &many); err != nil {
		return fmt.Errorf("%s is neither a whole number nor a list of them", data)
	}
	*l = many
	return nil
}

// at returns the number of a level.
func (l List) at(level int) int {
	if len(l) == 1 {
		return l[0]
	}
	return l[level]
}

// defaults are what diffusers takes for a key that the file does not have.
func defaults() Config {
	return Config{
		InChannels: 4, OutChannels: 4, BlockOutChannels: []int{320, 640, 1280, 1280}, LayersPerBlock: List{2},
		DownBlockTypes:    []string{crossDown, crossDown, crossDown, plainDown},
		UpBlockTypes:      []string{plainUp, crossUp, crossUp, crossUp},
		CrossAttentionDim: List{1280}, AttentionHeadDim: List{8}, TransformerLayersPerBlock: List{1},
		NormNumGroups: 32, NormEps: 1e-5,
	}
}

const (
	crossDown, plainDown = "CrossAttnDownBlock2D", "DownBlock2D"
	crossUp, plainUp     = "CrossAttnUpBlock2D", "UpBlock2D"
)

// only are the keys that choose another architecture, with what is implemented.
var only = map[string]string{
	"_class_name": `"UNet2DConditionModel"`, "act_fn": `"silu"`, "center_input_sample": `false`, "conv_in_kernel": `3`, "conv_out_kernel": `3`,
	"downsample_padding": `1`, "dropout": `0`, "dual_cross_attention": `false`, "mid_block_only_cross_attention": `false`, "mid_block_scale_factor": `1`,
	"mid_block_type": `"UNetMidBlock2DCrossAttn"`, "only_cross_attention": `false`, "resnet_skip_time_act": `false`, "resnet_time_scale_shift": `"default"`,
	"resnet_out_scale_factor": `1`, "time_embedding_type": `"positional"`, "attention_type": `"default"`, "class_embeddings_concat": `false`,
	"addition_embed_type_num_heads": `64`, "flip_sin_to_cos": `true`, "freq_shift": `0`,
	"upcast_attention": `false|true`, // products and softmax are in float32 here in any case
}

// ReadConfig reads a config.json. An error names the file, the key and its value.
func ReadConfig(path string) (Config, error) {
	c := defaults()
	err := checkpoint.ReadConfig(path, &c, only)
	return c, err
}

// Check returns an error if no network has this configuration.
func (c Config) Check() error {
	n := len(c.BlockOutChannels)
	if n == 0 || n > 8 {
		return fmt.Errorf("block_out_channels has %d levels; must have 1 to 8", n)
	}
	const widest, deepest = 1 << 16, 64
	for _, of := range []struct {
		key    string
		values []int
		most   int
	}{
		{"in_channels", []int{c.InChannels}, widest}, {"out_channels", []int{c.OutChannels}, widest}, {"block_out_channels", c.BlockOutChannels, widest},
		{"layers_per_block", c.LayersPerBlock, deepest}, {"transformer_layers_per_block", c.TransformerLayersPerBlock, deepest},
		{"cross_attention_dim", c.CrossAttentionDim, widest}, {"attention_head_dim", c.AttentionHeadDim, widest}, {"num_attention_heads", c.NumAttentionHeads, widest},
		{"norm_num_groups", []int{c.NormNumGroups}, widest},
	} {
		for _, x := range of.values {
			if x < 1 || x > of.most {
				return fmt.Errorf("%s is %d; must be 1 to %d", of.key, x, of.most)
			}
		}
		if k := len(of.values); k > 1 && k != n {
			return fmt.Errorf("%s has %d numbers, and block_out_channels %d: one for each level, or one for all", of.key, k, n)
		}
	}
	for key, l := range map[string]List{"layers_per_block": c.LayersPerBlock, "transformer_layers_per_block": c.TransformerLayersPerBlock, "cross_attention_dim": c.CrossAttentionDim, "attention_head_dim": c.AttentionHeadDim} {
		if len(l) == 0 {
			return fmt.Errorf("%s has no number", key)
		}
	}
	if !(c.NormEps > 0) || c.SampleSize < 0 {
		return fmt.Errorf("norm_eps is %v and sample_size %d; must be above 0 and at least 0", c.NormEps, c.SampleSize)
	}
	if c.BlockOutChannels[0]%2 != 0 {
		return fmt.Errorf("block_out_channels begins with %d; must be even: half of it are the sines of the time", c.BlockOutChannels[0])
	}
	for _, of := range []struct {
		key   string
		types []string
		known [2]string
	}{{"down_block_types", c.DownBlockTypes, [2]string{crossDown, plainDown}}, {"up_block_types", c.UpBlockTypes, [2]string{crossUp, plainUp}}} {
		if len(of.types) != n {
			return fmt.Errorf("%s has %d blocks, and block_out_channels %d levels", of.key, len(of.types), n)
		}
		for _, t := range of.types {
			if !slices.Contains(of.known[:], t) {
				return fmt.Errorf("%s has a %s: use an engine that has this block", of.key, t)
			}
		}
	}
	for level, channels := range c.BlockOutChannels {
		if channels%c.NormNumGroups != 0 {
			return fmt.Errorf("block_out_channels has %d, which is no multiple of norm_num_groups, %d", channels, c.NormNumGroups)
		}
		if heads := c.heads(level); channels%heads != 0 {
			return fmt.Errorf("block_out_channels has %d, which is no multiple of the %d heads of attention_head_dim or num_attention_heads", channels, heads)
		}
	}
	return nil
}

// heads returns the number of heads of a level's attention.
func (c Config) heads(level int) int {
	if len(c.NumAttentionHeads) > 0 {
		return c.NumAttentionHeads.at(level)
	}
	return c.AttentionHeadDim.at(level)
}
