package scheduler

import (
	"math"
	"testing"
)

// TestAlphas: published values of Stable Diffusion's schedule, ᾱ_0 = .99915 and
// ᾱ_999 = .00466, and schedules whose products are plain.
func TestAlphas(t *testing.T) {
	stable := Schedule{Steps: 1000, BetaStart: .00085, BetaEnd: .012, Betas: ScaledLinear, Prediction: Epsilon}
	a := stable.Alphas()
	if math.Abs(a[0]-.99915) > 1e-9 || math.Abs(a[999]-.0046600) > 1e-6 || stable.Check() != nil {
		t.Errorf("ᾱ runs from %v to %v, %v", a[0], a[999], stable.Check())
	}
	for name, s := range map[string]Schedule{
		"linear":  {Steps: 2, BetaStart: .1, BetaEnd: .5, Betas: Linear, Prediction: Epsilon},
		"trained": {Steps: 2, Trained: []float64{.1, .5}, Prediction: Sample},
	} {
		if a := s.Alphas(); math.Abs(a[1]-.9*.5) > 1e-12 || s.Check() != nil {
			t.Errorf("%s betas give %v, %v", name, a, s.Check())
		}
	}
	// The first ᾱ stays, and the last image is pure noise.
	stable.Rescale = true
	if zero := stable.Alphas(); math.Abs(zero[0]-a[0]) > 1e-12 || zero[999] != 0 || zero[500] >= a[500] {
		t.Errorf("rescaled, ᾱ runs from %v over %v to %v", zero[0], zero[500], zero[999])
	}
}
