package modeltest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Published changes the configurations of a checkpoint's folder in the layout of diffusers to the
// sizes of Stable Diffusion 1.5. Its weights no longer fit.
func Published(t testing.TB, dir string) {
	t.Helper()
	for part, config := range map[string]map[string]any{
		"text_encoder": {"model_type": "clip_text_model", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
			"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 77, "vocab_size": 49408, "projection_dim": 768, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
		"unet": {"cross_attention_dim": 768},
		"vae": {"sample_size": 512, "block_out_channels": []int{128, 256, 512, 512}, "layers_per_block": 2,
			"down_block_types": []string{"DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"},
			"up_block_types":   []string{"UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"}},
	} {
		text, err := json.Marshal(config)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, part, "config.json"), text, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
