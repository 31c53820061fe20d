package process

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/random"
)

// The prediction types of a Flow's network.
const (
	Velocity = "velocity" // ε - x₀
	Sample   = "sample"   // x₀
)

// Flow is rectified flow (Liu et al. 2022, arXiv 2209.03003, eq. 1):
// x_t = (1 - t)·x₀ + t·ε for t in [0, 1], so that t = 1 is noise.
type Flow struct {
	// Prediction is what the network predicts: Velocity or Sample.
	Prediction string
	// Training times are sigmoid(N(TimeMean, TimeStd²)), the logit-normal of Esser et
	// al. 2024 (arXiv 2403.03206), section 3.1.
	TimeMean, TimeStd float64
	// MinTime bounds the weight 1/max(t, MinTime)² of the squared error of a Sample
	// prediction. At times above it the weighted error is the squared error of the velocity.
	MinTime float64
}

var _ Process = Flow{}

// ShapesFlow returns the process of the shapes world's model.
func ShapesFlow() Flow { return Flow{Prediction: Sample, TimeMean: 0.5, TimeStd: 1.2, MinTime: 0.5} }

// Times implements Training.
func (f Flow) Times(r *rand.Rand, t []float32) {
	random.Normal(r, t)
	for i, z := range t {
		t[i] = float32(1 / (1 + math.Exp(-(f.TimeMean + f.TimeStd*float64(z)))))
	}
}

// Noisy implements Training.
func (f Flow) Noisy(x0, eps, t *graph.Node) *graph.Node {
	t = expand(t, x0)
	return graph.Add(graph.Mul(graph.OneMinus(t), x0), graph.Mul(t, eps))
}

// Target implements Training.
func (f Flow) Target(x0, eps, _ *graph.Node) *graph.Node {
	if f.Prediction == Sample {
		return x0
	}
	return graph.Sub(eps, x0)
}

// Clean implements Training.
func (f Flow) Clean(x, prediction, t *graph.Node) *graph.Node {
	if f.Prediction == Sample {
		return prediction
	}
	return graph.Sub(x, graph.Mul(expand(t, x), prediction))
}

// Weight implements Training.
func (f Flow) Weight(t *graph.Node) *graph.Node {
	if f.Prediction == Sample {
		return graph.Reciprocal(graph.Square(graph.MaxScalar(t, f.MinTime)))
	}
	return graph.OnesLike(t)
}

// Grid implements Sampling: s·t/(1 + (s-1)·t) for evenly spaced t and the shift s
// (Esser et al. 2024, eq. 23). A shift so far from 1 that two of the times are equal
// in float32 is an error.
func (f Flow) Grid(n int, shift float64) ([]float32, error) {
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

// Velocity implements Sampling: dx/dt = (x_t - x̂₀)/t.
func (f Flow) Velocity(x, prediction, t *graph.Node) *graph.Node {
	if f.Prediction == Sample {
		return graph.Div(graph.Sub(x, prediction), expand(t, x))
	}
	return prediction
}

// Transition implements Sampling: a step of the stochastic sampler of Flow-GRPO (Liu
// et al. 2025, arXiv 2505.05470, eq. 9), where noise 0 is a step of Euler's method.
func (f Flow) Transition(x, prediction, t, next, noise *graph.Node) (mean, std *graph.Node) {
	v := f.Velocity(x, prediction, t)
	s2, dt := f.variance(t, next, noise), graph.Sub(t, next)
	half := graph.Div(s2, graph.MulScalar(t, 2))
	keep := graph.OneMinus(graph.Mul(half, dt))
	move := graph.Mul(graph.OnePlus(graph.Mul(half, graph.OneMinus(t))), dt)
	mean = graph.Sub(graph.Mul(x, expand(keep, x)), graph.Mul(v, expand(move, x)))
	return mean, graph.Sqrt(graph.Mul(s2, dt))
}

// Diffusion implements Sampling: s = noise·√(t/(1-t)). At t = 1 the denominator is 1 - next,
// because s would be infinite.
func (f Flow) Diffusion(t, next, noise *graph.Node) *graph.Node {
	return graph.Sqrt(f.variance(t, next, noise))
}

// variance is s² float32[B].
func (f Flow) variance(t, next, noise *graph.Node) *graph.Node {
	below := graph.Where(graph.GreaterOrEqual(t, graph.OnesLike(t)), next, t)
	return graph.Mul(graph.Square(noise), graph.Div(t, graph.OneMinus(below)))
}

// Range implements Divergence. It begins near the last step of a sampler of 16 steps.
func (f Flow) Range() (from, to float64) { return 0.1, 1 }

// DivergenceWeight implements Divergence: the signal-to-noise ratio is ((1-t)/t)².
func (f Flow) DivergenceWeight(t float64) float64 {
	if from, _ := f.Range(); t < from {
		return 0
	}
	return (1 - t) / (t * t * t)
}

// Trained implements Divergence.
func (f Flow) Trained(t float64) float64 { return t }

// TimeDensity implements Divergence. It is at least 1e-3, so that a weight that is divided by
// it stays bounded at times that are rarely drawn.
func (f Flow) TimeDensity(t float64) float64 {
	z := (math.Log(t/(1-t)) - f.TimeMean) / f.TimeStd
	return max(math.Exp(-z*z/2)/(f.TimeStd*math.Sqrt(2*math.Pi)*t*(1-t)), 1e-3)
}
