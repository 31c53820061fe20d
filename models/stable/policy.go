package stable

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/finetune"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/train"
)

// A Score returns the reward of each image, which has three bytes for each pixel, row by row.
type Score func(images [][]uint8, prompts []string) ([]float32, error)

// A policy is the state of a training by a policy gradient: it draws images by DDIM with noise, as the
// network predicts with guidance, asks for their rewards, and learns from the sampler's transitions in
// random order.
type policy struct {
	method  finetune.Policy
	net     pipeline.Network
	grid    []float32 // times of the sampler
	batches int       // of a rollout
	draws   *sampler.Sampler
	state   policyState
	order   []int // of the rollout's transitions
	of      int   // the rollout that order is of, counted from 1
}

// policyState is what is saved with the training.
type policyState struct {
	finetune.PolicyState
	Reward float64 // mean of the rollout
}

// newPolicy returns the policy of a recipe.
func (f *Finetuning) newPolicy(method finetune.Policy) (*policy, error) {
	r := f.r
	p := &policy{method: method, net: f.network(nn.Saving{Flash: f.c.Flash}, r.Sampler.Guidance), state: policyState{PolicyState: finetune.PolicyState{History: finetune.History{}}}}
	transitions := r.Rollout.Images * (r.Sampler.Steps - 1)
	switch group := method.Rollout().Group; {
	case r.Sampler.Steps < 2:
		return nil, fmt.Errorf("sampler.steps: %d; must be at least 2: the last step has no noise to learn from", r.Sampler.Steps)
	case transitions < r.Batch:
		return nil, fmt.Errorf("batch: %d; must be at most %d, the transitions of %d images: raise rollout.images or sampler.steps", r.Batch, transitions, r.Rollout.Images)
	case group > r.Rollout.Images:
		return nil, fmt.Errorf("group: %d; must be at most rollout.images, %d", group, r.Rollout.Images)
	}
	p.batches = transitions / r.Batch
	var err error
	if p.grid, err = p.net.Process.Grid(r.Sampler.Steps, 1); err != nil {
		return nil, fmt.Errorf("sampler.steps: %w", err)
	}
	p.draws, err = sampler.New(f.b, p.net)
	return p, err
}

// conditioning returns the conditioning of prompts, float32[n, Cond].
func (f *Finetuning) conditioning(prompts []string) ([]float32, error) {
	var cond []float32
	for _, prompt := range prompts {
		texts := []string{prompt}
		if f.r.Sampler.Guidance > 1 {
			texts = append(texts, "")
		}
		for _, text := range texts {
			states, err := f.text(text)
			if err != nil {
				return nil, err
			}
			cond = append(cond, states...)
		}
	}
	return cond, nil
}

// improve begins the parts of a step of a policy, counted from 1. stream has the prompts.
func (f *Finetuning) improve(step int, stream Stream, begin beginner) error {
	p, r := f.policy, f.r
	k := (step - 1) / p.batches
	if p.state.Rollouts != k+1 {
		if err := f.rollout(k, stream); err != nil {
			return err
		}
	}
	if p.of != k+1 {
		p.order = random.Stream(f.seeds.Order, "fine-tune stable diffusion", "transitions", k).Perm(r.Rollout.Images * (len(p.grid) - 2))
		p.of = k + 1
	}
	o := finetune.Accumulating(step-1, r.Steps, p.batches, p.method.Rollout().Updates, func(i int) train.Options { return f.options(i + 1) })
	_, weight := finetune.Published(p.method)
	update, accumulates := o.Share, o.Accumulate
	_, n := r.Parts(1)
	for from := 0; from < r.Batch; from += n {
		first := (step-1)%p.batches*r.Batch + from
		in, prompts := p.state.Transitions(p.order[first:first+n], p.grid, p.net.Image)
		texts := make([]string, n)
		for i, prompt := range prompts {
			texts[i] = stream.Items[prompt].Image.Prompt
		}
		cond, err := f.conditioning(texts)
		if err != nil {
			return err
		}
		in["cond"] = tensors.FromFlatDataAndDimensions(cond, n, p.net.Cond)
		in.Scalar("noise", r.Rollout.Noise)
		in.Scalar("anchor", weight)
		for name, v := range p.method.Constants() {
			in.Scalar(name, v)
		}
		share := float64(n) / float64(r.Batch)
		o.Share, o.Accumulate = update*share, accumulates || from+n < r.Batch
		if err := begin(o, share, in); err != nil {
			return err
		}
	}
	return nil
}

// rollout draws the images of rollout number k from the weights as they are now.
func (f *Finetuning) rollout(k int, stream Stream) error {
	p, r := f.policy, f.r
	n, group := r.Rollout.Images, max(p.method.Rollout().Group, 1)
	prompts, texts := make([]int, n), make([]string, n)
	for i := range prompts {
		prompts[i] = f.place(stream, k*((n+group-1)/group)+i/group)
		texts[i] = stream.Items[prompts[i]].Image.Prompt
	}
	cond, err := f.conditioning(texts)
	if err != nil {
		return err
	}
	weights, own, err := f.current()
	if err != nil {
		return err
	}
	defer backend.Free(own...)
	trajectories, err := p.draws.TrajectoriesOn(weights, cond, func(i, step int, dst []float32) {
		random.Normal(random.Stream(f.seeds.Noise, "fine-tune stable diffusion", fmt.Sprintf("rollout %d.%d", k, i), step+1), dst)
	}, sampler.Options{Steps: r.Sampler.Steps, Shift: 1, Batch: part(n, r.Micro, 1)}, r.Rollout.Noise, nil)
	if err != nil {
		return err
	}
	var images [][]uint8
	for _, t := range trajectories {
		x := tensors.FromFlatDataAndDimensions(t.States[r.Sampler.Steps], 1, p.net.Image[0], p.net.Image[1], p.net.Image[2])
		decoded, err := f.sampler.Images(f.weights, x)
		backend.Free(x)
		if err != nil {
			return err
		}
		images = append(images, decoded...)
	}
	scores, err := f.Score(images, texts)
	if err != nil {
		return err
	}
	p.state.Reward = 0
	for _, s := range scores {
		p.state.Reward += float64(s) / float64(n)
	}
	p.state.Trajectories, p.state.Prompts, p.state.Rollouts = trajectories, prompts, k+1
	p.state.Advantages = p.method.Advantages(&p.state.History, scores, prompts)
	return nil
}

// current returns the weights of the denoiser as they are now, in the order of network's parameters, and
// those of its arrays that the caller must free.
func (f *Finetuning) current() (weights, own []*tensors.Tensor, err error) {
	if err := f.state.Wait(); err != nil {
		return nil, nil, err
	}
	if f.adapter == nil {
		own, err = f.trainer.Weights(f.state).Tensors(f.b, f.c.trainedParams())
		return own, own, err
	}
	own, err = f.trainer.Weights(f.state).Tensors(f.b, f.adapter.Params())
	return append(append(weights, f.weights.UNet...), own...), own, err
}
