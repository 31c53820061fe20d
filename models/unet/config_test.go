package unet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t testing.TB, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return ReadConfig(path)
}

// TestPublished: the networks of Stable Diffusion 1 and 2 have the published numbers of parameters,
// of which the paper's authors and diffusers' documentation speak as 860 and 866 million.
func TestPublished(t *testing.T) {
	for _, c := range []struct {
		name, text string
		tensors    int
		parameters int
	}{
		{"1.5", `{"cross_attention_dim": 768, "sample_size": 64, "center_input_sample": false, "attention_head_dim": 8}`, 686, 859_520_964},
		{"2.1", `{"cross_attention_dim": 1024, "sample_size": 96, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": true,
			"dual_cross_attention": false, "num_class_embeds": null, "only_cross_attention": false, "upcast_attention": true}`, 686, 865_910_724},
	} {
		config, err := read(t, c.text)
		if err != nil {
			t.Fatal(err)
		}
		n, params := 0, New(config).Params()
		names := map[string]bool{}
		for _, p := range params {
			n += p.Size()
			names[p.Name] = true
		}
		if len(params) != c.tensors || len(names) != c.tensors || n != c.parameters {
			t.Errorf("%s: %d tensors, %d of different names, with %d parameters; want %d with %d", c.name, len(params), len(names), n, c.tensors, c.parameters)
		}
	}
}

// TestConfigErrors: a configuration of another architecture, or of none, names the key and what is
// wrong.
func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                                       "it is not a JSON object",
		`{"act_fn": "gelu"}`:                       `act_fn is "gelu"; must be "silu": use an engine that has the other form`,
		`{"class_embed_type": "time"}`:             `class_embed_type is "time", and this network has no such part: use an engine that has it`,
		`{"block_out_channels": [320, 640]}`:       "down_block_types has 4 blocks, and block_out_channels 2 levels",
		`{"block_out_channels": [32, 64, 64, 60]}`: "block_out_channels has 60, which is no multiple of norm_num_groups, 32",
		`{"attention_head_dim": [5, 10, 20]}`:      "attention_head_dim has 3 numbers, and block_out_channels 4: one for each level, or one for all",
		`{"attention_head_dim": [7, 10, 20, 20]}`:  "block_out_channels has 320, which is no multiple of the 7 heads",
		`{"attention_head_dim": "8"}`:              `"8" is neither a whole number nor a list of them`,
		`{"attention_head_dim": []}`:               "attention_head_dim has no number",
		`{"layers_per_block": 1000000000}`:         "layers_per_block is 1000000000; must be 1 to 64",
		`{"norm_eps": 0}`:                          "norm_eps is 0",
		`{"up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D", "AttnUpBlock2D"]}`: "up_block_types has a AttnUpBlock2D",
		`{"in_channels": 4, "in_channels": 9}`:                                         `"in_channels" appears twice`,
	} {
		if _, err := read(t, text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// FuzzConfig: a configuration that is accepted has a network.
func FuzzConfig(f *testing.F) {
	f.Add(`{"block_out_channels": [32], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "layers_per_block": [2]}`)
	f.Add(`{"attention_head_dim": [5, 10, 20, 20], "num_attention_heads": null}`)
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := read(t, text); err == nil && len(New(c).Params()) == 0 {
			t.Error("the network has no parameter")
		}
	})
}
