package process

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/scheduler"
)

// DDPM is the discrete process of Ho et al. 2020 (arXiv 2006.11239):
// x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε for t = 0 … Steps-1, with the schedule of a scheduler file of
// diffusers. Its transition is DDIM's (Song et al. 2021, arXiv 2010.02502, eq. 12
// and 16), whose η is the noise scale: 0 is deterministic, and 1 has DDPM's variance.
type DDPM struct {
	scheduler.Schedule     // its Prediction is scheduler.Epsilon or scheduler.VPrediction
	Offset             int `json:"steps_offset"` // added to the times of a sampler
}

var _ Process = DDPM{}

// Check returns an error for a process from a file that is not valid.
func (d DDPM) Check() error {
	if err := d.Schedule.Check(); err != nil {
		return err
	}
	if d.Prediction == scheduler.Sample {
		return fmt.Errorf("prediction_type is %q: must be %s or %s", d.Prediction, scheduler.Epsilon, scheduler.VPrediction)
	}
	if d.Offset < 0 || d.Offset >= d.Steps {
		return fmt.Errorf("steps_offset is %d: it must be from 0 to %d", d.Offset, d.Steps-1)
	}
	return nil
}

// at returns f(ᾱ_t) float32[B] for times t float32[B], looked up in a table that is
// computed in float64. A time before 0 has ᾱ_0, as in Stable Diffusion's
// configuration (set_alpha_to_one false).
func (d DDPM) at(t *graph.Node, f func(alpha float64) float64) *graph.Node {
	table := make([]float32, d.Steps)
	for i, a := range d.Alphas() {
		table[i] = float32(f(a))
	}
	index := graph.ConvertDType(graph.MaxScalar(t, 0), dtypes.Int32)
	return graph.Gather(graph.Const(t.Graph(), table), graph.InsertAxes(index, -1))
}

// signal and noise are √ᾱ_t and √(1-ᾱ_t).
func (d DDPM) signal(t *graph.Node) *graph.Node { return d.at(t, math.Sqrt) }
func (d DDPM) noise(t *graph.Node) *graph.Node {
	return d.at(t, func(a float64) float64 { return math.Sqrt(1 - a) })
}

// Times implements Training: times are uniform.
func (d DDPM) Times(r *rand.Rand, t []float32) {
	for i := range t {
		t[i] = float32(r.IntN(d.Steps))
	}
}

// Noisy implements Training.
func (d DDPM) Noisy(x0, eps, t *graph.Node) *graph.Node {
	return graph.Add(graph.Mul(expand(d.signal(t), x0), x0), graph.Mul(expand(d.noise(t), x0), eps))
}

// Target implements Training.
func (d DDPM) Target(x0, eps, t *graph.Node) *graph.Node {
	if d.Prediction == scheduler.Epsilon {
		return eps
	}
	return graph.Sub(graph.Mul(expand(d.signal(t), x0), eps), graph.Mul(expand(d.noise(t), x0), x0))
}

// Clean implements Training.
func (d DDPM) Clean(x, prediction, t *graph.Node) *graph.Node {
	signal, noise := expand(d.signal(t), x), expand(d.noise(t), x)
	if d.Prediction == scheduler.Epsilon {
		return graph.Div(graph.Sub(x, graph.Mul(noise, prediction)), signal)
	}
	return graph.Sub(graph.Mul(signal, x), graph.Mul(noise, prediction))
}

// Weight implements Training: 1, the "simple" loss (Ho et al. 2020, eq. 14).
func (d DDPM) Weight(t *graph.Node) *graph.Node { return graph.OnesLike(t) }

// Grid implements Sampling: diffusers' "leading" spacing. The last time is one stride below
// the time of the last prediction, and may be below 0 (see at). A DDPM has no shift.
func (d DDPM) Grid(n int, shift float64) ([]float32, error) {
	if shift != 1 {
		return nil, fmt.Errorf("sampler: shift is %v, and a DDPM's times are evenly spaced; must be 1", shift)
	}
	if n < 1 || n > d.Steps {
		return nil, fmt.Errorf("sampler: %d steps; a DDPM of %d training times takes 1 to %d", n, d.Steps, d.Steps)
	}
	stride := d.Steps / n
	if first := (n-1)*stride + d.Offset; first >= d.Steps {
		return nil, fmt.Errorf("sampler: %d steps with steps_offset %d begin at time %d, and the last training time is %d; take fewer steps", n, d.Offset, first, d.Steps-1)
	}
	ts := make([]float32, n+1)
	for i := range ts {
		ts[i] = float32((n-1-i)*stride + d.Offset)
	}
	return ts, nil
}

// Transition implements Sampling: a step of DDIM (eq. 12).
func (d DDPM) Transition(x, prediction, t, next, noise *graph.Node) (mean, std *graph.Node) {
	std = d.Diffusion(t, next, noise)
	x0 := d.Clean(x, prediction, t)
	eps := prediction
	if d.Prediction == scheduler.VPrediction {
		eps = graph.Add(graph.Mul(expand(d.signal(t), x), prediction), graph.Mul(expand(d.noise(t), x), x))
	}
	direction := graph.Sqrt(graph.Sub(graph.Square(d.noise(next)), graph.Square(std)))
	return graph.Add(graph.Mul(expand(d.signal(next), x), x0), graph.Mul(expand(direction, x), eps)), std
}

// Diffusion implements Sampling: η·√((1-ᾱ')/(1-ᾱ)·(1-ᾱ/ᾱ')), with ᾱ' at the next time
// (DDIM, eq. 16).
func (d DDPM) Diffusion(t, next, noise *graph.Node) *graph.Node {
	ratio := graph.Square(graph.Div(d.noise(next), d.noise(t)))
	lost := graph.OneMinus(graph.Square(graph.Div(d.signal(t), d.signal(next))))
	return graph.Mul(noise, graph.Sqrt(graph.Mul(ratio, graph.MaxScalar(lost, 0))))
}

// Velocity implements Sampling: the prediction itself, which DPOK's released code compares
// with the reference's.
func (d DDPM) Velocity(_, prediction, _ *graph.Node) *graph.Node { return prediction }

// Range implements Divergence.
func (d DDPM) Range() (from, to float64) { return 1, float64(d.Steps) }

// Trained implements Divergence.
func (d DDPM) Trained(t float64) float64 { return math.Floor(t) }

// DivergenceWeight implements Divergence: half of SNR(t-1) - SNR(t), with SNR = ᾱ/(1-ᾱ)
// (arXiv 2107.00630, eq. 13). Times between two whole numbers count as the lower one.
func (d DDPM) DivergenceWeight(t float64) float64 {
	k := int(t)
	if k < 1 || k >= d.Steps {
		return 0
	}
	alphas := d.Alphas()
	return (scheduler.SNR(alphas[k-1]) - scheduler.SNR(alphas[k])) / 2
}

// TimeDensity implements Divergence.
func (d DDPM) TimeDensity(float64) float64 { return 1 / float64(d.Steps) }
