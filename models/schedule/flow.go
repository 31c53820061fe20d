// Package schedule says how images are made noisy and what a denoiser's
// prediction means: today rectified flow with x-prediction, the schedule of
// the shapes world. Objectives, samplers and stages speak to a model through
// it, so that another denoiser or schedule changes nothing in them.
package schedule

import (
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
	t = column(t)
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
// s > 1 spends more steps near the noise.
func (f Flow) Steps(n int, shift float64) []float32 {
	ts := make([]float32, n+1)
	for i := range ts {
		t := 1 - float64(i)/float64(n)
		ts[i] = float32(shift * t / (1 + (shift-1)*t))
	}
	return ts
}

// column makes t float32[B] broadcast against images.
func column(t *graph.Node) *graph.Node { return graph.InsertAxes(t, -1, -1, -1) }
