package stable

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/finetune"
	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/process"
	"ablate/models/random"
	"ablate/models/train"
	"ablate/models/unet"
	"ablate/models/vae"
)

// A Recipe has the constants of a fine-tuning, with the names and the meanings of the diffusers
// engine's parameters.
type Recipe struct {
	// Method is an Offline method of models/finetune on given images, or a Policy; nil: the loss is
	// the likelihood by the weights of items, or of pairs.
	Method       finetune.Method `json:"-"`
	Pairs        bool            `json:"-"`        // whether items are pairs, of which the better one is to become more likely: DPO
	DPOBeta      float64         `json:"dpo_beta"` // strength of the tie to the base
	Steps        int             `json:"steps"`
	Batch        int             `json:"batch"` // items of a step from each stream
	Micro        int             `json:"micro"` // items that are computed at a time
	LearningRate float64         `json:"learning_rate"`
	Warmup       int             `json:"warmup"` // steps in which the learning rate rises linearly
	WeightDecay  float64         `json:"weight_decay"`
	Beta1        float64         `json:"beta1"`
	Beta2        float64         `json:"beta2"`
	EMA          float64         `json:"ema"`   // decay at each step of the moving average of the trained weights; 0: none
	Clip         float64         `json:"clip"`  // largest norm of the gradient; 0: not clipped
	Drop         float64         `json:"drop"`  // part of the prompts that become empty
	Times        string          `json:"times"` // uniform or logit-normal
	Size         int             `json:"size"`  // height and width of images
	LoRA         struct {
		Rank  int     `json:"rank"` // 0: all weights are trained
		Alpha float64 `json:"alpha"`
	} `json:"lora"`
	Sampler struct { // of a policy's rollouts: DDIM
		Steps    int     `json:"steps"`
		Guidance float64 `json:"guidance"` // scale of classifier-free guidance; 1 and less: none
	} `json:"sampler"`
	Rollout finetune.Rollout `json:"rollout"`
	Saving  nn.Saving        `json:"-"`
	Devices int              `json:"-"` // that compute parts of a step at the same time; 0 means 1
}

// Parts returns in how many parts the items that a step takes from a stream are computed, and the number of
// items of one: at most Micro, and so few that each device has a part, if the method allows it.
func (r Recipe) Parts(streams int) (parts, size int) {
	devices := max(r.Devices, 1)
	most := func(micro int) int { return min(max(micro, 1), (r.Batch+devices-1)/devices) }
	switch m := r.Method.(type) {
	case nil:
		size = most(r.Micro)
	case finetune.Offline:
		size = part(r.Batch, most(r.Micro/streams), finetune.Together(m, r.Batch))
	default:
		size = part(r.Batch, most(r.Micro), 1)
	}
	return (r.Batch + size - 1) / size, size
}

// Seeds are the seeds of the streams of random numbers.
type Seeds struct{ Init, Order, Noise int64 }

// A Stream has the items from which each step draws a batch.
type Stream struct {
	Name  string
	Items []Item
	Pairs bool           // its items are pairs
	Plan  *finetune.Plan // how an offline method draws from them; nil: by epochs
}

// An Item is an image, or a pair of a better and a worse one.
type Item struct {
	Image, Worse *Example
	Weight       float64
}

// An Example is a training image: the distribution of its latents, [H, W, C], and its prompt.
type Example struct {
	Mean, Std []float32
	Prompt    string
}

// A Finetuning trains the denoiser of a checkpoint.
type Finetuning struct {
	c       *Checkpoint
	b       backend.Backend
	r       Recipe
	seeds   Seeds
	weights Weights
	adapter *lora.Adapter // nil where all weights are trained
	reads   bool          // whether a step reads the base's weights
	trainer *train.Trainer
	state   *train.State
	loop    *train.Loop // saves the state
	sampler *Sampler    // encodes prompts
	encode  *backend.Fn
	texts   map[string][]float32
	epochs  map[string]epoch // by stream
	policy  *policy          // nil where the method is not one
	Score   Score            // scores the images of rollouts; must be set for a policy
}

// targets are the layers that get an update: those of attention.
var targets = []string{"to_k", "to_q", "to_v", "to_out.0"}

// Finetune begins a fine-tuning of a checkpoint with the given weights, which must stay until it
// ends: what is frozen is not copied. All weights can be trained where Kept is Float32.
func (c *Checkpoint) Finetune(b backend.Backend, w Weights, r Recipe, seeds Seeds) (*Finetuning, error) {
	f, err := c.Prepare(b, r, seeds)
	if err != nil {
		return nil, err
	}
	f.weights = w
	f.trainer.Replicate(max(r.Devices, 1))
	if f.adapter != nil {
		f.state, err = f.trainer.Start(f.adapter.Values, r.EMA > 0)
	} else {
		f.state, err = f.trainer.StartAt(w.UNet, r.EMA > 0)
	}
	if err != nil {
		return nil, err
	}
	f.loop = &train.Loop{Trainer: f.trainer, State: f.state, Steps: r.Steps}
	if f.policy != nil {
		f.loop.Host = []any{&f.policy.state}
	}
	if f.reads {
		err = f.trainer.Share(f.state, baseSet, w.UNet)
	}
	return f, err
}

// Prepare returns a fine-tuning without weights, of which the cost can be asked.
func (c *Checkpoint) Prepare(b backend.Backend, r Recipe, seeds Seeds) (*Finetuning, error) {
	f := &Finetuning{c: c, b: b, r: r, seeds: seeds, texts: map[string][]float32{}, epochs: map[string]epoch{}}
	params, frozen := c.trainedParams(), map[string][]nn.Param{}
	bound := func(w nn.Weights, _ train.Sets) nn.Weights { return w }
	if r.LoRA.Rank > 0 {
		f.adapter = newAdapter(params, r.LoRA.Rank, r.LoRA.Alpha, seeds.Init)
		params = f.adapter.Params()
		bound = func(w nn.Weights, s train.Sets) nn.Weights { return f.adapter.Weights(s.At(baseSet), w, 1) }
	}
	trained := map[string]bool{}
	for _, p := range params {
		trained[p.Name] = true
	}
	if r.Saving.Queries == 0 {
		r.Saving.Queries = queries
	}
	r.Saving.Flash = c.Flash
	r.Saving.Frozen = func(name string) bool { return !trained[name] }
	ddpm := process.DDPM{Schedule: c.Scheduler.Schedule}
	loss := func(w nn.Weights, s train.Sets, in train.Nodes) *graph.Node {
		n := in.At("t").Shape().Size()
		// losses returns the denoising losses of some images of each item, from one pass.
		losses := func(w nn.Weights, of ...string) *graph.Node {
			all := func(name string, own bool) *graph.Node {
				var x []*graph.Node
				for _, image := range of {
					if !own {
						image = ""
					}
					x = append(x, in.At(name+image))
				}
				return graph.Concatenate(x, 0)
			}
			latents := graph.Add(all("mean", true), graph.Mul(all("std", true), all("grain", false)))
			x0, eps, t := c.VAE.Config.Scaled(latents), all("noise", false), all("t", false)
			o := unet.Options{Saving: r.Saving, Type: c.Precision.dtype()}
			return process.MeanSquare(c.UNet.Denoise(w, ddpm.Noisy(x0, eps, t), t, all("text", true), o), ddpm.Target(x0, eps, t))
		}
		own := bound(w, s)
		if !r.Pairs {
			return graph.ReduceAllSum(graph.Mul(losses(own, ""), in.At("weight")))
		}
		var policy, base *graph.Node // of the better images, then of the worse ones
		if f.adapter != nil {
			both := nn.Split(losses(own.Leading(in.At("t").Graph(), 2*n), "", worse, "", worse), 0, 2*n, 2*n)
			policy, base = both[0], both[1]
		} else {
			policy, base = losses(own, "", worse), losses(s.At(baseSet), "", worse)
		}
		_, inside := finetune.DPO(policy, graph.StopGradient(base), graph.Scalar(policy.Graph(), policy.DType(), r.DPOBeta))
		better := graph.Slice(policy, graph.AxisRange(0, n))
		return graph.Add(graph.ReduceAllSum(graph.Mul(better, in.At("weight"))), graph.ReduceAllSum(graph.Mul(nn.Softplus(graph.Neg(inside)), in.At("pair"))))
	}
	f.reads = f.adapter != nil || r.Pairs
	var err error
	if r.Method != nil {
		var more bool
		if loss, more, err = f.objective(r.Saving); err != nil {
			return nil, err
		}
		f.reads = f.reads || more
	}
	if f.reads {
		frozen[baseSet] = c.unetParams()
	}
	if f.trainer, err = train.New(b, train.Step{Name: "fine-tune stable diffusion", Params: params, Frozen: frozen, Loss: loss}); err != nil {
		return nil, err
	}
	if method, ok := r.Method.(finetune.Policy); ok {
		if f.policy, err = f.newPolicy(method); err != nil {
			return nil, err
		}
	}
	if f.sampler, err = NewSampler(b, c); err != nil {
		return nil, err
	}
	f.encode, err = backend.NewFn(b, "encode images", 0, func(in []*graph.Node) []*graph.Node {
		mean, _, std := vae.Distribution(c.VAE.Encode(nn.Bind(c.encoderParams(), in[1:]), in[0], nil))
		return []*graph.Node{mean, std}
	})
	return f, err
}

// queries is the number of rows of an attention that a training computes at a time. Their scores stay in a
// processor's cache: a step of the reference checkpoint takes 150 ms, and 232 with all rows (models/bench).
const queries = 64

const baseSet, worse = "base", " of the worse"

// newAdapter returns updates of the attention of a network, with the values that peft gives them
// with init_lora_weights="gaussian" after torch.manual_seed(seed): A is normal with the standard
// deviation 1/rank, and B is 0. Before that, each layer has drawn PyTorch's own initial values.
func newAdapter(network []nn.Param, rank int, alpha float64, seed int64) *lora.Adapter {
	g := random.NewTorch(seed)
	var layers []nn.Param
	for _, part := range []string{"down_blocks.", "up_blocks.", "mid_block."} { // the order of diffusers' modules
		for _, p := range network {
			if layer, ok := strings.CutSuffix(p.Name, ".weight"); ok && strings.HasPrefix(p.Name, part) &&
				slices.ContainsFunc(targets, func(target string) bool { return strings.HasSuffix(layer, "."+target) }) {
				layers = append(layers, nn.Param{Name: layer, Shape: p.Shape})
			}
		}
	}
	a := &lora.Adapter{Values: nn.Values{}}
	for _, l := range layers {
		out, in := l.Shape[0], l.Shape[1]
		g.Uniform(make([]float32, rank*in+out*rank))
		x := make([]float32, rank*in)
		g.Normal(x)
		for i := range x {
			x[i] /= float32(rank)
		}
		a.Add(l.Name, rank, alpha, in, out, x, make([]float32, out*rank))
	}
	return a
}

// Example returns the training example of an image with three bytes for each of Size × Size pixels,
// row by row.
func (f *Finetuning) Example(rgb []uint8, prompt string) (*Example, error) {
	if len(rgb) != 3*f.r.Size*f.r.Size {
		return nil, fmt.Errorf("an image has %d bytes; must be of %d × %d pixels", len(rgb), f.r.Size, f.r.Size)
	}
	x := make([]float32, len(rgb))
	for i, v := range rgb {
		x[i] = float32(v)/127.5 - 1
	}
	in := tensors.FromFlatDataAndDimensions(x, 1, f.r.Size, f.r.Size, 3)
	out, err := f.encode.Call(append([]*tensors.Tensor{in}, f.weights.Encoder...)...)
	backend.Free(in)
	if err != nil {
		return nil, err
	}
	defer backend.Free(out...)
	return &Example{backend.Float32s(out[0]), backend.Float32s(out[1]), prompt}, nil
}

// text returns the states of a prompt, which are computed once.
func (f *Finetuning) text(prompt string) ([]float32, error) {
	if x, ok := f.texts[prompt]; ok {
		return x, nil
	}
	out, _, err := f.sampler.Encode(f.weights, []string{prompt})
	if err != nil {
		return nil, err
	}
	defer backend.Free(out)
	f.texts[prompt] = backend.Float32s(out)
	return f.texts[prompt], nil
}

// stepSeed is the seed of the draws of a step, so that a training that goes on needs no state of a
// generator.
func stepSeed(seed int64, what string) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, what))
	return 1 + int64(binary.BigEndian.Uint32(sum[:]))%(1<<31-1)
}

// order is the item at place k of an endless list of epochs of a stream.
func (f *Finetuning) order(stream Stream, k int) Item { return stream.Items[f.place(stream, k)] }

// place is the index of the item at place k of an endless list of epochs of a stream, each a
// permutation that is known without those before. The last epoch of each stream is kept.
func (f *Finetuning) place(stream Stream, k int) int {
	n := len(stream.Items)
	seed := stepSeed(f.seeds.Order, fmt.Sprintf("%d %s", k/n, stream.Name))
	e, ok := f.epochs[stream.Name]
	if !ok || e.seed != seed {
		e = epoch{seed, random.NewTorch(seed).Permutation(n)}
		f.epochs[stream.Name] = e
	}
	return e.items[k%n]
}

// An epoch is a permutation of the items of a stream.
type epoch struct {
	seed  int64
	items []int
}

// draws are the random numbers of a step's images of a stream. Arrays have the channels first.
type draws struct {
	noise, grain  []float32
	time, dropped []float32
}

// of is the part of an array that belongs to image i.
func (d draws) of(x []float32, i int) []float32 {
	one := len(x) / len(d.time)
	return x[i*one : (i+1)*one]
}

// prompt is the prompt of image i, or the empty one where it is dropped.
func (d draws) prompt(i int, prompt string, drop float64) string {
	if float64(d.dropped[i]) < drop {
		return ""
	}
	return prompt
}

// latents is height, width and channels of an image's latents.
func (f *Finetuning) latents() [3]int {
	side := f.r.Size / f.c.VAE.Config.Factor()
	return [3]int{side, side, f.c.UNet.Config.InChannels}
}

// draw draws the random numbers of a step for the images of a stream.
func (f *Finetuning) draw(step int, stream string) draws {
	image, n := f.latents(), f.r.Batch
	values := image[0] * image[1] * image[2]
	g := random.NewTorch(stepSeed(f.seeds.Noise, fmt.Sprintf("%d %s", step, stream)))
	d := draws{make([]float32, n*values), make([]float32, n*values), make([]float32, n), make([]float32, n)}
	g.Normal(d.noise)
	g.Normal(d.grain)
	normal := make([]float32, n)
	g.Uniform(d.time)
	g.Uniform(d.dropped)
	g.Normal(normal)
	for i, u := range d.time {
		if f.r.Times == "logit-normal" {
			u = float32(1 / (1 + math.Exp(-float64(normal[i]))))
		}
		d.time[i] = float32(math.Floor(float64(u * float32(f.c.Scheduler.Steps))))
	}
	return d
}

// options returns the optimizer's options of a step, counted from 1.
func (f *Finetuning) options(step int) train.Options {
	r := f.r
	return train.Options{LearningRate: r.LearningRate * min(1, float64(step)/float64(max(1, r.Warmup))), Clip: r.Clip, EMA: r.EMA, Share: 1,
		Adam: train.Adam{Beta1: r.Beta1, Beta2: r.Beta2, Epsilon: 1e-8, WeightDecay: r.WeightDecay}}
}

// A Begun is a step that the device computes.
type Begun struct {
	Reward  float64 // mean of the rollout from which a policy's step learns
	batches []batch
}

// A batch has the parts of a step that are computed at a time, one on each device.
type batch struct {
	share float64 // of the loss of each in the step's
	*train.Future
}

// A beginner begins a part of a step, whose loss has a share in that of the step.
type beginner func(o train.Options, share float64, in train.Inputs) error

// Result waits for the step, and returns the loss before it and the norm of the gradient before it was
// clipped.
func (b *Begun) Result() (loss, norm float64, err error) {
	for _, part := range b.batches {
		r, err := part.Result()
		loss, norm = loss+part.share*r.Loss, r.GradientNorm
		if err != nil {
			return loss, norm, err
		}
	}
	return loss, norm, nil
}

// Step takes a step as Begin does, and returns its result.
func (f *Finetuning) Step(step int, streams []Stream) (loss, norm float64, err error) {
	b, err := f.Begin(step, streams)
	if err != nil {
		return 0, 0, err
	}
	return b.Result()
}

// Begin begins a step, counted from 1. It prepares the step's batches while the device computes the one
// before. If that failed, which its own result says too, Begin returns its error. A policy has one
// stream, of its prompts.
func (f *Finetuning) Begin(step int, streams []Stream) (*Begun, error) {
	b := &Begun{}
	var held []train.Inputs // until each device has its part
	var how train.Options   // of the last part
	var of float64
	flush := func() error {
		if len(held) == 0 {
			return nil
		}
		future, err := f.trainer.Begin(f.state, how, held...)
		if err == nil {
			b.batches, held = append(b.batches, batch{of, future}), nil
		}
		return err
	}
	begin := func(o train.Options, share float64, in train.Inputs) error {
		held, how, of = append(held, in), o, share
		if len(held) < f.r.Devices {
			return nil
		}
		return flush()
	}
	var err error
	switch {
	case f.policy != nil:
		err = f.improve(step, streams[0], begin)
		b.Reward = f.policy.state.Reward
	case f.r.Method != nil:
		err = f.learn(step, streams, begin)
	default:
		err = f.imitate(step, streams, begin)
	}
	if err == nil {
		err = flush()
	}
	return b, err
}

// imitate begins the parts of a step whose loss is the likelihood of images by their weights, or of pairs.
func (f *Finetuning) imitate(step int, streams []Stream, begin beginner) error {
	r, o := f.r, f.options(step)
	for s, stream := range streams {
		d := f.draw(step, stream.Name)
		_, micro := r.Parts(len(streams))
		for from := 0; from < r.Batch; from += micro {
			in, err := f.inputs(stream, step, from, micro, d)
			if err != nil {
				return err
			}
			o.Accumulate = s < len(streams)-1 || from+micro < r.Batch
			if err := begin(o, 1, in); err != nil {
				return err
			}
		}
	}
	return nil
}

// inputs returns the inputs of a part of a batch: micro items from position from. Places beyond the
// batch have the weight 0.
func (f *Finetuning) inputs(stream Stream, step, from, micro int, d draws) (train.Inputs, error) {
	r, image := f.r, f.latents()
	in := map[string][]float32{}
	for k := range micro {
		i := min(from+k, r.Batch-1)
		item := f.order(stream, (step-1)*r.Batch+i)
		weight := item.Weight / float64(r.Batch)
		if from+k >= r.Batch {
			weight = 0
		}
		in["noise"], in["grain"] = last(in["noise"], d.of(d.noise, i), image[2]), last(in["grain"], d.of(d.grain, i), image[2])
		in["t"] = append(in["t"], d.time[i])
		images := map[string]*Example{"": item.Image}
		if r.Pairs {
			images[worse] = item.Image
			if stream.Pairs {
				images[worse] = item.Worse
				in["pair"], weight = append(in["pair"], float32(weight)), 0
			} else {
				in["pair"] = append(in["pair"], 0)
			}
		}
		in["weight"] = append(in["weight"], float32(weight))
		for of, x := range images {
			text, err := f.text(d.prompt(i, x.Prompt, r.Drop))
			if err != nil {
				return nil, err
			}
			in["mean"+of], in["std"+of], in["text"+of] = append(in["mean"+of], x.Mean...), append(in["std"+of], x.Std...), append(in["text"+of], text...)
		}
	}
	out := train.Inputs{}
	for name, x := range in {
		switch n := len(x) / micro; {
		case n == 1:
			out.Vector(name, x)
		case strings.HasPrefix(name, "text"):
			out[name] = tensors.FromFlatDataAndDimensions(x, micro, f.c.Tokens(), n/f.c.Tokens())
		default:
			out[name] = tensors.FromFlatDataAndDimensions(x, micro, image[0], image[1], image[2])
		}
	}
	return out, nil
}

// last appends an array whose channels come first, as PyTorch draws it, with its channels last.
func last(to, x []float32, channels int) []float32 {
	n := len(x) / channels
	for i := range n {
		for c := range channels {
			to = append(to, x[c*n+i])
		}
	}
	return to
}

// Save writes the state after a step into a file.
func (f *Finetuning) Save(to string, step int) error { return f.loop.Save(to, step) }

// Load restores the state of a file, and returns its step. After an error the state is as it was.
func (f *Finetuning) Load(from string) (int, error) { return f.loop.Load(from) }

// Adapter returns the updates as they are now, or their moving average where there is one; nil where all
// weights are trained.
func (f *Finetuning) Adapter() *lora.Adapter {
	if f.adapter == nil {
		return nil
	}
	a := *f.adapter
	a.Values = f.trainer.Average(f.state)
	return &a
}

// UNet returns the denoiser's weights as they are now, or their moving average where there is one, in the order
// of files; nil where only an adapter is trained.
func (f *Finetuning) UNet() map[string]checkpoint.Tensor {
	if f.adapter != nil {
		return nil
	}
	return nn.Filed(f.c.trainedParams(), f.trainer.Average(f.state))
}

// Free releases what the fine-tuning has on the device.
func (f *Finetuning) Free() { f.state.Free() }
