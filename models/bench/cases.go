package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/finetune"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/shapes"
	"ablate/models/stable"
	"ablate/models/train"
)

// A bench is a case: one computation that is timed.
type bench struct {
	name, title string
	peer        string   // the other side
	args        []string // of the peer's program
	results     string   // description of the results that are compared
	// apart is how far the results are apart, and where most; within is the largest distance.
	apart  func(here, there []float64) (distance float64, at int)
	within float64
	share  float64 // fraction of the number of rounds and steps of a training step's case
	// facts, if not nil, are those of this side after the rounds; the other is asked for its own.
	facts func(b backend.Backend, t task) (facts, error)
	// data returns all numbers that both sides read.
	data func() (map[string]checkpoint.Tensor, error)
	// open prepares the computation.
	open func(b backend.Backend, file map[string]checkpoint.Tensor) (task, error)
}

// A task is a computation that is prepared.
type task struct {
	first []float64         // results to compare
	do    func(i int) error // does the computation for the i-th time, or begins it
	wait  func() error      // waits for what do began; nil if do does
	cost  func(compile bool) (stable.Cost, error)
}

// The peers.
const jax, pyTorch = "JAX", "PyTorch"

// denoiser is the shapes world's network.
func denoiser() dit.Config { return dit.Default(shapes.Vocabulary()) }

// sizes are the arguments of step.py: what the weights' shapes do not have.
func sizes() []string { return []string{fmt.Sprint(denoiser().Layers), fmt.Sprint(denoiser().Heads)} }

func network() pipeline.Network { return pipeline.Shapes(denoiser()) }

// cases are timed in this order; the peers know them by their names.
var cases = []bench{
	training{name: "pretraining", title: "pretraining step, 64 images", images: 64, average: true,
		step: func(n pipeline.Network) (train.Step, error) { return n.PretrainingStep(), nil }}.bench(),
	training{name: "likelihood", title: "fine-tuning step by the likelihood, 64 images + 32 pairs", images: 96,
		step: method("reward-weighted", finetune.AnchorPretraining)}.bench(),
	training{name: "dpo", title: "fine-tuning step by dpo, 32 pairs of images", images: 64,
		step: method("dpo", finetune.AnchorNone), inputs: preferences}.bench(),
	training{name: "nft", title: "fine-tuning step by nft in its first round, anchored, 64 images", images: 64,
		step: method("nft", finetune.AnchorPrediction), inputs: optimality}.bench(),
	training{name: "draft", title: "fine-tuning step by draft through one step of the sampler, 64 images", images: 64,
		step: method("draft", finetune.AnchorNone), inputs: states,
		rate: 1e-4}.bench(), // at 1e-3 Adam amplifies differences of the last bits too much within ten steps
	{name: "probe", peer: jax, args: sizes(), title: "probe: 256 images by 16 steps of the sampler, and their distance", results: "relative, distance and nine images", apart: relative, within: 1e-4, share: .15,
		data: probeData, open: openProbe},
	{name: "sd-lora", peer: pyTorch, args: []string{lora().String()}, title: "Stable Diffusion: LoRA step weighted by rewards, 8 images", results: "relative, losses and gradient's norms of ten steps",
		apart: relative, within: 1e-5, share: 1, data: lora().data, open: lora().train},
	{name: "sd-all", peer: pyTorch, args: []string{tiny().String()}, title: "Stable Diffusion: step of all weights, weighted by rewards, 8 images", results: "relative, losses and gradient's norms of ten steps",
		apart: relative, within: 1e-5, share: 1, data: tiny().data, open: tiny().train},
	{name: "sd-sample", peer: pyTorch, args: []string{tiny().String()}, title: "Stable Diffusion: 4 images by 10 guided steps of DDIM", results: "bytes of images, of 255", apart: absolute, within: 2,
		share: .5, data: tiny().data, open: tiny().sample},
}

func index(name string) int {
	return slices.IndexFunc(cases, func(c bench) bool { return c.name == name })
}

// method returns the training step of a method of fine-tuning, which trains the denoiser only.
func method(name string, anchor finetune.Anchor) func(pipeline.Network) (train.Step, error) {
	return func(n pipeline.Network) (train.Step, error) {
		m, err := finetune.ByName(name) // its constants are inputs of the step
		if err != nil {
			return train.Step{}, err
		}
		score, _, err := rewardModel()
		if err != nil {
			return train.Step{}, err
		}
		return finetune.StepOf(n, finetune.Recipe{Method: finetune.Choice{Method: m}, Trains: pipeline.DenoiserPart, Anchor: anchor, Rounds: 1}, score)
	}
}

// rewardModel is a learned reward of the shapes world with random weights.
func rewardModel() (*finetune.RewardModel, nn.Values, error) {
	c := embedder.Default(shapes.Vocabulary())
	m := &reward.Model{Config: reward.Default(c.Width)}
	m.Members = []nn.Values{values(m.Config.Params(), "reward")}
	return finetune.NewRewardModel(c, values(c.Params(), "embedder"), m)
}

// values returns random weights. Modulations, the output and biases start at zero in
// training; here nothing is zero, so that a wrong gradient is noticed.
func values(params []nn.Param, name string) nn.Values {
	v := nn.Init(params, random.Stream(1, "bench", name, 0))
	for i, p := range params {
		if p.Std == 0 && p.Fill == 0 {
			random.Normal(random.Stream(1, "bench", name, i+1), v[p.Name])
			for j := range v[p.Name] {
				v[p.Name][j] *= 0.02
			}
		}
	}
	return v
}

// A training is a training step.
type training struct {
	name, title string
	images      int     // of a batch
	average     bool    // keeps a moving average of the weights
	rate        float64 // learning rate, where it is not 1e-3
	step        func(pipeline.Network) (train.Step, error)
	// inputs, if set, changes the inputs of a step from those of the likelihood.
	inputs func(r *rand.Rand, b *pipeline.Batch, in train.Inputs)
}

// batches is the number of different batches, and of steps whose losses are compared.
const batches = 10

// options of the step: none of AdamW's terms is 0 or 1.
func (t training) options() train.Options {
	o := train.Default(1e-3)
	if t.rate > 0 {
		o.LearningRate = t.rate
	}
	o.Beta2, o.EMA = 0.99, 0.998
	return o
}

func (t training) bench() bench {
	return bench{name: t.name, peer: jax, args: sizes(), title: t.title, results: "relative, losses of ten steps", apart: relative, within: 1e-4, share: 1, data: t.data, open: t.open}
}

func (t training) data() (map[string]checkpoint.Tensor, error) {
	net := network()
	step, err := t.step(net)
	if err != nil {
		return nil, err
	}
	_, score, err := rewardModel()
	if err != nil {
		return nil, err
	}
	file := map[string]checkpoint.Tensor{}
	put(file, "param.", step.Params, values(step.Params, "model"))
	for name, ps := range step.Frozen {
		v := score
		if name != "reward" { // a copy, which must differ noticeably from the model
			v = values(ps, name)
			for n, x := range values(ps, "model") {
				for i := range x {
					v[n][i] = x[i] + .1*v[n][i]
				}
			}
		}
		put(file, "set."+name+".", ps, v)
	}
	for i := range batches {
		for name, x := range t.batch(net, i) {
			file[fmt.Sprintf("batch.%d.%s", i, name)] = checkpoint.Floats(backend.Float32s(x), x.Shape().Dimensions...)
		}
	}
	o := t.options()
	file["hyper"] = checkpoint.Floats([]float32{float32(o.LearningRate), float32(o.Beta1), float32(o.Beta2), float32(o.Epsilon), float32(o.WeightDecay), float32(o.Clip), float32(o.EMA)}, 7)
	return file, nil
}

func put(file map[string]checkpoint.Tensor, prefix string, params []nn.Param, v nn.Values) {
	for _, p := range params {
		file[prefix+p.Name] = checkpoint.Floats(v[p.Name], p.Shape...)
	}
}

func get(file map[string]checkpoint.Tensor, prefix string, params []nn.Param) (nn.Values, error) {
	v := nn.Values{}
	for _, p := range params {
		x, err := file[prefix+p.Name].Float32()
		if err != nil {
			return nil, err
		}
		v[p.Name] = x
	}
	return v, nil
}

// batch returns the inputs of step i, with rendered images.
func (t training) batch(net pipeline.Network, i int) train.Inputs {
	b := net.NewBatch(t.images, t.average) // pretraining encodes its text
	for k := range t.images {
		r := random.Stream(int64(i), "bench", "image", k)
		render(r, b.Image(k), b.CondRow(k), t.average)
		b.Coefficients[k] = 1 / float32(t.images)
	}
	r := random.Stream(int64(i), "bench", "noise", 0)
	b.Draw(r)
	in := b.Inputs()
	if t.inputs != nil {
		t.inputs(r, b, in)
	}
	return in
}

// render draws an image in the model's range and its conditioning: a bag of words, or random
// numbers in place of the text encoder's output.
func render(r *rand.Rand, image, cond []float32, words bool) {
	scene := shapes.NewScene(r, shapes.Prompt{})
	scene.Render(r, image)
	for j, v := range image {
		image[j] = 2*v - 1
	}
	if words {
		scene.Prompt.Words(cond)
	} else {
		random.Normal(r, cond)
	}
}

// preferences adds the inputs of dpo; the second half of the batch has the noise of the first.
func preferences(_ *rand.Rand, b *pipeline.Batch, in train.Inputs) {
	n := len(b.Times)
	b.Repeat(n / 2)
	for name, x := range b.Inputs() {
		in[name] = x
	}
	in.Vector("weight", make([]float32, n))
	in.Vector("anchor", make([]float32, n))
	in.Scalar("beta", 5)
}

// optimality adds the inputs of nft.
func optimality(r *rand.Rand, b *pipeline.Batch, in train.Inputs) {
	n := len(b.Times)
	advantage, anchor := make([]float32, n), make([]float32, n)
	for i := range advantage {
		advantage[i], anchor[i] = r.Float32(), .1/float32(n)
	}
	in.Vector("weight", make([]float32, n))
	in.Vector("advantage", advantage)
	in.Vector("anchor", anchor)
	in.Scalar("beta", 1)
}

// states makes the inputs of draft: almost clean images at the sampler's last step.
func states(r *rand.Rand, b *pipeline.Batch, in train.Inputs) {
	n, net := len(b.Times), network()
	noise, text := make([]float32, len(b.Images)), make([]float32, n*net.Text)
	random.Normal(r, noise)
	for i := range noise {
		noise[i] = .9*b.Images[i] + .1*noise[i]
	}
	for i := range n {
		shapes.NewScene(r, shapes.Prompt{}).Prompt.Words(text[i*net.Text : (i+1)*net.Text])
	}
	for name := range in {
		if name != "cond" {
			delete(in, name)
		}
	}
	in["state"] = tensors.FromFlatDataAndDimensions(noise, n, net.Image[0], net.Image[1], net.Image[2])
	in["text"] = tensors.FromFlatDataAndDimensions(text, n, net.Text)
	in.Vector("times", []float32{.1, 0})
}

// An array is an input of a step on the host, decoded and laid out.
type array struct {
	name string
	x    []float32
	dims []int
}

func (t training) open(b backend.Backend, file map[string]checkpoint.Tensor) (task, error) {
	step, err := t.step(network())
	if err != nil {
		return task{}, err
	}
	trainer, err := train.New(b, step)
	if err != nil {
		return task{}, err
	}
	v, err := get(file, "param.", step.Params)
	if err != nil {
		return task{}, err
	}
	state, err := trainer.Start(v, t.average)
	if err != nil {
		return task{}, err
	}
	for name, ps := range step.Frozen {
		v, err := get(file, "set."+name+".", ps)
		if err != nil {
			return task{}, err
		}
		if err := trainer.Freeze(state, name, v); err != nil {
			return task{}, err
		}
	}
	in := make([][]array, batches)
	for i := range in {
		prefix := fmt.Sprintf("batch.%d.", i)
		for name, x := range file {
			if input, ok := strings.CutPrefix(name, prefix); ok {
				values, err := x.Float32()
				if err != nil {
					return task{}, err
				}
				in[i] = append(in[i], array{input, values, x.Shape})
			}
		}
	}
	o := t.options()
	take := func(i int) (train.Result, error) {
		batch := train.Inputs{}
		for _, a := range in[i%batches] {
			batch[a.name] = tensors.FromFlatDataAndDimensions(a.x, a.dims...)
		}
		return trainer.Step(state, o, batch)
	}
	losses := make([]float64, batches)
	for i := range losses {
		r, err := take(i)
		if err != nil {
			return task{}, err
		}
		losses[i] = r.Loss
	}
	return task{first: losses, do: func(i int) error { _, err := take(i); return err }}, nil
}
