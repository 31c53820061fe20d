// Package clip has CLIP's text encoder, which is Stable Diffusion's, its image encoder, and the
// two together (Radford et al. 2021, arXiv 2103.00020), as transformers defines them:
// CLIPTextModel, CLIPVisionModel and CLIPModel, by the config.json of a checkpoint and with the
// parameters of its files. Processor makes the pixels that the image encoder reads.
//
// Axis letters: B batch, T tokens, D width, H heads, S size of an image, C channels, E width of
// the projected features. Parameters have the names of the files; a text encoder's without the
// prefix text_model., which only some files have. The tensors position_ids of files are unused.
package clip

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/checkpoint"
)

// Config is a pair of encoders, CLIPModel.
type Config struct {
	Text       TextConfig
	Vision     VisionConfig
	Projection int // width E of the features that both encoders' outputs are projected to
}

// Encoder is the transformer that both encoders have.
type Encoder struct {
	Width      int     `json:"hidden_size"`
	Hidden     int     `json:"intermediate_size"` // of the perceptrons
	Layers     int     `json:"num_hidden_layers"`
	Heads      int     `json:"num_attention_heads"`
	Activation string  `json:"hidden_act"`
	Epsilon    float64 `json:"layer_norm_eps"`
}

// TextConfig is a text encoder, CLIPTextModel.
type TextConfig struct {
	Encoder
	Vocabulary int `json:"vocab_size"`
	Positions  int `json:"max_position_embeddings"` // tokens of a prompt at most
	End        int `json:"eos_token_id"`            // see Encode
}

// VisionConfig is an image encoder, CLIPVisionModel.
type VisionConfig struct {
	Encoder
	ImageSize int `json:"image_size"`
	PatchSize int `json:"patch_size"`
	Channels  int `json:"num_channels"`
}

// legacyEnd is the eos_token_id of configurations from before 2023. It is not the id of the end
// token, which is then the largest id of a prompt.
const legacyEnd = 2

// textDefaults and visionDefaults are the values of keys that a configuration does not have.
func textDefaults() TextConfig {
	return TextConfig{Encoder{512, 2048, 12, 8, quickGELU, 1e-5}, 49408, 77, 49407}
}

func visionDefaults() VisionConfig {
	return VisionConfig{Encoder{768, 3072, 12, 12, quickGELU, 1e-5}, 224, 32, 3}
}

// file is a config.json. CLIPTextModel's has the fields of a text encoder themselves. Old files
// of CLIPModel have the keys that differ from the defaults a second time, in …_dict, and those
// count.
type file struct {
	Type       string          `json:"model_type"`
	Text       json.RawMessage `json:"text_config"`
	TextDict   json.RawMessage `json:"text_config_dict"`
	Vision     json.RawMessage `json:"vision_config"`
	VisionDict json.RawMessage `json:"vision_config_dict"`
	Projection int             `json:"projection_dim"`
}

// ReadText reads the config.json in the folder of a text encoder.
func ReadText(dir string) (TextConfig, error) {
	c, path := textDefaults(), filepath.Join(dir, "config.json")
	if err := checkType(path, "clip_text_model", "CLIPTextModel"); err != nil {
		return c, err
	}
	if err := checkpoint.ReadJSON(path, &c, false); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Read reads the config.json in the folder of a CLIPModel.
func Read(dir string) (Config, error) {
	c, path := Config{Text: textDefaults(), Vision: visionDefaults()}, filepath.Join(dir, "config.json")
	if err := checkType(path, "clip", "CLIPModel"); err != nil {
		return c, err
	}
	f := file{Projection: 512}
	if err := checkpoint.ReadJSON(path, &f, false); err != nil {
		return c, err
	}
	c.Projection = f.Projection
	decode := func(key string, plain, dict json.RawMessage, v any) error {
		if len(dict) > 0 && string(dict) != "null" {
			key, plain = key+"_dict", dict
		}
		if len(plain) == 0 {
			return nil
		}
		if err := json.Unmarshal(plain, v); err != nil {
			return fmt.Errorf("%s: %s: %w", path, key, err)
		}
		return nil
	}
	if err := decode("text_config", f.Text, f.TextDict, &c.Text); err != nil {
		return c, err
	}
	if err := decode("vision_config", f.Vision, f.VisionDict, &c.Vision); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func checkType(path, want, class string) error {
	var f file
	if err := checkpoint.ReadJSON(path, &f, false); err != nil {
		return err
	}
	if f.Type != want {
		return fmt.Errorf("%s: model_type is %q: that of a %s is %q", path, f.Type, class, want)
	}
	return nil
}

// Check returns an error for a configuration that is not valid.
func (c Config) Check() error {
	if err := c.Text.Check(); err != nil {
		return fmt.Errorf("text_config: %w", err)
	}
	if err := c.Vision.Check(); err != nil {
		return fmt.Errorf("vision_config: %w", err)
	}
	return whole("projection_dim", c.Projection, 1<<20)
}

// Check returns an error for a configuration that is not valid.
func (c TextConfig) Check() error {
	if err := c.Encoder.check(); err != nil {
		return err
	}
	if err := whole("vocab_size", c.Vocabulary, 1<<24); err != nil {
		return err
	}
	if err := whole("max_position_embeddings", c.Positions, 1<<20); err != nil {
		return err
	}
	if c.End < 0 || c.End >= c.Vocabulary {
		return fmt.Errorf("eos_token_id is %d and vocab_size %d: the id must be from 0 to one less than the size", c.End, c.Vocabulary)
	}
	return nil
}

// Check returns an error for a configuration that is not valid.
func (c VisionConfig) Check() error {
	if err := c.Encoder.check(); err != nil {
		return err
	}
	if err := whole("image_size", c.ImageSize, 1<<14); err != nil {
		return err
	}
	if err := whole("num_channels", c.Channels, 1<<10); err != nil {
		return err
	}
	if c.PatchSize < 1 || c.PatchSize > c.ImageSize {
		return fmt.Errorf("patch_size is %d and image_size %d: a patch must have at least one pixel and fit into the image", c.PatchSize, c.ImageSize)
	}
	return nil
}

func (c Encoder) check() error {
	if err := whole("hidden_size", c.Width, 1<<20); err != nil {
		return err
	}
	if err := whole("intermediate_size", c.Hidden, 1<<20); err != nil {
		return err
	}
	if err := whole("num_hidden_layers", c.Layers, 1<<10); err != nil {
		return err
	}
	if c.Heads < 1 || c.Width%c.Heads != 0 {
		return fmt.Errorf("hidden_size is %d and num_attention_heads %d: the width must be a multiple of the number of heads", c.Width, c.Heads)
	}
	if activations[c.Activation] == nil {
		return fmt.Errorf("hidden_act is %q: it must be %s", c.Activation, strings.Join(slices.Sorted(maps.Keys(activations)), " or "))
	}
	if !(c.Epsilon > 0 && c.Epsilon < 1) {
		return fmt.Errorf("layer_norm_eps is %v: it must be greater than 0 and less than 1", c.Epsilon)
	}
	return nil
}

func whole(key string, value, most int) error {
	if value < 1 || value > most {
		return fmt.Errorf("%s is %d: it must be from 1 to %d", key, value, most)
	}
	return nil
}
