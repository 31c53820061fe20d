package vae

import (
	"os"
	"path/filepath"
	"slices"
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

const published = `{"_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "in_channels": 3, "latent_channels": 4,
	"down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "layers_per_block": 2,
	"norm_num_groups": 32, "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}`

// TestPublished: the autoencoder of Stable Diffusion has the published number of parameters.
func TestPublished(t *testing.T) {
	c, err := read(t, published)
	if err != nil {
		t.Fatal(err)
	}
	v := New(c)
	params, n := slices.Concat(v.EncoderParams(), v.DecoderParams()), 0
	for _, p := range params {
		n += p.Size()
	}
	if len(params) != 248 || n != 83_653_863 || c.Factor() != 8 || c.ScalingFactor != 0.18215 {
		t.Errorf("%d tensors with %d parameters, factor %d, scale %v; want 248 with 83,653,863, 8, 0.18215", len(params), n, c.Factor(), c.ScalingFactor)
	}
}

// TestConfigErrors: a configuration of another architecture, or of none, names the key and what is
// wrong.
func TestConfigErrors(t *testing.T) {
	for change, want := range map[[2]string]string{
		{`"act_fn": "silu"`, `"act_fn": "relu"`}:           `act_fn is "relu"; must be "silu"`,
		{`"layers_per_block": 2`, `"layers_per_block": 0`}: "layers_per_block is 0; must be 1 to 64",
		{`[128, 256, 512, 512]`, `[128, 256, 512]`}:        "down_block_types has 4 blocks, and block_out_channels 3 levels",
		{`"norm_num_groups": 32`, `"norm_num_groups": 48`}: "block_out_channels has 128, which is no multiple of norm_num_groups, 48",
		{`"in_channels": 3`, `"temporal_layers": [1]`}:     "temporal_layers is [1], and this network has no such part",
		{`"UpDecoderBlock2D"]`, `"AttnUpDecoderBlock2D"]`}: "up_block_types has a AttnUpDecoderBlock2D",
		{`"out_channels": 3`, `"scaling_factor": 0`}:       "scaling_factor is 0",
		{`"sample_size": 512`, `"sample_size": "large"`}:   "sample_size",
	} {
		if _, err := read(t, strings.Replace(published, change[0], change[1], 1)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: error %v, want %q", change[1], err, want)
		}
	}
}
