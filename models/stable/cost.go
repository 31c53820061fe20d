package stable

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/backend"
	"ablate/models/finetune"
	"ablate/models/nn"
	"ablate/models/scheduler"
	"ablate/models/train"
)

// A Cost is what a computation does, and what it needs on the device in bytes.
type Cost struct {
	Flops   float64
	Weights int64 // of the checkpoint, and the state of a training
	Working int64 // the rest, while it computes; 0 where it was not compiled
	Values  int64 // bound of Working that needs no compilation: that of all values of a graph together
}

// WeightsSize is the size of the weights on the device.
func (c *Checkpoint) WeightsSize() (bytes int64) {
	for _, params := range [][]nn.Param{c.textParams(), c.unetParams(), c.encoderParams(), c.decoderParams()} {
		_, size := nn.Arrays(params)
		bytes += size
	}
	return bytes
}

// add adds the cost of some calls of a function.
func (c *Cost) add(fn *backend.Fn, calls int, compile bool, params []nn.Param, in ...shapes.Shape) error {
	weights, size := nn.Arrays(params)
	in = append(in, weights...)
	w, err := fn.Work(in...)
	if err != nil {
		return err
	}
	c.Flops, c.Values = c.Flops+float64(calls)*w.Flops, max(c.Values, w.Values)
	if !compile {
		return nil
	}
	m, err := fn.Memory(in...)
	if err != nil {
		return err
	}
	c.Working = max(c.Working, m.Total()-size)
	return nil
}

func floats(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }

// Cost returns the cost of drawing a batch of images. It compiles if compile is true, which takes
// seconds to a minute; no weights are needed.
func (s *Sampler) Cost(batch int, o Options, compile bool) (c Cost, err error) {
	u, f, tokens := s.c.UNet, s.c.VAE.Config.Factor(), s.c.Tokens()
	x, text := floats(batch, o.Height/f, o.Width/f, u.Config.InChannels), floats(batch, tokens, s.c.Text.Width)
	v := variant{o.Guidance > 1, o.Plan.Stochastic()}
	var step []shapes.Shape
	for range scheduler.Depth {
		step = append(step, x)
	}
	step = append(step, floats(len(o.Plan.Steps[0].Vector())), floats(), floats(), text)
	if v.guided {
		step = append(step, text)
	}
	if v.stochastic {
		step = append(step, x)
	}
	c.Weights = s.c.WeightsSize()
	if err = c.add(s.encode, 2, compile, s.c.textParams(), shapes.Make(dtypes.Int32, batch, tokens)); err != nil {
		return c, err
	}
	if err = c.add(s.steps[v], len(o.Plan.Steps), compile, s.c.unetParams(), step...); err != nil {
		return c, err
	}
	return c, c.add(s.decode, 1, compile, s.c.decoderParams(), x)
}

// Cost returns the cost of all steps of a fine-tuning, with streams that each give a batch, and of a
// policy's rollouts. Of several devices, memory is that of the first, which has all that the others have.
// That of encoding images and prompts, which are known only when it begins, counts
// once, and scoring not at all.
func (f *Finetuning) Cost(streams int, compile bool) (c Cost, err error) {
	r := f.r
	batches, in, err := f.shapes(streams)
	if err != nil {
		return c, err
	}
	devices := max(r.Devices, 1)
	batches = (batches + devices - 1) / devices
	c.Weights = f.c.WeightsSize()
	if err = c.add(f.sampler.encode, 1, compile, f.c.textParams(), shapes.Make(dtypes.Int32, 1, f.c.Tokens())); err != nil {
		return c, err
	}
	if f.policy == nil {
		err = c.add(f.encode, 1, compile, f.c.encoderParams(), floats(1, r.Size, r.Size, 3))
	} else {
		err = f.rollouts(&c, compile)
		// Most steps of a policy add to the gradient of an update.
		batches = max(batches, min(2, f.policy.batches))
	}
	if err != nil {
		return c, err
	}
	update, err := f.trainer.Cost(train.Options{Clip: r.Clip}, batches, r.EMA > 0, compile, in)
	if err != nil {
		return c, err
	}
	// The frozen weights are the checkpoint's.
	c.Flops, c.Weights = c.Flops+float64(r.Steps*devices)*update.Flops, c.Weights+update.State
	c.Working, c.Values = max(c.Working, update.Working), max(c.Values, update.Values)
	return c, nil
}

// Program returns the program of an update from one batch (backend.Fn).
func (f *Finetuning) Program() (string, error) {
	_, in, err := f.shapes(1)
	if err != nil {
		return "", err
	}
	return f.trainer.Program(train.Options{Clip: f.r.Clip}, in)
}

// rollouts adds the cost of drawing the images of a policy.
func (f *Finetuning) rollouts(c *Cost, compile bool) error {
	r, steps := f.r, max(f.r.Sampler.Steps, 1)
	plan, err := f.c.Scheduler.Plan(steps, 0)
	if err != nil {
		return err
	}
	n := part(r.Rollout.Images, r.Micro, 1)
	own, err := f.sampler.Cost(n, Options{Plan: plan, Guidance: r.Sampler.Guidance, Height: r.Size, Width: r.Size}, compile)
	if err != nil {
		return err
	}
	rollouts := (r.Steps + f.policy.batches - 1) / f.policy.batches
	c.Flops += own.Flops * float64(rollouts) * float64(r.Rollout.Images/n)
	c.Working, c.Values = max(c.Working, own.Working), max(c.Values, own.Values)
	return nil
}

// shapes returns of how many batches an update is, and the shapes of the inputs of one.
func (f *Finetuning) shapes(streams int) (batches int, in train.Shapes, err error) {
	r, tokens, width := f.r, f.c.Tokens(), f.c.Text.Width
	of := func(n int) []int { image := f.latents(); return append([]int{n}, image[:]...) }
	batches, n := r.Parts(streams)
	if r.Method == nil {
		in = train.Shapes{"weight": {n}, "t": {n}, "noise": of(n), "grain": of(n)}
		images := []string{""}
		if r.Pairs {
			in["pair"], images = []int{n}, append(images, worse)
		}
		for _, of := range images {
			in["mean"+of], in["std"+of], in["text"+of] = in["noise"], in["noise"], []int{n, tokens, width}
		}
		return streams * batches, in, nil
	}
	if f.policy != nil {
		in = train.Shapes{"state": of(n), "next state": of(n), "cond": {n, f.policy.net.Cond}, "noise": nil, "anchor": nil,
			"time": {n}, "next": {n}, "advantage": {n}, "log-probability": {n}}
	} else {
		method := r.Method.(finetune.Offline)
		all := of(n * streams)
		in = train.Shapes{"weight": {n * streams}, "time": {n * streams}, "advantage": {n}, "anchor": {n}, "cond": {n * streams, tokens * width},
			"mean": all, "std": all, "noise": all, "grain": all}
		more, err := further(method, r.Batch, n)
		if err != nil {
			return 0, nil, err
		}
		for name, x := range more {
			in[name] = x.Shape().Dimensions
			backend.Free(x)
		}
	}
	for name := range r.Method.Constants() {
		in[name] = nil
	}
	return batches, in, nil
}

// further returns the inputs that an offline method adds for n images, by its plan of images with two
// scores.
func further(m finetune.Offline, batch, n int) (train.Inputs, error) {
	s := finetune.Source{Mix: 1, Images: make([]float32, batch), Prompts: make([]int, batch), Scores: make([]float32, batch), Good: make([]bool, batch), Judged: make([]bool, batch)}
	for i := range batch {
		s.Scores[i], s.Good[i], s.Judged[i] = float32(i%2), i%2 == 1, true
	}
	pool, err := finetune.NewPool([]finetune.Source{s})
	if err != nil {
		return nil, err
	}
	plan, err := m.Prepare(pool, batch)
	if err != nil {
		return nil, err
	}
	in := train.Inputs{}
	if plan.Inputs != nil {
		plan.Inputs(make([]int, n), in)
	}
	return in, nil
}

// Size is the size of the checkpoint that the fine-tuning writes.
func (f *Finetuning) Size() int64 {
	params := f.c.UNet.Params()
	if f.adapter != nil {
		params = f.adapter.Params()
	}
	_, size := nn.Arrays(params)
	return size
}
