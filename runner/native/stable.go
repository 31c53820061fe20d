package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/models/random"
	"ablate/models/scheduler"
	"ablate/models/stable"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
	"ablate/runner/hub"
)

// This file is the engine of Stable Diffusion 1 and 2: models/stable behind the protocol. Its
// parameters, its noise and its checkpoints are those of the diffusers engine, so that a study runs
// on either by its command. clip.go has its verbs score and embed.

// A diffusion is the engine in a process. It keeps the model of the last task.
type diffusion struct {
	open    func(gpus int) (backend.Backend, error)
	b       backend.Backend
	gpu     bool   // b is on a GPU
	chain   string // ids of the checkpoint and of what it is based on, and how it computes
	model   *stable.Checkpoint
	weights stable.Weights
	sampler *stable.Sampler

	clip     *clip.Model
	clipName string

	memory map[string]int64 // of estimated tasks
}

func (d *diffusion) do(ctx context.Context, t *kit.Task) error {
	return map[string]func(context.Context, *kit.Task) error{
		engine.Load: d.load, engine.Sample: d.sample, engine.Train: d.train, engine.Score: d.score, engine.Embed: d.embed}[t.Verb](ctx, t)
}

const (
	diffusersFormat, adapterFormat = "diffusers", "diffusers-lora"
	unetPart                       = "unet"
	adapterFile                    = "pytorch_lora_weights.safetensors"
	tinyName, tinyCLIP             = "tiny-sd", "tiny-clip"
)

// describeDiffusion returns what the engine can do. Raise the revision of a verb when what it makes
// of a task changes, and the number in the identity when a network's values do.
func describeDiffusion() engine.Description {
	return engine.Description{
		Protocols: []int{engine.Protocol}, Name: "ablate-stable-diffusion", Version: "1", Identity: "stable diffusion 1", Understands: []string{"emit:noise"},
		Environment: engine.Environment{Packages: []string{backend.PluginPackage + "==" + backend.PluginVersion}},
		Verbs: map[string]*engine.Verb{
			engine.Load:   {Revision: 1, Serve: true, Params: json.RawMessage(nameSchema)},
			engine.Sample: {Revision: 1, Serve: true, Estimate: true, Noise: "torch-cpu", Formats: []string{diffusersFormat, adapterFormat}, Params: json.RawMessage(drawSchema)},
			engine.Train:  describeTraining(),
			engine.Score: {Revision: 1, Serve: true, Params: json.RawMessage(scoreSchema),
				Columns: map[string]engine.Column{cosineColumn: {Kind: "real"}, "pickscore": {Kind: "real"}, "hpsv2": {Kind: "real"}}},
			engine.Embed: {Revision: 1, Serve: true, Params: json.RawMessage(embedSchema)},
		},
		Probe: map[string]json.RawMessage{
			engine.Load:   json.RawMessage(`{"name": "tiny-sd"}`),
			engine.Sample: json.RawMessage(`{"scheduler": "ddim", "steps": 3, "guidance": 3.0, "eta": 0.5, "spacing": "leading", "width": 32, "height": 32, "batch": 4, "dtype": "float32"}`),
			engine.Train:  json.RawMessage(fineProbe),
			engine.Score:  json.RawMessage(`{"model": "tiny-clip", "batch": 4}`), engine.Embed: json.RawMessage(`{"model": "tiny-clip", "batch": 4}`),
		},
	}
}

const nameSchema = `{"type": "object", "properties": {
  "name": {"type": "string", "default": "stable-diffusion-v1-5/stable-diffusion-v1-5", "description": "a folder, from that of cue.mod or below $ABLATE_MODELS, a repository in the Hugging Face cache (ORG/NAME or ORG/NAME@REVISION), or tiny-sd: a random model for tests"}}}`

const drawSchema = `{"type": "object", "properties": {
  "scheduler": {"type": "string", "enum": ["checkpoint", "ddim", "ddpm", "pndm", "euler", "dpmsolver++"], "default": "ddim", "description": "the sampler; checkpoint: as the model's folder has it", "x-probe": ["ddim", "euler"]},
  "steps": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 30, "description": "calls of the model for one image", "x-unit": "steps", "x-probe": [2, 4]},
  "guidance": {"type": "number", "minimum": 0, "default": 7.5, "description": "scale of classifier-free guidance; 1 and less: none", "x-probe": [1.0, 7.5]},
  "eta": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "noise added in each step, as a part of DDPM's", "x-unused": {"scheduler": ["checkpoint", "ddpm", "pndm", "euler", "dpmsolver++"]}, "x-probe": [0.0, 1.0]},
  "spacing": {"type": "string", "enum": ["leading", "trailing", "linspace"], "default": "leading", "description": "how the steps lie in time", "x-unused": {"scheduler": ["checkpoint"]}, "x-probe": ["leading", "trailing"]},
  "karras": {"type": "boolean", "default": false, "description": "noise levels of Karras et al. 2022", "x-unused": {"scheduler": ["checkpoint", "ddim", "ddpm", "pndm"]}},
  "width": {"type": "integer", "minimum": 16, "maximum": 8192, "default": 512, "description": "of a picture", "x-unit": "pixels", "x-probe": [32, 64]},
  "height": {"type": "integer", "minimum": 16, "maximum": 8192, "default": 512, "description": "of a picture", "x-unit": "pixels", "x-probe": [32, 64]},
  "batch": {"type": "integer", "minimum": 1, "default": 8, "description": "images at a time; changes rounding only", "x-unit": "images", "x-identity": "record"},
  "dtype": {"type": "string", "enum": ["float32", "bfloat16"], "default": "float32", "description": "of the weights and of the products, but not of norms, the softmax, the sampler and the VAE; float16, which is not here, overflows in some models", "x-probe": ["float32", "bfloat16"]},
  ` + attentionSchema + `}}`

const attentionSchema = `"attention": {"type": "string", "enum": ["plain", "flash"], "default": "plain", "description": "flash: cuDNN computes long self-attentions, without the scores in memory. It needs a GPU, and its results were not compared with the plain ones on a GPU yet", "x-unused": {"dtype": ["float32"]}}`

// numeric has the parameters of sample and train that say how the denoiser computes.
type numeric struct {
	Precision stable.Precision `json:"dtype"`
	Attention string           `json:"attention"`
}

// load names a model: a checkpoint folder, which stays where it is, or one of random weights.
func (d *diffusion) load(_ context.Context, t *kit.Task) error {
	var p struct {
		Name string `json:"name"`
	}
	if err := t.Decode(&p); err != nil {
		return err
	}
	out, err := t.Out(engine.CheckpointRole)
	if err != nil {
		return err
	}
	about := engine.Checkpoint{Format: diffusersFormat}
	dir, err := checkpointOf(p.Name, out)
	if err != nil {
		return err
	}
	if dir != out {
		about.Root = dir
		if about.Files, err = stable.Files(dir); err != nil {
			return kit.Refuse("name: %w", err)
		}
	}
	c, err := stable.Open(dir)
	if err != nil {
		return kit.Refuse("name: %w", err)
	}
	about.Facts = map[string]any{"latent_channels": c.VAE.Config.LatentChannels, "latent_factor": c.VAE.Config.Factor(), "prediction": c.Scheduler.Prediction}
	return kit.WriteJSON(filepath.Join(out, checkpointFile), about)
}

// checkpointOf returns the folder of a checkpoint by its name. A random one is made in a folder.
func checkpointOf(name, random string) (string, error) {
	if name == tinyName {
		return random, stable.WriteRandom(random, 1)
	}
	dir, err := found(name, "model_index.json")
	if err != nil {
		return "", kit.Refuse("name: %w", err)
	}
	return dir, nil
}

// found returns the folder of a model, which has a file.
func found(name, file string) (string, error) {
	for _, root := range []string{os.Getenv("ABLATE_ROOT"), os.Getenv("ABLATE_MODELS")} {
		dir := name
		if !filepath.IsAbs(name) {
			if root == "" {
				continue
			}
			dir = filepath.Join(root, name)
		}
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	dir, err := hub.Find(name)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	return dir, err
}

// computes opens the backend if it is not open yet.
func (d *diffusion) computes(t *kit.Task) (err error) {
	if d.b == nil {
		d.gpu = t.Resources.GPUs > 0
		d.b, err = d.open(t.Resources.GPUs)
	}
	return err
}

// loaded loads the model of a task's checkpoint: a folder, and what fine-tunings of it have changed.
// The denoiser's weights are kept as float32 where a training is to change them.
func (d *diffusion) loaded(t *kit.Task, role string, n numeric, trained bool) (err error) {
	chain := t.Chain(role)
	if len(chain) == 0 {
		return kit.Refuse("%s needs the input %s", t.Verb, role)
	}
	flash := n.Attention == "flash"
	if flash && t.Resources.GPUs == 0 {
		return kit.Refuse("attention: flash is a function of cuDNN and needs a GPU, and the task has none; use plain")
	}
	kept := n.Precision
	if trained {
		kept = stable.Float32
	}
	ids := []string{string(n.Precision), string(kept), n.Attention}
	for _, dir := range chain {
		ids = append(ids, t.Inputs[filepath.Base(dir)].ID)
	}
	if id := strings.Join(ids, " "); d.sampler != nil && d.chain == id {
		return nil
	}
	if err := d.computes(t); err != nil {
		return err
	}
	d.weights.Free()
	d.weights, d.sampler = stable.Weights{}, nil
	root := chain[0]
	for i, dir := range chain {
		about, err := engine.ReadCheckpoint(dir)
		if err != nil {
			return err
		}
		switch {
		case i == 0 && about.Format == diffusersFormat:
			if about.Root != "" {
				root = about.Root
			}
			if d.model, err = stable.Open(root); err == nil {
				d.model.Precision, d.model.Kept, d.model.OHWI, d.model.Flash = n.Precision, kept, d.gpu, flash
				if len(chain) > 1 {
					d.model.Kept = stable.Float32 // an adapter is added before the sum is rounded
				}
				d.weights, err = d.model.Load(d.b)
			}
		case i > 0 && about.Format == adapterFormat:
			err = d.model.Adapt(d.b, &d.weights, filepath.Join(dir, adapterFile))
		case i > 0 && about.Format == diffusersFormat && slices.Equal(about.Replaces, []string{unetPart}):
			backend.Free(d.weights.UNet...)
			d.weights.UNet, err = d.model.LoadUNet(d.b, dir)
		default:
			return kit.Refuse("%s: the format %q that replaces %q cannot be read", role, about.Format, about.Replaces)
		}
		if err != nil {
			return kit.Refuse("%s: %w", role, err)
		}
	}
	if !trained {
		if err := d.model.Round(d.b, &d.weights); err != nil {
			return err
		}
	}
	d.chain = strings.Join(ids, " ")
	d.sampler, err = stable.NewSampler(d.b, d.model)
	return err
}

// A drawing has the parameters of sample.
type drawing struct {
	Scheduler string  `json:"scheduler"`
	Steps     int     `json:"steps"`
	Guidance  float64 `json:"guidance"`
	Eta       float64 `json:"eta"`
	Spacing   string  `json:"spacing"`
	Karras    bool    `json:"karras"`
	Width     int     `json:"width"`
	Height    int     `json:"height"`
	Batch     int     `json:"batch"`
	numeric
}

// classes are the schedulers by their names in parameters.
var classes = map[string]string{"checkpoint": "", "ddim": scheduler.DDIM, "ddpm": scheduler.DDPM, "pndm": scheduler.PNDM, "euler": scheduler.Euler, "dpmsolver++": scheduler.DPMSolver}

// plan returns the sampler's steps, with the noise schedule of the model's own scheduler.
func (p drawing) plan(own string) (*scheduler.Plan, error) {
	class := classes[p.Scheduler]
	var config scheduler.Config
	var err error
	if class == "" {
		config, err = scheduler.Read(own, "")
	} else {
		var raw map[string]any
		if err = checkpoint.ReadJSON(own, &raw, false); err == nil {
			raw["timestep_spacing"], raw["use_karras_sigmas"] = p.Spacing, p.Karras
			raw["clip_sample"], raw["skip_prk_steps"] = false, true // latents have no bounds; the steps are all of one kind
			var text []byte
			if text, err = json.Marshal(raw); err == nil {
				config, err = scheduler.Decode(text, class)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return config.Plan(p.Steps, p.Eta)
}

// options returns how images are drawn from a model. Their sides are multiples of what a latent stands for.
func (p drawing) options(m *stable.Checkpoint) (stable.Options, error) {
	plan, err := p.plan(filepath.Join(m.Dir, "scheduler", "scheduler_config.json"))
	if err != nil {
		return stable.Options{}, kit.Refuse("params: %w", err)
	}
	f := m.VAE.Config.Factor()
	return stable.Options{Plan: plan, Guidance: p.Guidance, Height: p.Height / f * f, Width: p.Width / f * f}, nil
}

func (d *diffusion) sample(ctx context.Context, t *kit.Task) error {
	var p drawing
	if err := t.Decode(&p); err != nil {
		return err
	}
	rows, err := t.Rows(engine.PromptsRole)
	if err != nil {
		return err
	}
	dir, err := t.Out(engine.ImagesRole)
	if err != nil {
		return err
	}
	if err := d.loaded(t, engine.CheckpointRole, p.numeric, false); err != nil {
		return err
	}
	o, err := p.options(d.model)
	if err != nil {
		return err
	}
	d.cut(t, engine.PromptsRole, rows)
	f, channels := d.model.VAE.Config.Factor(), d.model.UNet.Config.InChannels
	height, width := o.Height/f, o.Width/f
	size := height * width * channels
	noise := make([]float32, len(rows)*size) // of each row, channels first
	out := make([]engine.OutputRow, len(rows))
	batch := min(p.Batch, len(rows))
	for from := 0; from < len(rows); from += batch {
		// The last batch is filled up with its last row, so that it has the shape of the others.
		row := func(i int) int { return min(from+i, len(rows)-1) }
		prompts, negatives, generators := make([]string, batch), make([]string, batch), make([]*random.Torch, batch)
		for i := range batch {
			r := rows[row(i)]
			prompts[i], negatives[i], generators[i] = r.Prompt, r.Negative, random.NewTorch(r.Seed)
		}
		text, tokens, err := d.sampler.Encode(d.weights, prompts)
		if err != nil {
			return err
		}
		negative, _, err := d.sampler.Encode(d.weights, negatives)
		if err != nil {
			return err
		}
		drawn := make([]float32, size)
		latents, err := d.sampler.Latents(d.weights, text, negative, func(i, step int, dst []float32) {
			generators[i].Normal(drawn)
			if step == 0 {
				copy(noise[row(i)*size:], drawn)
			}
			for c := range channels {
				for k := range height * width {
					dst[k*channels+c] = drawn[c*height*width+k]
				}
			}
		}, o)
		backend.Free(text, negative)
		if err != nil {
			return err
		}
		images, err := d.sampler.Images(d.weights, latents)
		backend.Free(latents)
		if err != nil {
			return err
		}
		for i := 0; i < batch && from+i < len(rows); i++ {
			r := &out[from+i]
			*r = engine.OutputRow{Index: rows[from+i].Index, File: fmt.Sprintf("%d.png", rows[from+i].Index), Truncated: tokens[i] > d.model.Tokens()}
			if err := writePicture(filepath.Join(dir, r.File), picture(images[i], o.Height, o.Width)); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_ = t.Progress(engine.Progress{Step: min(from+batch, len(rows)), Of: len(rows)}) // it is for people who watch
	}
	if len(t.Emit) > 0 { // "noise" is all that the description promises
		if err := checkpoint.WriteFile(filepath.Join(t.Dir, "emit", "noise.safetensors"),
			map[string]checkpoint.Tensor{"noise": checkpoint.Floats(noise, len(rows), channels, height, width)}); err != nil {
			return err
		}
	}
	return kit.WriteRows(t, engine.ImagesRole, out)
}

// cut notes how many tokens of a prompt the model does not read, once for each prompt of some rows.
func (d *diffusion) cut(t *kit.Task, role string, rows []engine.Row) {
	seen := map[string]bool{"": true}
	for _, r := range rows {
		for i, prompt := range []string{r.Prompt, r.Negative} {
			if seen[prompt] {
				continue
			}
			seen[prompt] = true
			if _, tokens := d.model.Tokenizer.Encode(prompt, d.model.Tokens()); tokens > d.model.Tokens() {
				_ = t.Progress(engine.Progress{Note: fmt.Sprintf("%s: the %s of row %d has %d tokens, and the model reads %d: the last %d are cut",
					role, []string{"prompt", "negative prompt"}[i], r.Index, tokens-2, d.model.Tokens()-2, tokens-d.model.Tokens())}) // it is for people who watch
			}
		}
	}
}

// picture returns an image of bytes, three for each pixel.
func picture(rgb []uint8, height, width int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range height * width {
		img.SetRGBA(i%width, i/width, color.RGBA{rgb[3*i], rgb[3*i+1], rgb[3*i+2], 255})
	}
	return img
}
