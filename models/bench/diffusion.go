package main

import (
	"encoding/json"
	"path/filepath"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/scheduler"
	"ablate/models/stable"
)

// A diffusion is what both sides compute with a checkpoint of Stable Diffusion. Python reads it as JSON.
type diffusion struct {
	Checkpoint string        `json:"checkpoint"`
	Prompts    []string      `json:"prompts"`
	Recipe     stable.Recipe `json:"recipe"` // of a training
	Seeds      stable.Seeds  `json:"seeds"`
	Steps      int           `json:"steps"` // of the sampler, DDIM
	Guidance   float64       `json:"guidance"`
	Compared   int           `json:"compared"` // steps of a training whose losses are compared

	// What only gpu.go has: items are pairs, the other's form, and how this side computes.
	Pairs     bool             `json:"pairs"`
	Form      string           `json:"form"`
	Device    string           `json:"device"`
	Precision stable.Precision `json:"precision"`
	Blocks    bool             `json:"blocks"`  // stable.Recipe's Saving
	Queries   int              `json:"queries"` // likewise
	Flash     bool             `json:"flash"`   // attention by cuDNN

	trainsAll bool // the weights on the device are float32
}

// tiny is the reference checkpoint, from the repository's root: a U-Net of 0.4 million weights.
func tiny() diffusion {
	return diffusion{Checkpoint: "models/testdata/reference/sd-tiny", Prompts: []string{"a red circle", "two blue squares", "a green triangle on the left", "a cat"},
		Recipe: stable.Recipe{Steps: 1, Batch: 8, Micro: 8, LearningRate: 1e-4, WeightDecay: .01, Beta1: .9, Beta2: .99, Clip: 1, Size: 32},
		Seeds:  stable.Seeds{Init: 1, Order: 2, Noise: 3}, Steps: 10, Guidance: 7.5, Compared: batches, Precision: stable.Float32}
}

// lora is tiny with updates of attention instead of all weights.
func lora() diffusion {
	d := tiny()
	d.Recipe.LearningRate = 1e-3 // its updates start at 0: at 1e-4 ten losses hardly depend on the optimizer
	d.Recipe.LoRA.Rank, d.Recipe.LoRA.Alpha = 4, 4
	return d
}

// items is the number of training images.
const items = 32

func (d diffusion) String() string {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // it has numbers and strings
	}
	return string(b)
}

// open opens the checkpoint.
func (d diffusion) open() (*stable.Checkpoint, error) {
	c, err := stable.Open(d.Checkpoint)
	if err != nil {
		return nil, err
	}
	c.Precision, c.Kept, c.OHWI, c.Flash = d.Precision, d.Precision, d.Device == cuda, d.Flash
	if d.trainsAll {
		c.Kept = stable.Float32
	}
	return c, nil
}

// load opens the checkpoint and sends its weights to the device.
func (d diffusion) load(b backend.Backend) (c *stable.Checkpoint, w stable.Weights, err error) {
	if c, err = d.open(); err == nil {
		w, err = c.Load(b)
	}
	return c, w, err
}

// latents is the shape of n images' latents, [n, H, W, C].
func latents(c *stable.Checkpoint, n int) []int {
	h, w := c.Pixels()
	f := c.VAE.Config.Factor()
	return []int{n, h / f, w / f, c.UNet.Config.InChannels}
}

// data are training images, as distributions of their latents, with weights of both signs, and the
// sampler's initial noise, and the tokens of the prompts.
func (d diffusion) data() (map[string]checkpoint.Tensor, error) {
	c, err := stable.Open(d.Checkpoint)
	if err != nil {
		return nil, err
	}
	file := map[string]checkpoint.Tensor{}
	for i, a := range []struct {
		name        string
		n           int
		scale, move float32
	}{{"mean", items, 5, 0}, {"std", items, .01, .1}, {"noise", len(d.Prompts), 1, 0}} {
		shape := latents(c, a.n)
		x := make([]float32, a.n*shape[1]*shape[2]*shape[3])
		random.Normal(random.Stream(1, "bench", "diffusion", i), x)
		for j := range x {
			x[j] = x[j]*a.scale + a.move
		}
		file[a.name] = checkpoint.Floats(x, shape...)
	}
	weights := make([]float32, items)
	for i := range weights {
		weights[i] = float32(i%4) - .5
		if d.Device != "" {
			weights[i]++ // the losses of a pair, or of few images, would cancel, and rounding would remain
		}
	}
	file["weight"] = checkpoint.Floats(weights, items)
	for name, prompts := range map[string][]string{"ids": d.Prompts, "empty": {""}} {
		var ids []float32
		for _, p := range prompts {
			own, _ := c.Tokenizer.Encode(p, c.Tokens())
			for _, id := range own {
				ids = append(ids, float32(id))
			}
		}
		file[name] = checkpoint.Floats(ids, len(prompts), c.Tokens())
	}
	return file, nil
}

// floats returns the n rows of an array of a file.
func floats(file map[string]checkpoint.Tensor, name string, n int) ([][]float32, error) {
	x, err := file[name].Float32()
	return slices.Collect(slices.Chunk(x, max(1, len(x)/n))), err
}

// train is a step of a fine-tuning. Its results are losses and, in gpu.go, norms of gradients.
func (d diffusion) train(b backend.Backend, file map[string]checkpoint.Tensor) (task, error) {
	fail := func(err error) (task, error) { return task{}, err }
	d.Recipe.Pairs, d.Recipe.Saving = d.Pairs, nn.Saving{Blocks: d.Blocks, Queries: d.Queries}
	d.trainsAll = d.Recipe.LoRA.Rank == 0
	c, w, err := d.load(b)
	if err != nil {
		return fail(err)
	}
	f, err := c.Finetune(b, w, d.Recipe, d.Seeds)
	if err != nil {
		return fail(err)
	}
	arrays := map[string][][]float32{}
	for _, name := range []string{"mean", "std", "weight"} {
		if arrays[name], err = floats(file, name, items); err != nil {
			return fail(err)
		}
	}
	example := func(i int) *stable.Example {
		i %= items
		return &stable.Example{Mean: arrays["mean"][i], Std: arrays["std"][i], Prompt: d.Prompts[i%len(d.Prompts)]}
	}
	stream := stable.Stream{Name: "images", Pairs: d.Pairs}
	for i := range items {
		stream.Items = append(stream.Items, stable.Item{Image: example(i), Worse: example(i + 1), Weight: float64(arrays["weight"][i][0])})
	}
	step := 0
	var last *stable.Begun
	begin := func() (err error) { // and waits for the step before
		step++
		last, err = f.Begin(step, []stable.Stream{stream})
		return err
	}
	var first []float64
	for range d.Compared {
		if err := begin(); err != nil {
			return fail(err)
		}
		loss, norm, err := last.Result()
		if err != nil {
			return fail(err)
		}
		first = append(first, loss, norm)
	}
	return task{first: first, do: func(int) error { return begin() }, wait: func() error { _, _, err := last.Result(); return err },
		cost: func(compile bool) (stable.Cost, error) { return f.Cost(1, compile) }}, nil
}

// sample draws an image for each prompt, from its text to its pixels.
func (d diffusion) sample(b backend.Backend, file map[string]checkpoint.Tensor) (task, error) {
	fail := func(err error) (task, error) { return task{}, err }
	c, w, err := d.load(b)
	if err != nil {
		return fail(err)
	}
	s, err := stable.NewSampler(b, c)
	if err != nil {
		return fail(err)
	}
	noise, err := floats(file, "noise", len(d.Prompts))
	if err != nil {
		return fail(err)
	}
	config, err := scheduler.Read(filepath.Join(d.Checkpoint, "scheduler", "scheduler_config.json"), scheduler.DDIM)
	if err != nil {
		return fail(err)
	}
	plan, err := config.Plan(d.Steps, 0)
	if err != nil {
		return fail(err)
	}
	height, width := c.Pixels()
	options := stable.Options{Plan: plan, Guidance: d.Guidance, Height: height, Width: width}
	draw := func() ([][]uint8, error) {
		var states [2]*tensors.Tensor
		for i, prompts := range [][]string{d.Prompts, make([]string, len(d.Prompts))} {
			if states[i], _, err = s.Encode(w, prompts); err != nil {
				return nil, err
			}
			defer backend.Free(states[i])
		}
		x, err := s.Latents(w, states[0], states[1], func(i, _ int, dst []float32) { copy(dst, noise[i]) }, options)
		if err != nil {
			return nil, err
		}
		defer backend.Free(x)
		return s.Images(w, x)
	}
	images, err := draw()
	if err != nil {
		return fail(err)
	}
	var first []float64
	for _, v := range slices.Concat(images...) {
		first = append(first, float64(v))
	}
	return task{first: first, do: func(int) error { _, err := draw(); return err }, cost: func(compile bool) (stable.Cost, error) {
		return s.Cost(len(d.Prompts), options, compile)
	}}, nil
}
