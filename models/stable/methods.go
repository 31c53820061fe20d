package stable

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/finetune"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/random"
	"ablate/models/train"
	"ablate/models/unet"
)

// This file trains by the methods of models/finetune, whose plans and losses it uses.

// network returns the denoiser as models/finetune and models/sampler see it: its parameters are those
// of the network, then the updates; its conditioning are the states of a prompt, float32[B, S·D], and
// with guidance above 1 those of the empty prompt after them. The prediction is then guided.
func (f *Finetuning) network(saving nn.Saving, guidance float64) pipeline.Network {
	c := f.c
	tokens, width := c.Tokens(), c.Text.Width
	n := pipeline.Network{Name: fmt.Sprintf("stable diffusion, guidance %v", guidance), Image: f.latents(), Cond: tokens * width,
		Params: c.trainedParams(), Process: process.DDPM{Schedule: c.Scheduler.Schedule, Offset: c.Scheduler.Offset}}
	var updates []nn.Param
	if f.adapter != nil {
		updates = f.adapter.Params()
		n.Params = append(slices.Clone(n.Params), updates...)
	}
	if guidance > 1 {
		n.Cond *= 2
	}
	n.Denoise = func(w nn.Weights, x, t, cond *graph.Node) *graph.Node {
		if updates != nil && w[updates[0].Name] != nil { // the pretrained network has none
			w = f.adapter.Weights(w, w, 1)
		}
		b := x.Shape().Dimensions[0]
		states := func(k int) *graph.Node {
			return graph.Reshape(graph.Slice(cond, graph.AxisRange(), graph.AxisRange(k*tokens*width, (k+1)*tokens*width)), b, tokens, width)
		}
		o := unet.Options{Saving: saving, Type: c.Precision.dtype()}
		if guidance <= 1 {
			return c.UNet.Denoise(w, x, t, states(0), o)
		}
		twice := func(a, b *graph.Node) *graph.Node { return graph.Concatenate([]*graph.Node{a, b}, 0) }
		output := c.UNet.Denoise(w, twice(x, x), twice(t, t), twice(states(1), states(0)), o)
		return guided(output, graph.Scalar(output.Graph(), output.DType(), guidance))
	}
	return n
}

// objective returns the loss of the recipe's method, and whether it reads the pretrained network. Its
// inputs are those of finetune.ObjectiveOf; in the place of x0 it has the distribution of the latents,
// mean and std, and grain.
func (f *Finetuning) objective(saving nn.Saving) (loss train.Loss, reads bool, err error) {
	anchor, _ := finetune.Published(f.r.Method)
	build, err := finetune.ObjectiveOf(f.r.Method, anchor)
	if err != nil {
		return nil, false, err
	}
	guidance := 0.
	reads = true
	if finetune.NeedsTrajectories(f.r.Method) {
		guidance, reads = f.r.Sampler.Guidance, anchor != finetune.AnchorNone
	}
	net := f.network(saving, guidance)
	return func(w nn.Weights, s train.Sets, in train.Nodes) *graph.Node {
		all := maps.Clone(w)
		for name, x := range s[baseSet] {
			if all[name] == nil {
				all[name] = x
			}
		}
		if mean := in["mean"]; mean != nil {
			in = maps.Clone(in)
			in["x0"] = f.c.VAE.Config.Scaled(graph.Add(mean, graph.Mul(in.At("std"), in.At("grain"))))
		}
		return build(net.Process, net.Bind(all, false), net.Bind(s[baseSet], false), in)
	}, reads, nil
}

// part returns how many images of a batch are computed at a time: at most so many, where together
// images depend on each other, and all parts of one size, because the loss is a mean over a part.
func part(batch, most, together int) int {
	if batch%together != 0 {
		return batch
	}
	for n := most / together * together; n > together; n -= together {
		if batch%n == 0 {
			return n
		}
	}
	return together
}

// learn begins the parts of a step of an offline method. The first of the streams has its images and its plan; each
// other one has as many images, of which the loss is the likelihood.
func (f *Finetuning) learn(step int, streams []Stream, begin beginner) error {
	r, o, method, plan := f.r, f.options(step), f.r.Method.(finetune.Offline), streams[0].Plan
	image := f.latents()
	chosen := plan.Draw(random.Stream(f.seeds.Order, "fine-tune stable diffusion", streams[0].Name, step))
	draws := make([]draws, len(streams))
	for s, stream := range streams {
		draws[s] = f.draw(step, stream.Name)
	}
	if plan.Times != nil {
		plan.Times(chosen, draws[0].time)
	}
	_, weight := finetune.Published(method)
	_, n := r.Parts(len(streams))
	for from := 0; from < r.Batch; from += n {
		in := map[string][]float32{}
		put := func(name string, x ...float32) { in[name] = append(in[name], x...) }
		for s, stream := range streams {
			for i := from; i < from+n; i++ {
				item, d := Item{}, draws[s]
				if s > 0 {
					item = f.order(stream, (step-1)*r.Batch+i)
					put("weight", float32(item.Weight/float64(n)))
				} else {
					item = stream.Items[chosen[i]]
					put("weight", 0)
					put("advantage", plan.Advantages[chosen[i]])
					anchor := weight
					if plan.Anchor != nil {
						anchor = plan.Anchor(chosen[i], weight)
					}
					put("anchor", float32(anchor/float64(n)))
				}
				text, err := f.text(d.prompt(i, item.Image.Prompt, r.Drop))
				if err != nil {
					return err
				}
				put("cond", text...)
				put("mean", item.Image.Mean...)
				put("std", item.Image.Std...)
				in["noise"], in["grain"] = last(in["noise"], d.of(d.noise, i), image[2]), last(in["grain"], d.of(d.grain, i), image[2])
				put("time", d.time[i])
			}
		}
		inputs := train.Inputs{}
		for name, x := range in {
			switch name {
			case "cond":
				inputs[name] = tensors.FromFlatDataAndDimensions(x, n*len(streams), f.c.Tokens()*f.c.Text.Width)
			case "mean", "std", "noise", "grain":
				inputs[name] = tensors.FromFlatDataAndDimensions(x, n*len(streams), image[0], image[1], image[2])
			default:
				inputs.Vector(name, x)
			}
		}
		for name, x := range method.Constants() {
			inputs.Scalar(name, x)
		}
		if plan.Inputs != nil {
			plan.Inputs(chosen[from:from+n], inputs)
		}
		share := float64(n) / float64(r.Batch)
		o.Share, o.Accumulate = share, from+n < r.Batch
		if err := begin(o, share, inputs); err != nil {
			return err
		}
	}
	return nil
}
