// Package stable loads checkpoints of Stable Diffusion 1 and 2, in the layout of diffusers, and
// draws from them (Rombach et al. 2022, arXiv 2112.10752).
//
// Axis letters: B images, H and W pixels of latents, C channels of latents, S tokens of a prompt,
// D width of their states.
package stable

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/scheduler"
	"ablate/models/tokenizer"
	"ablate/models/unet"
	"ablate/models/vae"
)

// A Checkpoint has the parts of a pipeline, without weights.
type Checkpoint struct {
	Dir       string
	Tokenizer *tokenizer.CLIP
	Text      clip.TextConfig
	UNet      *unet.UNet
	VAE       *vae.VAE
	Scheduler scheduler.Config // of the folder; another class is chosen by scheduler.Read

	// Precision is that in which the denoiser and the text encoder compute. Their norms, softmax
	// and losses, the samplers, and the VAE are float32.
	Precision Precision
	// Kept is that in which the denoiser's weights are on the device: Precision, or float32 while
	// they change.
	Kept Precision
	// OHWI is the order of kernels on the device: set it where that is a GPU (nn.Ordered).
	OHWI bool
	// Flash says that cuDNN computes attention, on a GPU with BFloat16 (nn.Saving).
	Flash bool
}

// A Precision is a type of numbers, by its name in PyTorch. The zero Precision is Float32.
type Precision string

// Precisions.
const (
	Float32  Precision = "float32"
	BFloat16 Precision = "bfloat16"
)

func (p Precision) dtype() dtypes.DType {
	if p == BFloat16 {
		return dtypes.BFloat16
	}
	return dtypes.Float32
}

// The parameters as they are on the device; those of the denoiser while they are trained are float32.
func (c *Checkpoint) textParams() []nn.Param    { return nn.As(c.Text.Params(), c.Precision.dtype()) }
func (c *Checkpoint) unetParams() []nn.Param    { return nn.As(c.trainedParams(), c.Kept.dtype()) }
func (c *Checkpoint) trainedParams() []nn.Param { return nn.Ordered(c.UNet.Params(), c.OHWI) }
func (c *Checkpoint) encoderParams() []nn.Param { return nn.Ordered(c.VAE.EncoderParams(), c.OHWI) }
func (c *Checkpoint) decoderParams() []nn.Param { return nn.Ordered(c.VAE.DecoderParams(), c.OHWI) }

// Round converts the denoiser's weights to Precision.
func (c *Checkpoint) Round(b backend.Backend, w *Weights) (err error) {
	if c.Kept.dtype() != c.Precision.dtype() {
		w.UNet, err = nn.Round(b, w.UNet, c.Precision.dtype())
		c.Kept = c.Precision
	}
	return err
}

// parts are the components of a pipeline, with the class that is implemented.
var parts = map[string]string{"text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}

// Open reads the configurations of a checkpoint's folder, and checks that its parts fit together.
// A part that is missing, or of another class, is an error; a safety checker and a feature
// extractor are not used.
func Open(dir string) (*Checkpoint, error) {
	index := filepath.Join(dir, "model_index.json")
	var classes map[string]any
	if err := checkpoint.ReadJSON(index, &classes, false); err != nil {
		return nil, err
	}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		of, ok := classes[part].([]any)
		if !ok || len(of) != 2 {
			return nil, fmt.Errorf("%s: it has no %s: it is not a pipeline of Stable Diffusion 1 or 2; use an engine", index, part)
		}
		class := fmt.Sprint(of[1])
		if class != parts[part] && class != parts[part]+"Fast" {
			return nil, fmt.Errorf("%s: %s is a %s; must be a %s: it is not a pipeline of Stable Diffusion 1 or 2; use an engine", index, part, class, parts[part])
		}
	}
	c := &Checkpoint{Dir: dir}
	var err error
	if c.Tokenizer, err = tokenizer.OpenCLIP(filepath.Join(dir, "tokenizer")); err != nil {
		return nil, err
	}
	if c.Text, err = clip.ReadText(filepath.Join(dir, "text_encoder")); err != nil {
		return nil, err
	}
	u, err := unet.ReadConfig(c.path("unet"))
	if err != nil {
		return nil, err
	}
	v, err := vae.ReadConfig(c.path("vae"))
	if err != nil {
		return nil, err
	}
	c.UNet, c.VAE = unet.New(u), vae.New(v)
	if c.Scheduler, err = scheduler.Read(filepath.Join(dir, "scheduler", "scheduler_config.json"), ""); err != nil {
		return nil, err
	}
	return c, c.check()
}

// path returns a component's config.json.
func (c *Checkpoint) path(component string) string {
	return filepath.Join(c.Dir, component, "config.json")
}

// check returns an error if the parts do not fit together.
func (c *Checkpoint) check() error {
	u, v := c.UNet.Config, c.VAE.Config
	for _, width := range u.CrossAttentionDim {
		if width != c.Text.Width {
			return fmt.Errorf("%s: cross_attention_dim is %d, and hidden_size of %s is %d: they must be equal", c.path("unet"), width, c.path("text_encoder"), c.Text.Width)
		}
	}
	if u.InChannels != v.LatentChannels || u.OutChannels != u.InChannels {
		return fmt.Errorf("%s: in_channels is %d and out_channels %d, and latent_channels of %s is %d: they must be equal; a model that also reads a mask or a picture needs an engine",
			c.path("unet"), u.InChannels, u.OutChannels, c.path("vae"), v.LatentChannels)
	}
	if v.InChannels != 3 || v.OutChannels != 3 {
		return fmt.Errorf("%s: in_channels is %d and out_channels %d; must be 3: red, green and blue", c.path("vae"), v.InChannels, v.OutChannels)
	}
	if c.Tokenizer.Size > c.Text.Vocabulary {
		return fmt.Errorf("%s: vocab_size is %d, and the tokenizer has %d tokens", c.path("text_encoder"), c.Text.Vocabulary, c.Tokenizer.Size)
	}
	return nil
}

// Tokens is the number of ids of a prompt.
func (c *Checkpoint) Tokens() int {
	if n := c.Tokenizer.Length; n > 0 {
		return min(n, c.Text.Positions)
	}
	return c.Text.Positions
}

// Pixels returns the height and width of images, by default those that the denoiser was trained
// on.
func (c *Checkpoint) Pixels() (height, width int) {
	size := c.UNet.Config.SampleSize * c.VAE.Config.Factor()
	if size == 0 {
		size = c.VAE.Config.SampleSize
	}
	return size, size
}

// Weights are the parameters of a checkpoint on a device, in the order of their parts' Params.
type Weights struct{ Text, UNet, Encoder, Decoder []*tensors.Tensor }

// Load sends the weights to the device.
func (c *Checkpoint) Load(b backend.Backend) (w Weights, err error) {
	defer func() {
		if err != nil {
			w.Free()
		}
	}()
	if w.Text, err = load(b, filepath.Join(c.Dir, "text_encoder"), c.textParams(), clip.Names); err != nil {
		return w, err
	}
	if w.UNet, err = load(b, filepath.Join(c.Dir, "unet"), c.unetParams(), nil); err != nil {
		return w, err
	}
	if w.Encoder, err = load(b, filepath.Join(c.Dir, "vae"), c.encoderParams(), vae.Names); err != nil {
		return w, err
	}
	w.Decoder, err = load(b, filepath.Join(c.Dir, "vae"), c.decoderParams(), vae.Names)
	return w, err
}

// load sends parameters in a component's folder to the device.
func load(b backend.Backend, dir string, params []nn.Param, names func(string) []string) ([]*tensors.Tensor, error) {
	files, err := checkpoint.OpenWeights(dir)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	return nn.Load(b, files, params, names)
}

// LoadUNet sends other weights of the denoiser to the device, those in a folder's folder unet.
func (c *Checkpoint) LoadUNet(b backend.Backend, dir string) ([]*tensors.Tensor, error) {
	dir = filepath.Join(dir, "unet")
	config, err := unet.ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(config, c.UNet.Config) {
		return nil, fmt.Errorf("%s is of another network than %s", filepath.Join(dir, "config.json"), c.path("unet"))
	}
	return load(b, dir, c.unetParams(), nil)
}

// Adapt adds the updates of a file to the denoiser's weights.
func (c *Checkpoint) Adapt(b backend.Backend, w *Weights, file string) error {
	a, err := lora.Read(file, "unet", c.UNet.Params())
	if err != nil {
		return err
	}
	w.UNet, err = a.Merge(b, c.unetParams(), w.UNet, 1)
	return err
}

// Files returns the files of a checkpoint's folder that are read, relative to it: configurations,
// the tokenizer's, and weights in one format.
func Files(dir string) ([]string, error) {
	out := []string{"model_index.json", "scheduler/scheduler_config.json"}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		if part == "tokenizer" {
			list, err := os.ReadDir(filepath.Join(dir, part))
			if err != nil {
				return nil, err
			}
			for _, f := range list {
				if ext := filepath.Ext(f.Name()); f.Type().IsRegular() && (ext == ".json" || ext == ".txt") {
					out = append(out, part+"/"+f.Name())
				}
			}
			continue
		}
		w, err := checkpoint.OpenWeights(filepath.Join(dir, part))
		if err != nil {
			return nil, err
		}
		for _, name := range append(w.Files(), "config.json") {
			out = append(out, part+"/"+name)
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return out, nil
}

// Free releases the arrays.
func (w Weights) Free() {
	for _, x := range [][]*tensors.Tensor{w.Text, w.UNet, w.Encoder, w.Decoder} {
		backend.Free(x...)
	}
}
