package finetune

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/nn"
	"ablate/models/pipeline"
)

// DirectLoss is the gradient of the reward through the sampler. Its inputs are
// images on their way float32[B, H, W, C], words, the times that are left
// float32[K+1], and the constants (weight, margin).
//
//   - draft (Clark et al. 2023, arXiv 2309.17400, DRaFT-K; AlignProp, arXiv
//     2310.03739) goes through the last K of Euler's steps: -w·mean r(x₀).
//   - refl (Xu et al. 2023, arXiv 2304.05977, algorithm 1) takes the image that
//     one prediction from a late step gives: w·mean relu(margin - r(x̂₀)). Its
//     code omits the paper's pretraining term, and so does its default anchor.
func DirectLoss(method string, j Judge) Loss {
	return Loss{Name: method + " " + j.Name, Beside: j.Params,
		Build: func(net pipeline.Network, w nn.Weights, _ [3]nn.Weights, beside nn.Weights, in []*graph.Node) *graph.Node {
			x, words, times, c := in[0], in[1], in[2], scalars(in[3], 2)
			n, b := times.Shape().Dimensions[0], x.Shape().Dimensions[0]
			at := scalars(times, n)
			denoise, encode := net.Bind(w)
			states := encode(words)
			predict := func(x, t *graph.Node) *graph.Node { return denoise(x, graph.BroadcastToDims(t, b), states) }
			if method == "refl" {
				r := j.Score(beside, predict(x, at[0]), words)
				return graph.Mul(c[0], graph.ReduceAllMean(graph.MaxScalar(graph.Sub(c[1], r), 0)))
			}
			for k := range n - 1 {
				v := net.Schedule.Velocity(x, predict(x, at[k]), at[k])
				x = graph.Add(x, graph.Mul(v, graph.Sub(at[k+1], at[k])))
			}
			return graph.Neg(graph.Mul(c[0], graph.ReduceAllMean(j.Score(beside, x, words))))
		}}
}

// Partial draws images from weights up to a step of the sampler, short of the
// last: float32[n, H, W, C] for words float32[n, Words].
type Partial func(w nn.Values, words []float32, draw, stop int) ([]float32, error)

// Direct fine-tunes a model by the gradient of a reward. Images on their way are
// drawn reuse batches at a time: their last steps are taken by weights up to
// reuse-1 updates older.
func Direct(s *Step, m *pipeline.Model, roll Rollout, partial Partial, judge nn.Values, init, order *rand.Rand, r Recipe, h Hooks) (nn.Values, error) {
	t, err := s.start(m, judge, init)
	if err != nil {
		return nil, err
	}
	defer t.free()
	d, px := r.Direct, m.Pixels()
	if r.Method == "draft" && (d.Last < 1 || d.Last >= roll.Steps) {
		return nil, fmt.Errorf("finetune: draft goes back through %d of the sampler's %d steps: it must be at least 1 and leave one", d.Last, roll.Steps)
	}
	times, err := m.Schedule.Steps(roll.Steps, roll.Shift)
	if err != nil {
		return nil, err
	}
	var images, words []float32
	stop := 0
	for step := range r.Steps {
		at := step % reuse
		if at == 0 {
			stop = roll.Steps - d.Last
			if r.Method == "refl" {
				from := min(max(int(d.From*float64(roll.Steps)), 1), roll.Steps-1)
				stop = from + order.IntN(roll.Steps-from)
			}
			words = make([]float32, reuse*r.Batch*m.Words)
			for i := range reuse * r.Batch {
				roll.Words(roll.Prompt(step*r.Batch+i), words[i*m.Words:(i+1)*m.Words])
			}
			if images, err = partial(t.weights(), words, step/reuse, stop); err != nil {
				return nil, err
			}
		}
		left := times[stop:]
		if r.Method == "refl" {
			left = times[stop : stop+2] // the one prediction's own time; the next is not read
		}
		opt := r.optimizer(step)
		res, err := s.trainer.Step(t.state, opt,
			tensors.FromFlatDataAndDimensions(images[at*r.Batch*px:(at+1)*r.Batch*px], r.Batch, m.Image[0], m.Image[1], m.Image[2]),
			tensors.FromFlatDataAndDimensions(words[at*r.Batch*m.Words:(at+1)*r.Batch*m.Words], r.Batch, m.Words),
			tensors.FromFlatDataAndDimensions(left, len(left)),
			tensors.FromFlatDataAndDimensions([]float32{float32(d.Weight), float32(d.Margin)}, 2))
		if err != nil {
			return nil, err
		}
		if err := h.after(step, r.Steps, t, Result{res, opt.LearningRate, float64(r.Batch)}); err != nil {
			return nil, err
		}
	}
	return t.finish(h), nil
}

// reuse is how many batches one draw of images on their way serves: the
// sampler's own batch is that much larger than a step's.
const reuse = 4
