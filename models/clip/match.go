package clip

import (
	"fmt"
	"slices"
	"strings"

	"ablate/models/checkpoint"
)

// Names returns the names that files have for a parameter of a text encoder: only some files
// begin them with text_model.
func Names(parameter string) []string { return []string{"text_model." + parameter, parameter} }

// A size is a key of config.json that also is a dimension of a tensor.
type size struct {
	key    string
	value  int
	tensor string
	axis   int // of the shape in the file
}

// Match returns an error if the tensors of a file contradict the configuration. It names the
// file, the key, and both values. A tensor that is missing is an error of nn.Load.
func (c TextConfig) Match(w *checkpoint.Weights) error { return match(w, Names, c.sizes(), c.Layers) }

// Match is TextConfig.Match for a pair of encoders.
func (c Config) Match(w *checkpoint.Weights) error {
	under := func(prefix string) func(string) []string {
		return func(tensor string) []string { return []string{prefix + tensor} }
	}
	if err := match(w, under(textPrefix), c.Text.sizes(), c.Text.Layers); err != nil {
		return err
	}
	if err := match(w, under(visionPrefix), c.Vision.sizes(), c.Vision.Layers); err != nil {
		return err
	}
	return match(w, under(""), []size{
		{"projection_dim", c.Projection, "text_projection.weight", 0},
		{"projection_dim", c.Projection, "visual_projection.weight", 0},
	}, 0)
}

func (c TextConfig) sizes() []size {
	return []size{
		{"hidden_size", c.Width, "final_layer_norm.weight", 0},
		{"intermediate_size", c.Hidden, "encoder.layers.0.mlp.fc1.weight", 0},
		{"vocab_size", c.Vocabulary, "embeddings.token_embedding.weight", 0},
		{"max_position_embeddings", c.Positions, "embeddings.position_embedding.weight", 0},
	}
}

func (c VisionConfig) sizes() []size {
	return []size{
		{"hidden_size", c.Width, "post_layernorm.weight", 0},
		{"intermediate_size", c.Hidden, "encoder.layers.0.mlp.fc1.weight", 0},
		{"num_channels", c.Channels, "embeddings.patch_embedding.weight", 1},
		{"patch_size", c.PatchSize, "embeddings.patch_embedding.weight", 2},
		{"(image_size / patch_size)² + 1", c.tokens(), "embeddings.position_embedding.weight", 0},
	}
}

func match(w *checkpoint.Weights, names func(string) []string, sizes []size, layers int) error {
	for _, s := range sizes {
		name, t, err := w.Find(names(s.tensor)...)
		if err == nil && (len(t.Shape) <= s.axis || t.Shape[s.axis] != s.value) {
			return fmt.Errorf("%s: tensor %s has the shape %v, and %s is %d in config.json, which must be dimension %d of it: the files are of different models",
				w.File(name), name, t.Shape, s.key, s.value, s.axis)
		}
	}
	if layers == 0 {
		return nil
	}
	// The first layer beyond the configuration would be ignored silently.
	for _, prefix := range names("encoder.layers.") {
		beyond := fmt.Sprintf("%s%d.", prefix, layers)
		all := w.Names()
		if i := slices.IndexFunc(all, func(tensor string) bool { return strings.HasPrefix(tensor, beyond) }); i >= 0 {
			return fmt.Errorf("%s: tensor %s is of layer %d, and num_hidden_layers is %d in config.json: the files are of different models",
				w.File(all[i]), all[i], layers, layers)
		}
	}
	return nil
}
