// Package process implements the forward processes of diffusion models, rectified flow (Flow)
// and DDPM: how noise is added to an image, what the network predicts, the transition of the
// sampler, and the weights of the divergence between two models. Objectives, samplers and
// distances use a model's process only through the interface Process.
//
// Symbols: x₀ a clean image or latent, ε standard normal noise, x_t the noisy
// image at time t, x̂₀ the clean image that a prediction implies. Arrays are
// float32[B, ...], times float32[B].
package process

import (
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

// A Process is a forward process together with the prediction type of the network. It
// consists of three interfaces, one each for training, sampling and measuring a distance.
type Process interface {
	Training
	Sampling
	Divergence
}

// Training is the part of a process that a training loss uses.
type Training interface {
	// Times fills t with training times drawn from r.
	Times(r *rand.Rand, t []float32)
	// Noisy returns x_t.
	Noisy(x0, eps, t *graph.Node) *graph.Node
	// Target returns what the network should predict at x_t.
	Target(x0, eps, t *graph.Node) *graph.Node
	// Clean returns the x̂₀ that a prediction at x_t implies.
	Clean(x, prediction, t *graph.Node) *graph.Node
	// Weight returns the weight float32[B] of a prediction's squared error in the
	// denoising loss.
	Weight(t *graph.Node) *graph.Node
}

// Sampling is the part of a process that a sampler or a policy uses.
type Sampling interface {
	// Grid returns the n+1 times of a sampler of n steps, from noise to the image.
	// shift above 1 spends more steps near the noise, 1 spaces them evenly.
	Grid(n int, shift float64) ([]float32, error)
	// Transition returns the mean and the standard deviation float32[B] of the
	// normal distribution of the next state, at the time next < t. noise float32[B]
	// scales the randomness; at 0 the standard deviation is 0 and the mean is the
	// deterministic step.
	Transition(x, prediction, t, next, noise *graph.Node) (mean, std *graph.Node)
	// Diffusion returns the transition's standard deviation float32[B] per unit of
	// time, or per step where time is discrete.
	Diffusion(t, next, noise *graph.Node) *graph.Node
	// Velocity returns the value that the velocity anchor of a policy compares: dx/dt of
	// a flow, or the prediction itself where time is discrete.
	Velocity(x, prediction, t *graph.Node) *graph.Node
}

// Divergence is the part of a process that the distance between two models uses. Their
// divergence is the sum over times of DivergenceWeight times the squared difference of
// their x̂₀.
type Divergence interface {
	// Range returns the times between which models are compared.
	Range() (from, to float64)
	// Trained returns the training time for a time of the range: the same time, or rounded
	// down to a whole number where time is discrete.
	Trained(t float64) float64
	// DivergenceWeight is half the loss of signal-to-noise ratio in a unit of time
	// (Kingma et al. 2021, arXiv 2107.00630, eq. 17), which turns the squared
	// difference of x̂₀, summed over pixels, into nats.
	DivergenceWeight(t float64) float64
	// TimeDensity is the probability density of the training times at t.
	TimeDensity(t float64) float64
}

// Loss returns each image's denoising loss float32[B], a surrogate of -log p: the weighted
// mean over pixels of the prediction's squared error.
func Loss(p Training, prediction, target, t *graph.Node) *graph.Node {
	return graph.Mul(p.Weight(t), MeanSquare(prediction, target))
}

// LogProbability returns the mean over pixels of the log density of y under a
// normal distribution with the given mean and standard deviation float32[B]: the
// mean and not the sum, as in ddpo-pytorch and Flow-GRPO.
func LogProbability(y, mean, std *graph.Node) *graph.Node {
	scaled := graph.Div(MeanSquare(y, mean), graph.MulScalar(graph.Square(std), 2))
	return graph.Neg(graph.Add(scaled, graph.AddScalar(graph.Log(std), math.Log(2*math.Pi)/2)))
}

// MeanSquare returns the mean over pixels of (a - b)², float32[B].
func MeanSquare(a, b *graph.Node) *graph.Node {
	return MeanPixels(graph.Square(graph.Sub(a, b)))
}

// MeanPixels returns the mean of x float32[B, ...] over all axes but the first.
func MeanPixels(x *graph.Node) *graph.Node {
	axes := make([]int, x.Rank()-1)
	for i := range axes {
		axes[i] = i + 1
	}
	return graph.ReduceMean(x, axes...)
}

// expand reshapes t float32[B] so that it broadcasts against x float32[B, ...].
func expand(t, x *graph.Node) *graph.Node {
	dims := make([]int, x.Rank())
	for i := range dims {
		dims[i] = 1
	}
	dims[0] = t.Shape().Size()
	return graph.Reshape(t, dims...)
}
