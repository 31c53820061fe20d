package schedule

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

// DDPM is the discrete schedule of Ho et al. 2020 (arXiv 2006.11239), as
// diffusers' configuration files name it: x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε.
type DDPM struct {
	Steps      int     `json:"num_train_timesteps"`
	BetaStart  float64 `json:"beta_start"`
	BetaEnd    float64 `json:"beta_end"`
	Betas      string  `json:"beta_schedule"`   // linear or scaled_linear
	Prediction string  `json:"prediction_type"` // epsilon or v_prediction
}

// Check reports what is wrong with a schedule that was read from a file.
func (d DDPM) Check() error {
	switch {
	case d.Steps < 1 || d.Steps > 1<<20:
		return fmt.Errorf("num_train_timesteps is %d: it must be a positive number", d.Steps)
	case !(d.BetaStart > 0 && d.BetaStart <= d.BetaEnd && d.BetaEnd < 1):
		return fmt.Errorf("beta_start %v and beta_end %v: they must rise within (0, 1)", d.BetaStart, d.BetaEnd)
	case d.Betas != "linear" && d.Betas != "scaled_linear":
		return fmt.Errorf("beta_schedule is %q: this version knows linear and scaled_linear", d.Betas)
	case d.Prediction != "epsilon" && d.Prediction != "v_prediction":
		return fmt.Errorf("prediction_type is %q: this version knows epsilon and v_prediction", d.Prediction)
	}
	return nil
}

// Alphas are ᾱ_t, t = 0 … Steps-1.
func (d DDPM) Alphas() []float64 {
	a := make([]float64, d.Steps)
	from, to := d.BetaStart, d.BetaEnd
	if d.Betas == "scaled_linear" {
		from, to = math.Sqrt(from), math.Sqrt(to)
	}
	product := 1.
	for t := range a {
		b := from
		if d.Steps > 1 {
			b += (to - from) * float64(t) / float64(d.Steps-1)
		}
		if d.Betas == "scaled_linear" {
			b *= b
		}
		product *= 1 - b
		a[t] = product
	}
	return a
}

// DDIM are the coefficients of one step of DDIM (Song et al. 2021, arXiv
// 2010.02502, eq. 12 and 16): the next sample is normal about
// Sample·x_t + Output·(the model's output) with standard deviation Std.
type DDIM struct{ Sample, Output, Std float64 }

// DDIM returns the step from time t with the given stride between times, at η
// (1 is as noisy as DDPM). What lies before time 0 has ᾱ_0, as in
// Stable Diffusion's configuration (set_alpha_to_one false).
func (d DDPM) DDIM(alphas []float64, t, stride int, eta float64) DDIM {
	a, next := alphas[t], alphas[max(t-stride, 0)]
	std := eta * math.Sqrt((1-next)/(1-a)*(1-a/next))
	direction := math.Sqrt(1 - next - std*std) // of ε̂
	// x̂₀ = (x - √(1-ᾱ) ε̂)/√ᾱ; under v-prediction x̂₀ = √ᾱ x - √(1-ᾱ) v and
	// ε̂ = √ᾱ v + √(1-ᾱ) x (Salimans & Ho 2022, appendix D).
	root, rest, keep := math.Sqrt(a), math.Sqrt(1-a), math.Sqrt(next)
	if d.Prediction == "v_prediction" {
		return DDIM{keep*root + direction*rest, direction*root - keep*rest, std}
	}
	return DDIM{keep / root, direction - keep*rest/root, std}
}

// Mean is the step's mean for samples and model outputs float32[B, ...] with
// coefficients float32[B].
func Mean(x, output, sample, coefficient *graph.Node) *graph.Node {
	return graph.Add(graph.Mul(column(sample, x), x), graph.Mul(column(coefficient, x), output))
}
