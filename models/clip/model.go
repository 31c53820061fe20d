package clip

import (
	"fmt"
	"math"
	"path/filepath"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/tokenizer"
)

// A Model is a pair of encoders with weights on a device, and with what prepares their inputs.
type Model struct {
	Config    Config
	Processor Processor
	Tokenizer *tokenizer.CLIP
	Scale     float64 // the learned inverse temperature

	weights       []*tensors.Tensor
	images, texts *backend.Fn
}

// Load loads the model in a folder: a CLIPModel with its tokenizer and its preprocessor_config.json.
func Load(b backend.Backend, dir string) (*Model, error) {
	c, err := Read(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c}
	if m.Processor, err = ReadProcessor(dir); err != nil {
		return nil, err
	}
	if m.Tokenizer, err = tokenizer.OpenCLIP(dir); err != nil {
		return nil, err
	}
	if m.Tokenizer.Size > c.Text.Vocabulary {
		return nil, fmt.Errorf("%s: vocab_size is %d, and the tokenizer has %d tokens", filepath.Join(dir, "config.json"), c.Text.Vocabulary, m.Tokenizer.Size)
	}
	files, err := checkpoint.OpenWeights(dir)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	if err := c.Match(files); err != nil {
		return nil, err
	}
	params := c.Params()
	if m.weights, err = nn.Load(b, files, params, nil); err != nil {
		return nil, err
	}
	for i, p := range params {
		if p.Name == "logit_scale" {
			m.Scale = math.Exp(float64(backend.Float32s(m.weights[i])[0]))
		}
	}
	if m.images, err = backend.NewFn(b, "clip images", 0, func(in []*graph.Node) []*graph.Node {
		features, _ := c.EncodeImage(nn.Bind(params, in[1:]), in[0])
		return []*graph.Node{features}
	}); err != nil {
		return nil, err
	}
	m.texts, err = backend.NewFn(b, "clip texts", 0, func(in []*graph.Node) []*graph.Node {
		features, _ := c.EncodeText(nn.Bind(params, in[1:]), in[0], nil)
		return []*graph.Node{features}
	})
	return m, err
}

// Free releases the weights.
func (m *Model) Free() { backend.Free(m.weights...) }

// Images returns the features float32[n, E] of n images that image returns, batch at a time.
func (m *Model) Images(n, batch int, image func(i int) (Image, error)) ([]float32, error) {
	v := m.Config.Vision
	return m.features(m.images, n, batch, func(rows []int) (*tensors.Tensor, error) {
		var x []float32
		for _, i := range rows {
			im, err := image(i)
			if err != nil {
				return nil, err
			}
			if im, err = m.Processor.Resized(im); err != nil {
				return nil, err
			}
			im = m.Processor.Cropped(im)
			if im.Height != v.ImageSize || im.Width != v.ImageSize {
				return nil, fmt.Errorf("preprocessor_config.json makes images of %d × %d pixels, and image_size of the model is %d", im.Height, im.Width, v.ImageSize)
			}
			x = append(x, m.Processor.Pixels(im)...)
		}
		return tensors.FromFlatDataAndDimensions(x, len(rows), v.ImageSize, v.ImageSize, v.Channels), nil
	})
}

// Texts returns the features float32[n, E] of prompts, batch at a time. Of a prompt with more tokens
// than the model takes, the last are not read.
func (m *Model) Texts(prompts []string, batch int) ([]float32, error) {
	length := m.Config.Text.Positions
	return m.features(m.texts, len(prompts), batch, func(rows []int) (*tensors.Tensor, error) {
		var ids []int32
		for _, i := range rows {
			own, _ := m.Tokenizer.Encode(prompts[i], length)
			ids = append(ids, own...)
		}
		return tensors.FromFlatDataAndDimensions(ids, len(rows), length), nil
	})
}

// features calls a function for batches of rows. The last batch is filled up with its last row, so
// that it has the shape of the others.
func (m *Model) features(fn *backend.Fn, n, batch int, input func(rows []int) (*tensors.Tensor, error)) ([]float32, error) {
	var all []float32
	if n == 0 {
		return nil, nil
	}
	batch = min(batch, n)
	for from := 0; from < n; from += batch {
		rows := make([]int, batch)
		for i := range rows {
			rows[i] = min(from+i, n-1)
		}
		in, err := input(rows)
		if err != nil {
			return nil, err
		}
		out, err := fn.Call(append([]*tensors.Tensor{in}, m.weights...)...)
		backend.Free(in)
		if err != nil {
			return nil, err
		}
		all = append(all, backend.Float32s(out[0])[:min(batch, n-from)*m.Config.Projection]...)
		backend.Free(out...)
	}
	return all, nil
}

// WriteRandom writes a tiny model of random weights, with which everything can be tried and nothing
// is shown.
func WriteRandom(dir string, seed int64) error {
	const width, tokens, size = 32, 77, 32
	vocabulary, err := tokenizer.WriteBytes(dir, tokens)
	if err != nil {
		return err
	}
	encoder := func(more map[string]any) map[string]any {
		for key, value := range map[string]any{"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4,
			"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": width} {
			more[key] = value
		}
		return more
	}
	square := map[string]any{"height": size, "width": size}
	for name, config := range map[string]any{
		"config.json": map[string]any{"model_type": "clip", "architectures": []string{"CLIPModel"}, "projection_dim": width,
			"text_config": encoder(map[string]any{"model_type": "clip_text_model", "max_position_embeddings": tokens, "vocab_size": vocabulary,
				"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}),
			"vision_config": encoder(map[string]any{"model_type": "clip_vision_model", "image_size": size, "patch_size": 8, "num_channels": 3})},
		"preprocessor_config.json": map[string]any{"image_processor_type": "CLIPImageProcessor", "size": map[string]any{"shortest_edge": size}, "crop_size": square, "resample": bicubic,
			"rescale_factor": 1. / 255, "image_mean": means, "image_std": deviations},
	} {
		if err := checkpoint.WriteJSON(filepath.Join(dir, name), config); err != nil {
			return err
		}
	}
	c, err := Read(dir)
	if err != nil {
		return err
	}
	params := c.Params()
	return checkpoint.WriteFile(filepath.Join(dir, "model.safetensors"), nn.Filed(params, nn.Init(params, random.Stream(seed, "checkpoint", "clip", 0))))
}
