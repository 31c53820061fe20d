package finetune

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/train"
)

// A GradientGraph has the functions that the loss of a RewardGradient uses inside its graph.
type GradientGraph struct {
	Process process.Process
	// Predict returns the trained network's prediction for states x at a time float32[].
	Predict func(x, time *graph.Node) *graph.Node
	// Score returns the reward float32[B] of images in the model's range. Values outside the
	// range are clipped before, as in the released code of ReFL and AlignProp, and have a
	// gradient of 0.
	Score func(images *graph.Node) *graph.Node
}

// Step is the deterministic step of the sampler from time t to next, both float32[].
func (g GradientGraph) Step(x, t, next *graph.Node) *graph.Node {
	b := x.Shape().Dimensions[0]
	time := graph.BroadcastToDims(t, b)
	mean, _ := g.Process.Transition(x, g.Predict(x, t), time, graph.BroadcastToDims(next, b), graph.ZerosLike(time))
	return mean
}

// clipped is x within the range of images, -1 to 1; its gradient is 0 outside.
func clipped(x *graph.Node) *graph.Node { return graph.MinScalar(graph.MaxScalar(x, -1), 1) }

// gradientLoss is the loss of a RewardGradient. Inputs: state float32[B, H, W, C], cond,
// text (the prompts, for the reward), times float32[K+1], and the method's constants.
func gradientLoss(m RewardGradient, r *RewardModel) loss {
	return loss{name: m.Name() + " " + r.Name, reward: r, build: func(n networks, in train.Nodes) *graph.Node {
		x, times := in.At("state"), in.At("times")
		at := make([]*graph.Node, times.Shape().Dimensions[0])
		for i := range at {
			at[i] = graph.Reshape(graph.Slice(times, graph.AxisElem(i)))
		}
		return m.Loss(GradientGraph{Process: n.net.Process,
			Predict: func(x, t *graph.Node) *graph.Node {
				return n.model(x, graph.BroadcastToDims(t, x.Shape().Dimensions[0]), in.At("cond"))
			},
			Score: func(images *graph.Node) *graph.Node { return n.score(clipped(images), in.At("text")) },
		}, x, at, in)
	}}
}

// reuse is the number of batches that are taken from one draw of partially denoised images.
// The weights that drew the states of a batch are up to reuse-1 steps old.
const reuse = 4

// gradientState is the part of a reward gradient's state that is saved with it.
type gradientState struct {
	Draws  int       // number of draws so far
	States []float32 // [reuse·Batch, H, W, C]
	Stop   int
}

// gradient fine-tunes by the gradient of a reward.
func (j Job) gradient(ctx context.Context, t Tools, m *pipeline.Model, method RewardGradient) (*Tuned, error) {
	l, err := j.loss(j.Reward)
	if err != nil {
		return nil, err
	}
	if j.Sampler.Steps < 2 {
		return nil, fmt.Errorf("finetune: %s needs at least 2 steps of the sampler, which has %d: raise sampler.steps", method.Name(), j.Sampler.Steps)
	}
	grid, err := m.Process.Grid(j.Sampler.Steps, j.Sampler.Shift)
	if err != nil {
		return nil, err
	}
	u, err := j.begin(t, m, l)
	if err != nil {
		return nil, err
	}
	defer u.state.Free()
	g := &gradientTraining{training: u, method: method, grid: grid}
	return u.loop(ctx, &g.gradientState, g.next)
}

// A gradientTraining is the state of a running training by a RewardGradient.
type gradientTraining struct {
	*training
	method RewardGradient
	grid   []float32
	gradientState
}

// prompts returns the prompts of draw number k.
func (g *gradientTraining) prompts(k int) []int {
	p := make([]int, reuse*g.Batch)
	for i := range p {
		p[i] = g.Prompt("rollout prompt", k*len(p)+i)
	}
	return p
}

// next returns the inputs of a step.
func (g *gradientTraining) next(ctx context.Context, step int) (train.Inputs, train.Options, []float64, error) {
	fail := func(err error) (train.Inputs, train.Options, []float64, error) { return nil, train.Options{}, nil, err }
	k, at := step/reuse, step%reuse
	prompts := g.prompts(k)
	if g.Draws != k+1 {
		var err error
		if g.Stop, err = g.method.Stop(g.Sampler.Steps, g.order(step)); err != nil {
			return fail(err)
		}
		m := g.current("")
		cond, err := g.encoded(m, prompts)
		if err != nil {
			return fail(err)
		}
		if g.States, err = g.tools.Sampler.Draw(m, cond, g.noise("start noise", k), g.Sampler, g.Stop, until(ctx)); err != nil {
			return fail(err)
		}
		g.Draws = k + 1
	}
	px, n := g.model.Pixels(), g.Batch
	var cond, text []float32
	for _, p := range prompts[at*n : (at+1)*n] {
		cond = append(cond, g.condRow(p)...)
		text = append(text, g.Text[p*g.model.Text:(p+1)*g.model.Text]...)
	}
	in := train.Inputs{
		"state": tensors.FromFlatDataAndDimensions(g.States[at*n*px:(at+1)*n*px], n, g.model.Image[0], g.model.Image[1], g.model.Image[2]),
		"cond":  tensors.FromFlatDataAndDimensions(cond, n, g.width),
		"text":  tensors.FromFlatDataAndDimensions(text, n, g.model.Text),
	}
	in.Vector("times", g.grid[g.Stop:g.Stop+g.method.Steps(g.Sampler.Steps)+1])
	for name, v := range g.method.Constants() {
		in.Scalar(name, v)
	}
	o := g.options(step)
	return in, o, []float64{o.LearningRate, float64(n)}, nil
}
