// Package schedule says how images are made noisy and what a denoiser's
// prediction means: today rectified flow with x-prediction, the schedule of
// the shapes world. Objectives, samplers and stages speak to a model through
// it, so that another denoiser or schedule changes nothing in them.
package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/random"
)

// A Denoiser maps a noisy image or latent x float32[B, H, W, C] at time t
// float32[B] and text states to its prediction, float32[B, H, W, C].
type Denoiser func(x, t, text *graph.Node) *graph.Node

// Flow is rectified flow (Liu et al. 2022, arXiv 2209.03003, eq. 1):
// x_t = (1 - t)·x₀ + t·ε, so that t = 1 is noise; the denoiser predicts x₀.
type Flow struct {
	// Times during training are sigmoid(N(TimeMean, TimeStd²)), the
	// logit-normal of Esser et al. 2024 (arXiv 2403.03206), section 3.1.
	TimeMean, TimeStd float64
	// MinTime bounds the loss weight 1/max(t, MinTime)², the weight that makes
	// an x-prediction's error a velocity's error where t is not small.
	MinTime float64
}

// Default is the recipe that was measured to work in the shapes world.
func Default() Flow { return Flow{TimeMean: 0.5, TimeStd: 1.2, MinTime: 0.5} }

// Times fills t with training times drawn from r.
func (f Flow) Times(r *rand.Rand, t []float32) {
	random.Normal(r, t)
	for i, z := range t {
		t[i] = float32(1 / (1 + math.Exp(-(f.TimeMean + f.TimeStd*float64(z)))))
	}
}

// Noisy is x_t for x₀ and ε float32[B, H, W, C] and t float32[B].
func (f Flow) Noisy(x0, eps, t *graph.Node) *graph.Node {
	t = column(t, x0)
	return graph.Add(graph.Mul(graph.OneMinus(t), x0), graph.Mul(t, eps))
}

// Loss is each image's denoising loss float32[B]: the weighted mean over
// pixels of (x̂₀ - x₀)². It stands for -log p of the model.
func (f Flow) Loss(d Denoiser, x0, eps, t, text *graph.Node) *graph.Node {
	prediction := d(f.Noisy(x0, eps, t), t, text)
	mse := graph.ReduceMean(graph.Square(graph.Sub(prediction, x0)), 1, 2, 3)
	floor := graph.MaxScalar(t, f.MinTime)
	return graph.Div(mse, graph.Square(floor))
}

// Velocity is dx/dt = (x_t - x̂₀)/t of a prediction at time t float32[].
func (f Flow) Velocity(x, prediction, t *graph.Node) *graph.Node {
	return graph.Div(graph.Sub(x, prediction), t)
}

// Steps are the times of a sampler of n steps from 1 to 0, n+1 of them, bent
// by shift s: s·t/(1 + (s-1)·t) (Esser et al. 2024, eq. 23). s = 1 is uniform;
// s > 1 spends more steps near the noise. A shift so far from 1 that float32 cannot
// tell two of the times apart is an error.
func (f Flow) Steps(n int, shift float64) ([]float32, error) {
	ts := make([]float32, n+1)
	for i := range ts {
		t := 1 - float64(i)/float64(n)
		ts[i] = float32(shift * t / (1 + (shift-1)*t))
		if i == 0 && ts[i] != 1 || i > 0 && !(ts[i] < ts[i-1]) {
			return nil, fmt.Errorf("sampler: shift %v leaves no room for step %d of %d; choose a shift nearer to 1", shift, max(i, 1), n)
		}
	}
	return ts, nil
}

// Output is u, what objectives compare: the velocity (x_t - x̂₀)/t of a
// prediction, with t bounded below by MinTime, so that the mean of (u - Target)²
// over an image's pixels is Loss.
func (f Flow) Output(x, prediction, t *graph.Node) *graph.Node {
	return graph.Div(graph.Sub(x, prediction), column(f.floor(t), x))
}

// Target is the Output of a prediction that is right: ε - x₀ where t is not
// below MinTime.
func (f Flow) Target(x, x0, t *graph.Node) *graph.Node { return f.Output(x, x0, t) }

// Clean is the x̂₀ that an output u of x_t stands for.
func (f Flow) Clean(x, u, t *graph.Node) *graph.Node {
	return graph.Sub(x, graph.Mul(column(f.floor(t), x), u))
}

func (f Flow) floor(t *graph.Node) *graph.Node { return graph.MaxScalar(t, f.MinTime) }

// StochasticStep is a step of the flow's stochastic sampler from time t to next
// < t, both float32[B] (Liu et al. 2025, arXiv 2505.05470, eq. 9): x_next is
// normal about mean float32[B, ...], with the standard deviation std float32[B]
// in every pixel, where v is the velocity at x_t and
// s = noise·√(t/(1-t)) the sampler's diffusion, s² at t = 1 that of the next time.
func (f Flow) StochasticStep(x, v, t, next, noise *graph.Node) (mean, std *graph.Node) {
	s2, dt := f.diffusion(t, next, noise), graph.Sub(t, next)
	half := graph.Div(s2, graph.MulScalar(t, 2))
	keep := graph.OneMinus(graph.Mul(half, dt))
	move := graph.Mul(graph.OnePlus(graph.Mul(half, graph.OneMinus(t))), dt)
	mean = graph.Sub(graph.Mul(x, column(keep, x)), graph.Mul(v, column(move, x)))
	return mean, graph.Sqrt(graph.Mul(s2, dt))
}

// diffusion is s² float32[B] of the stochastic sampler.
func (f Flow) diffusion(t, next, noise *graph.Node) *graph.Node {
	one := graph.OnesLike(t)
	below := graph.Where(graph.GreaterOrEqual(t, one), next, t)
	return graph.Mul(graph.Square(noise), graph.Div(t, graph.OneMinus(below)))
}

// StepDivergence is the part of the KL divergence between two stochastic
// samplers that differ by their means in one step: the mean over pixels of
// (mean - other)²/(2 s²), float32[B]: Flow-GRPO's KL term as its released code
// has it, with s² in the place of the step's own variance.
func (f Flow) StepDivergence(mean, other, t, next, noise *graph.Node) *graph.Node {
	return graph.Div(MeanSquare(mean, other), graph.MulScalar(f.diffusion(t, next, noise), 2))
}

// LogDensity is the mean over pixels of the log density of y under a normal
// distribution about mean with standard deviation std float32[B]: the mean and
// not the sum, as in ddpo-pytorch and Flow-GRPO.
func LogDensity(y, mean, std *graph.Node) *graph.Node {
	scaled := graph.Div(MeanSquare(y, mean), graph.MulScalar(graph.Square(std), 2))
	return graph.Neg(graph.Add(scaled, graph.AddScalar(graph.Log(std), math.Log(2*math.Pi)/2)))
}

// MeanSquare is the mean over pixels of (a - b)², float32[B].
func MeanSquare(a, b *graph.Node) *graph.Node {
	return MeanPixels(graph.Square(graph.Sub(a, b)))
}

// MeanPixels is the mean of x float32[B, ...] over all axes but the first.
func MeanPixels(x *graph.Node) *graph.Node {
	axes := make([]int, x.Rank()-1)
	for i := range axes {
		axes[i] = i + 1
	}
	return graph.ReduceMean(x, axes...)
}

// DivergenceWeight is what turns the mean over pixels of (u - u')² at time t
// into the density over t of the KL divergence a pixel between the denoising
// processes of two models, (1-t)/t·(v - v')² (Kingma et al. 2021, arXiv
// 2107.00630, eq. 17 in terms of velocity): the integral over t bounds the
// divergence of what they draw. It is cut off below MinDivergenceTime, where a
// sampler takes no more steps.
func (f Flow) DivergenceWeight(t float64) float64 {
	if t < MinDivergenceTime {
		return 0
	}
	ratio := max(t, f.MinTime) / t // of u to the velocity itself
	return (1 - t) / t * ratio * ratio
}

// MinDivergenceTime is the least time at which models are told apart: about the
// last step of a sampler of 16 steps.
const MinDivergenceTime = 0.1

// Density is that of the training times at t.
func (f Flow) Density(t float64) float64 {
	z := (math.Log(t/(1-t)) - f.TimeMean) / f.TimeStd
	return math.Exp(-z*z/2) / (f.TimeStd * math.Sqrt(2*math.Pi) * t * (1 - t))
}

// column makes t float32[B] broadcast against x float32[B, ...].
func column(t, x *graph.Node) *graph.Node {
	for t.Rank() < x.Rank() {
		t = graph.InsertAxes(t, -1)
	}
	return t
}
