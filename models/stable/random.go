package stable

import (
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/tokenizer"
	"ablate/models/vae"
)

// WriteRandom writes a tiny checkpoint of random weights, with which everything can be tried and
// nothing is shown: 0.2 million weights, images of 32 × 32 pixels.
func WriteRandom(dir string, seed int64) error {
	const width, tokens = 32, 77
	for _, part := range []string{"tokenizer", "scheduler", "text_encoder", "unet", "vae"} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o777); err != nil {
			return err
		}
	}
	vocabulary, err := tokenizer.WriteBytes(filepath.Join(dir, "tokenizer"), tokens)
	if err != nil {
		return err
	}
	of := func(library, class string) []string { return []string{library, class} }
	index := map[string]any{"_class_name": "StableDiffusionPipeline", "scheduler": of("diffusers", "DDIMScheduler"), "text_encoder": of("transformers", "CLIPTextModel"),
		"tokenizer": of("transformers", "CLIPTokenizer"), "unet": of("diffusers", "UNet2DConditionModel"), "vae": of("diffusers", "AutoencoderKL"),
		"safety_checker": []any{nil, nil}, "feature_extractor": []any{nil, nil}, "requires_safety_checker": false}
	configs := map[string]any{
		"model_index.json": index,
		"scheduler/scheduler_config.json": map[string]any{"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": .00085, "beta_end": .012,
			"beta_schedule": "scaled_linear", "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1, "prediction_type": "epsilon"},
		"text_encoder/config.json": map[string]any{"model_type": "clip_text_model", "architectures": []string{"CLIPTextModel"}, "hidden_size": width, "intermediate_size": 2 * width,
			"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": tokens,
			"vocab_size": vocabulary, "projection_dim": width, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
		"unet/config.json": map[string]any{"_class_name": "UNet2DConditionModel", "sample_size": 16, "block_out_channels": []int{16, 32}, "layers_per_block": 1,
			"down_block_types": []string{"CrossAttnDownBlock2D", "DownBlock2D"}, "up_block_types": []string{"UpBlock2D", "CrossAttnUpBlock2D"},
			"cross_attention_dim": width, "attention_head_dim": 4, "norm_num_groups": 8},
		"vae/config.json": map[string]any{"_class_name": "AutoencoderKL", "sample_size": 32, "block_out_channels": []int{8, 16}, "layers_per_block": 1,
			"down_block_types": []string{"DownEncoderBlock2D", "DownEncoderBlock2D"}, "up_block_types": []string{"UpDecoderBlock2D", "UpDecoderBlock2D"}, "norm_num_groups": 8},
	}
	for name, config := range configs {
		if err := checkpoint.WriteJSON(filepath.Join(dir, filepath.FromSlash(name)), config); err != nil {
			return err
		}
	}
	c, err := Open(dir)
	if err != nil {
		return err
	}
	write := func(file, prefix string, params ...nn.Param) error {
		tensors := map[string]checkpoint.Tensor{}
		for name, x := range nn.Filed(params, nn.Init(params, random.Stream(seed, "checkpoint", file, 0))) {
			tensors[prefix+name] = x
		}
		return checkpoint.WriteFile(filepath.Join(dir, filepath.FromSlash(file)), tensors)
	}
	if err := write("text_encoder/model.safetensors", "text_model.", c.Text.Params()...); err != nil {
		return err
	}
	if err := write("unet/diffusion_pytorch_model.safetensors", "", c.UNet.Params()...); err != nil {
		return err
	}
	return write("vae/diffusion_pytorch_model.safetensors", "", append(c.VAE.EncoderParams(), c.VAE.DecoderParams()...)...)
}

// Published changes the configurations of a checkpoint's folder that WriteRandom wrote to the sizes of
// Stable Diffusion 1.5. Its weights no longer fit.
func Published(dir string) error {
	for part, config := range map[string]map[string]any{
		"text_encoder": {"model_type": "clip_text_model", "architectures": []string{"CLIPTextModel"}, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
			"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 77, "vocab_size": 49408, "projection_dim": 768, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
		"unet": {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768, "sample_size": 64},
		"vae": {"_class_name": "AutoencoderKL", "sample_size": 512, "block_out_channels": []int{128, 256, 512, 512}, "layers_per_block": 2,
			"down_block_types": []string{"DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"},
			"up_block_types":   []string{"UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"}},
	} {
		if err := checkpoint.WriteJSON(filepath.Join(dir, part, "config.json"), config); err != nil {
			return err
		}
	}
	return nil
}

// WritePublished writes a checkpoint with the sizes of Stable Diffusion 1.5 and random weights of 16
// bits, 2.1 GB. It draws one array at a time.
func WritePublished(dir string, seed int64) error {
	if err := WriteRandom(dir, seed); err != nil {
		return err
	}
	if err := Published(dir); err != nil {
		return err
	}
	c, err := Open(dir)
	if err != nil {
		return err
	}
	write := func(file string, names func(string) []string, params ...nn.Param) error {
		arrays := map[string]checkpoint.Source{}
		for _, p := range params {
			name, shape := p.Name, p.Shape
			if names != nil {
				name = names(name)[0]
			}
			if len(shape) == 4 {
				shape = []int{shape[3], shape[2], shape[0], shape[1]}
			}
			arrays[name] = checkpoint.Source{DType: "BF16", Shape: shape, Write: func(w io.Writer) error {
				var b []byte
				for _, x := range nn.Init([]nn.Param{p}, random.Stream(seed, "published", name, 0))[p.Name] {
					b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(x)>>16))
				}
				_, err := w.Write(b)
				return err
			}}
		}
		p, err := checkpoint.Prepare(filepath.Join(dir, filepath.FromSlash(file)), arrays)
		if err != nil {
			return err
		}
		return p.Publish()
	}
	if err := write("text_encoder/model.safetensors", clip.Names, c.Text.Params()...); err != nil {
		return err
	}
	if err := write("unet/diffusion_pytorch_model.safetensors", nil, c.UNet.Params()...); err != nil {
		return err
	}
	return write("vae/diffusion_pytorch_model.safetensors", vae.Names, append(c.VAE.EncoderParams(), c.VAE.DecoderParams()...)...)
}
