package finetune

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/sampler"
	"ablate/models/schedule"
)

// PolicyLoss is that of a policy gradient over steps of the stochastic sampler:
// DDPO and Flow-GRPO take Clipped, DPOK its own surrogate. The anchor is the
// mean over the batch of the step's divergence from the base ("kl", Flow-GRPO's), or
// of (v_θ - v_base)² ("velocity", what DPOK's released code calls its KL).
//
// Inputs: x_t and x_next float32[B, H, W, C], words, times, next times, advantages and
// old log densities float32[B], and the constants (noise, clip, weight, anchor's weight).
func PolicyLoss(method, anchor string) Loss {
	l := Loss{Name: method + " " + anchor}
	anchored := anchor == "kl" || anchor == "velocity"
	if anchored {
		l.Reads = []Copy{Base}
	}
	l.Build = func(net pipeline.Network, w nn.Weights, copies [3]nn.Weights, _ nn.Weights, in []*graph.Node) *graph.Node {
		x, y, words, t, next, advantage, old := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
		c := scalars(in[7], 4)
		noise := graph.BroadcastToShape(c[0], t.Shape())
		step := func(w nn.Weights) (v, mean, std *graph.Node) {
			denoise, encode := net.Bind(w)
			v = net.Schedule.Velocity(x, denoise(x, t, encode(words)), graph.Reshape(t, t.Shape().Dimensions[0], 1, 1, 1))
			mean, std = net.Schedule.StochasticStep(x, v, t, next, noise)
			return v, mean, std
		}
		v, mean, std := step(w)
		ratio := graph.Exp(graph.Sub(schedule.LogDensity(y, mean, std), old))
		loss := Clipped(ratio, advantage, c[1])
		if method == "dpok" {
			loss = DPOK(ratio, advantage, c[1], c[2])
		}
		if !anchored {
			return loss
		}
		vb, mb, _ := step(copies[Base])
		distance := net.Schedule.StepDivergence(mean, graph.StopGradient(mb), t, next, noise)
		if anchor == "velocity" {
			distance = schedule.MeanSquare(v, graph.StopGradient(vb))
		}
		return graph.Add(loss, graph.Mul(c[3], graph.ReduceAllMean(distance)))
	}
	return l
}

// Rollout is what policies and gradients of the reward are given to draw with.
type Rollout struct {
	Steps int
	Shift float64
	// Prompt is the i-th prompt of a training, a number that names it.
	Prompt func(i int) int
	// Words fills the words of a prompt.
	Words func(prompt int, dst []float32)
	// Score scores images float32[n, H, W, C] in the model's range.
	Score func(images []float32, prompts []int) ([]float32, error)
}

// Policies fine-tunes a model by a policy gradient: it draws images with their
// paths, has them scored, takes steps over all their transitions in random
// order, each once, and draws anew until the steps are taken.
func Policies(s *Step, sample *sampler.Stochastic, m *pipeline.Model, roll Rollout, init, order *rand.Rand, normal func(draw, i, step int, dst []float32), r Recipe, h Hooks) (nn.Values, error) {
	t, err := s.start(m, nil, init)
	if err != nil {
		return nil, err
	}
	defer t.free()
	px, p := m.Pixels(), r.Policy
	times, err := m.Schedule.Steps(roll.Steps, roll.Shift)
	if err != nil {
		return nil, err
	}
	if roll.Steps < 2 {
		return nil, fmt.Errorf("finetune: a policy over %d step of the sampler has no choice to make", roll.Steps)
	}
	track := tracker{}
	var paths []sampler.Path
	var prompts, deck []int // deck: transitions that are left, image × step
	var advantages []float32
	drawn := 0 // how often images were drawn
	batch := func(dims ...int) []int { return append([]int{r.Batch}, dims...) }
	for step := range r.Steps {
		x, y, words := make([]float32, r.Batch*px), make([]float32, r.Batch*px), make([]float32, r.Batch*m.Words)
		t0, t1, adv, old := make([]float32, r.Batch), make([]float32, r.Batch), make([]float32, r.Batch), make([]float32, r.Batch)
		for i := range r.Batch {
			if len(deck) == 0 {
				if paths, prompts, err = rollout(t, sample, m, roll, normal, drawn, p); err != nil {
					return nil, err
				}
				drawn++
				images := make([]float32, 0, len(paths)*px)
				for _, path := range paths {
					images = append(images, path.States[roll.Steps]...)
				}
				scores, err := roll.Score(images, prompts)
				if err != nil {
					return nil, err
				}
				advantages = track.advantages(r.Method, scores, prompts)
				deck = order.Perm(len(paths) * (roll.Steps - 1))
			}
			j, k := deck[0]/(roll.Steps-1), deck[0]%(roll.Steps-1)
			deck = deck[1:]
			copy(x[i*px:], paths[j].States[k])
			copy(y[i*px:], paths[j].States[k+1])
			roll.Words(prompts[j], words[i*m.Words:(i+1)*m.Words])
			t0[i], t1[i], adv[i], old[i] = times[k], times[k+1], advantages[j], paths[j].Density[k]
		}
		image := func(x []float32) *tensors.Tensor {
			return tensors.FromFlatDataAndDimensions(x, batch(m.Image[0], m.Image[1], m.Image[2])...)
		}
		vector := func(x []float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(x, len(x)) }
		opt := r.optimizer(step)
		res, err := s.trainer.Step(t.state, opt, image(x), image(y), tensors.FromFlatDataAndDimensions(words, batch(m.Words)...),
			vector(t0), vector(t1), vector(adv), vector(old),
			vector([]float32{float32(p.Noise), float32(p.ClipRange), float32(p.Weight), float32(r.Weight)}))
		if err != nil {
			return nil, err
		}
		if err := h.after(step, r.Steps, t, Result{res, opt.LearningRate, EffectiveSampleSize(adv)}); err != nil {
			return nil, err
		}
	}
	return t.finish(h), nil
}

// rollout draws a round's paths from the current weights.
func rollout(t *tuning, sample *sampler.Stochastic, m *pipeline.Model, roll Rollout, normal func(draw, i, step int, dst []float32), drawn int, p PolicySet) ([]sampler.Path, []int, error) {
	prompts, words := make([]int, p.Images), make([]float32, p.Images*m.Words)
	for i := range prompts {
		prompts[i] = roll.Prompt(drawn*p.Images + i)
		if g := max(p.Group, 1); i%g > 0 {
			prompts[i] = prompts[i-1]
		}
		roll.Words(prompts[i], words[i*m.Words:(i+1)*m.Words])
	}
	paths, err := sample.Draw(t.weights(), words, func(i, step int, dst []float32) { normal(drawn, i, step, dst) }, roll.Steps, roll.Shift, p.Noise)
	return paths, prompts, err
}

// A tracker remembers the last scores of each prompt.
type tracker map[int][]float32

// Of ddpo-pytorch: scores that are remembered of a prompt, and how many it takes
// to use them.
const remembered, enough = 32, 16

// advantages are what a method makes of a round's scores. DDPO compares with
// the prompt's own last scores where there are enough, else with the round's (Black
// et al. 2023, section 4.3); DPOK subtracts the prompt's mean, which stands
// here for its learned value function; Flow-GRPO takes Advantages of the groups.
func (t tracker) advantages(method string, scores []float32, prompts []int) []float32 {
	if method == "grpo" {
		return clipTo(Advantages(scores, prompts, false), 5)
	}
	for i, s := range scores {
		t[prompts[i]] = tail(append(t[prompts[i]], s), remembered)
	}
	a := make([]float32, len(scores))
	if method == "dpok" {
		for i, s := range scores {
			mean, _ := moments(t[prompts[i]])
			a[i] = s - float32(mean)
		}
		return a
	}
	mean, sd := moments(scores)
	for i, s := range scores {
		m, d := mean, sd
		if own := t[prompts[i]]; len(own) >= enough {
			m, d = moments(own)
		}
		a[i] = float32((float64(s) - m) / (d + 1e-6))
	}
	return clipTo(a, 5)
}

func tail(x []float32, n int) []float32 { return x[max(len(x)-n, 0):] }

func clipTo(x []float32, c float32) []float32 {
	for i := range x {
		x[i] = min(max(x[i], -c), c)
	}
	return x
}

// moments are the mean and the population standard deviation.
func moments(x []float32) (mean, sd float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		sd += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, math.Sqrt(sd)
}
