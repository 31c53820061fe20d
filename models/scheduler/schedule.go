package scheduler

import (
	"fmt"
	"math"
	"slices"
)

// The prediction types of a network.
const (
	Epsilon     = "epsilon"      // ε
	VPrediction = "v_prediction" // √ᾱ·ε - √(1-ᾱ)·x₀ (Salimans & Ho 2022, appendix D)
	Sample      = "sample"       // x₀
)

// The schedules of beta that are computed from a formula.
const (
	Linear       = "linear"
	ScaledLinear = "scaled_linear"     // √β is linear, as in latent diffusion
	Cosine       = "squaredcos_cap_v2" // Nichol & Dhariwal 2021 (arXiv 2102.09672), eq. 17
)

// A Schedule is the noise of training at each timestep, and what the network predicts there.
type Schedule struct {
	Steps      int       `json:"num_train_timesteps"`
	BetaStart  float64   `json:"beta_start"`
	BetaEnd    float64   `json:"beta_end"`
	Betas      string    `json:"beta_schedule"`
	Trained    []float64 `json:"trained_betas"`          // each β, in place of the three fields above
	Rescale    bool      `json:"rescale_betas_zero_snr"` // the last timestep is pure noise
	Prediction string    `json:"prediction_type"`
}

// Check returns an error for a schedule from a file that is not valid.
func (s Schedule) Check() error {
	inside := func(beta float64) bool { return beta > 0 && beta < 1 }
	switch {
	case s.Steps < 1 || s.Steps > 1<<20:
		return fmt.Errorf("num_train_timesteps is %d: it must be from 1 to 1048576", s.Steps)
	case s.Trained != nil && len(s.Trained) != s.Steps:
		return fmt.Errorf("trained_betas has %d values and num_train_timesteps is %d: both must be equal", len(s.Trained), s.Steps)
	case s.Trained == nil && !slices.Contains([]string{Linear, ScaledLinear, Cosine}, s.Betas):
		return fmt.Errorf("beta_schedule is %q: must be %s, %s or %s", s.Betas, Linear, ScaledLinear, Cosine)
	case s.Trained == nil && s.Betas != Cosine && !(inside(s.BetaStart) && inside(s.BetaEnd) && s.BetaStart <= s.BetaEnd):
		return fmt.Errorf("beta_start is %v and beta_end %v: must be 0 < beta_start <= beta_end < 1", s.BetaStart, s.BetaEnd)
	case s.Rescale && s.Steps < 2:
		return fmt.Errorf("rescale_betas_zero_snr is true and num_train_timesteps is %d: set it to false, or take 2 timesteps or more", s.Steps)
	case !slices.Contains([]string{Epsilon, VPrediction, Sample}, s.Prediction):
		return fmt.Errorf("prediction_type is %q: must be %s, %s or %s", s.Prediction, Epsilon, VPrediction, Sample)
	}
	for i, beta := range s.Trained {
		if !inside(beta) {
			return fmt.Errorf("trained_betas[%d] is %v: must be between 0 and 1", i, beta)
		}
	}
	return nil
}

// Alphas returns ᾱ_t, the product of 1-β up to t, for t = 0 … Steps-1 (alphas_cumprod in
// diffusers): x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε.
func (s Schedule) Alphas() []float64 {
	a := make([]float64, s.Steps)
	product := 1.
	for t := range a {
		product *= 1 - s.beta(t)
		a[t] = product
	}
	if s.Rescale {
		// Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
		first, last := math.Sqrt(a[0]), math.Sqrt(a[s.Steps-1])
		for t := range a {
			root := (math.Sqrt(a[t]) - last) * first / (first - last)
			a[t] = root * root
		}
	}
	return a
}

func (s Schedule) beta(t int) float64 {
	if s.Trained != nil {
		return s.Trained[t]
	}
	if s.Betas == Cosine {
		bar := func(t int) float64 {
			c := math.Cos((float64(t)/float64(s.Steps) + .008) / 1.008 * math.Pi / 2)
			return c * c
		}
		return min(1-bar(t+1)/bar(t), .999)
	}
	from, to := s.BetaStart, s.BetaEnd
	if s.Betas == ScaledLinear {
		from, to = math.Sqrt(from), math.Sqrt(to)
	}
	b := from
	if s.Steps > 1 {
		b += (to - from) * float64(t) / float64(s.Steps-1)
	}
	if s.Betas == ScaledLinear {
		b *= b
	}
	return b
}

// SNR is the signal-to-noise ratio ᾱ/(1-ᾱ).
func SNR(alpha float64) float64 { return alpha / (1 - alpha) }

// clean returns the coefficients of x and of the network's output in x̂₀, the clean image that
// the output implies at x = signal·x₀ + noise·ε.
func (s Schedule) clean(signal, noise float64) (x, output float64) {
	switch s.Prediction {
	case Sample:
		return 0, 1
	case VPrediction:
		return signal, -noise
	}
	return 1 / signal, -noise / signal
}

// noise returns the coefficients of x and of the network's output in ε̂, the noise that the
// output implies at x = signal·x₀ + noise·ε.
func (s Schedule) noise(signal, noise float64) (x, output float64) {
	switch s.Prediction {
	case Sample:
		return 1 / noise, -signal / noise
	case VPrediction:
		return noise, signal
	}
	return 0, 1
}
