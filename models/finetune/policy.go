package finetune

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/random"
	"ablate/models/sampler"
	"ablate/models/train"
)

// policyLoss is the loss of a policy gradient over transitions of the stochastic sampler. The
// anchor is the mean over the batch of the divergence of the transition from that of the
// reference (AnchorKL, of Flow-GRPO; as in its released code, the variance is the square of
// the diffusion and not the variance of the transition), or of (v_θ - v_ref)²
// (AnchorVelocity, which DPOK's released code calls KL).
//
// Inputs: state and next state float32[B, H, W, C], cond, time, next, advantage and
// log-probability (under the policy that drew) float32[B], the numbers noise and anchor, and
// the method's constants.
func policyLoss(m Policy, anchor Anchor) loss {
	name := []string{m.Name()}
	l := loss{}
	anchored := anchor == AnchorKL || anchor == AnchorVelocity
	if anchored {
		l.reads, name = []Copy{Reference}, append(name, "anchor", string(anchor))
	}
	l.name = strings.Join(name, " ")
	l.build = func(n networks, in train.Nodes) *graph.Node {
		p, x, t, next := n.net.Process, in.At("state"), in.At("time"), in.At("next")
		noise := graph.BroadcastToShape(in.At("noise"), t.Shape())
		transition := func(d pipeline.Denoiser) (v, mean, std *graph.Node) {
			prediction := d(x, t, in.At("cond"))
			mean, std = p.Transition(x, prediction, t, next, noise)
			return p.Velocity(x, prediction, t), mean, std
		}
		v, mean, std := transition(n.model)
		ratio := graph.Exp(graph.Sub(process.LogProbability(in.At("next state"), mean, std), in.At("log-probability")))
		loss := m.Surrogate(ratio, in.At("advantage"), in)
		if !anchored {
			return loss
		}
		vr, mr, _ := transition(n.copies[Reference])
		distance := process.MeanSquare(v, graph.StopGradient(vr))
		if anchor == AnchorKL {
			variance := graph.Square(p.Diffusion(t, next, noise))
			distance = graph.Div(process.MeanSquare(mean, graph.StopGradient(mr)), graph.MulScalar(variance, 2))
		}
		return graph.Add(loss, graph.Mul(in.At("anchor"), graph.ReduceAllMean(distance)))
	}
	return l
}

// History has the last scores of each prompt.
type History map[int][]float32

// remembered is the number of scores that are kept of a prompt, as in ddpo-pytorch.
const remembered = 32

// Add adds scores, and drops the oldest of a prompt that has more than remembered.
func (h History) Add(scores []float32, prompts []int) {
	for i, s := range scores {
		list := append(h[prompts[i]], s)
		h[prompts[i]] = list[max(len(list)-remembered, 0):]
	}
}

// A PolicyState is the part of a policy's state that is saved with its training: the last rollout.
type PolicyState struct {
	Rollouts     int // number of rollouts so far
	Trajectories []sampler.Trajectory
	Prompts      []int
	Advantages   []float32
	History      History
}

// Transitions returns those inputs of a step that it takes from the rollout, and the prompts of its
// images. at are numbers of transitions, image × step; grid are the sampler's times, and image is
// height, width and channels.
func (s *PolicyState) Transitions(at []int, grid []float32, image [3]int) (train.Inputs, []int) {
	choices, n := len(grid)-2, len(at) // the last step has no noise
	var x, y []float32
	prompts, time, next, advantage, before := make([]int, n), make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i, k := range at {
		j, step := k/choices, k%choices
		t := s.Trajectories[j]
		x, y = append(x, t.States[step]...), append(y, t.States[step+1]...)
		prompts[i], time[i], next[i], advantage[i], before[i] = s.Prompts[j], grid[step], grid[step+1], s.Advantages[j], t.LogProbability[step]
	}
	in := train.Inputs{
		"state":      tensors.FromFlatDataAndDimensions(x, n, image[0], image[1], image[2]),
		"next state": tensors.FromFlatDataAndDimensions(y, n, image[0], image[1], image[2]),
	}
	in.Vector("time", time)
	in.Vector("next", next)
	in.Vector("advantage", advantage)
	in.Vector("log-probability", before)
	return in, prompts
}

// policy fine-tunes by a policy gradient. It draws images with their trajectories, scores
// them, learns from batches of all their transitions in random order, and draws again. The
// gradients of several batches are accumulated to one update, so that a rollout gives
// as many updates as the method asks for. An update is on a random part of all transitions,
// whereas released code takes all transitions of a part of the images.
func (j Job) policy(ctx context.Context, t Tools, m *pipeline.Model, method Policy) (*Tuned, error) {
	transitions := j.Roll.Images * (j.Sampler.Steps - 1)
	if j.Sampler.Steps < 2 {
		return nil, fmt.Errorf("finetune: a policy needs at least 2 steps of the sampler, which has %d: raise sampler.steps", j.Sampler.Steps)
	}
	if transitions < j.Batch {
		return nil, fmt.Errorf("finetune: a rollout of %d images has %d transitions, and a batch takes %d: raise finetune.rollout.images or lower finetune.batch", j.Roll.Images, transitions, j.Batch)
	}
	u, err := j.begin(t, m, policyLoss(method, j.Anchor))
	if err != nil {
		return nil, err
	}
	defer u.state.Free()
	grid, err := m.Process.Grid(j.Sampler.Steps, j.Sampler.Shift)
	if err != nil {
		return nil, err
	}
	p := &policyTraining{training: u, method: method, grid: grid, batches: transitions / j.Batch, PolicyState: PolicyState{History: History{}}}
	return u.loop(ctx, &p.PolicyState, p.next)
}

// A policyTraining is the state of a policy's running training.
type policyTraining struct {
	*training
	method  Policy
	grid    []float32
	batches int // number of batches of a rollout
	PolicyState
	order []int // of the rollout's transitions, image × step
	of    int   // the rollout that order is of, counted from 1
}

// next returns the inputs of a step.
func (p *policyTraining) next(ctx context.Context, step int) (train.Inputs, train.Options, []float64, error) {
	k := step / p.batches
	if p.Rollouts != k+1 {
		if err := p.rollout(ctx, k); err != nil {
			return nil, train.Options{}, nil, err
		}
	}
	choices := p.Sampler.Steps - 1
	if p.of != k+1 {
		p.order, p.of = p.Stream("transition order", k).Perm(len(p.Trajectories)*choices), k+1
	}
	first := step % p.batches * p.Batch
	in, prompts := p.Transitions(p.order[first:first+p.Batch], p.grid, p.model.Image)
	cond := make([]float32, 0, p.Batch*p.width)
	for _, prompt := range prompts {
		cond = append(cond, p.condRow(prompt)...)
	}
	in["cond"] = tensors.FromFlatDataAndDimensions(cond, p.Batch, p.width)
	in.Scalar("noise", p.Roll.Noise)
	in.Scalar("anchor", p.anchorWeight())
	for name, v := range p.method.Constants() {
		in.Scalar(name, v)
	}
	o := Accumulating(step, p.Steps, p.batches, p.method.Rollout().Updates, p.options)
	return in, o, []float64{o.LearningRate, EffectiveSampleSize(backend.Float32s(in["advantage"]))}, nil
}

// Accumulating returns the options of a step of a policy, counted from 0: of the batches of a rollout,
// several give one update. options are those of a step that is an update.
func Accumulating(step, steps, batches, updates int, options func(step int) train.Options) train.Options {
	o := options(step)
	first, last := accumulated(step, steps, batches, updates)
	if n := last - first + 1; n > 1 {
		// Warm-up, schedule and EMA count steps: an update has the mean learning rate of its
		// steps, and the EMA's decay to the power of their number.
		o.LearningRate = 0
		for i := first; i <= last; i++ {
			o.LearningRate += options(i).LearningRate / float64(n)
		}
		o.EMA = math.Pow(o.EMA, float64(n))
		o.Share, o.Accumulate = 1/float64(n), step < last
	}
	return o
}

// accumulated returns the first and the last of the steps whose gradients are accumulated with
// step's to one update. The batches of a rollout are cut into as many even parts as it has
// updates, and the training ends with an update.
func accumulated(step, steps, batches, updates int) (first, last int) {
	updates = min(max(updates, 1), batches)
	start, b := step/batches*batches, step%batches
	part := b * updates / batches
	begin := func(part int) int { return (part*batches + updates - 1) / updates }
	// Integer division puts batch b into part b·updates/batches.
	return start + begin(part), min(start+begin(part+1)-1, steps-1)
}

// rollout draws the trajectories of rollout number k from the current weights.
func (p *policyTraining) rollout(ctx context.Context, k int) error {
	n, group := p.Roll.Images, max(p.method.Rollout().Group, 1)
	p.Prompts = make([]int, n)
	for i := range p.Prompts {
		if i%group > 0 {
			p.Prompts[i] = p.Prompts[i-1]
		} else {
			p.Prompts[i] = p.Prompt("rollout prompt", k*n+i)
		}
	}
	m := p.current("")
	cond, err := p.encoded(m, p.Prompts)
	if err != nil {
		return err
	}
	p.Trajectories, err = p.tools.Sampler.Trajectories(m, cond, func(i, step int, dst []float32) {
		random.Normal(p.Stream(fmt.Sprintf("path noise %d.%d", k, i), step+1), dst)
	}, p.Sampler, p.Roll.Noise, until(ctx))
	if err != nil {
		return err
	}
	images := make([]float32, 0, n*p.model.Pixels())
	for _, t := range p.Trajectories {
		images = append(images, t.States[p.Sampler.Steps]...)
	}
	scores, err := p.Score(images, p.Prompts)
	if err != nil {
		return err
	}
	p.Advantages = p.method.Advantages(&p.History, scores, p.Prompts)
	p.Rollouts = k + 1
	return nil
}
