package schedule

import (
	"math"
	"testing"
)

// TestDDIM: a step is the same whether the model says the noise or the velocity
// of it, and at η 0 it leads from x_t to x_next of the same image and noise.
func TestDDIM(t *testing.T) {
	noise := DDPM{Steps: 1000, BetaStart: .00085, BetaEnd: .012, Betas: "scaled_linear", Prediction: "epsilon"}
	velocity := noise
	velocity.Prediction = "v_prediction"
	alphas := noise.Alphas()
	// Published values of Stable Diffusion's schedule: ᾱ_0 = .99915, ᾱ_999 = .00466.
	if math.Abs(alphas[0]-.99915) > 1e-9 || math.Abs(alphas[999]-.0046600) > 1e-6 {
		t.Errorf("ᾱ runs from %v to %v", alphas[0], alphas[999])
	}
	const x0, eps = .7, -1.3
	for _, time := range []int{981, 501, 1} {
		a := alphas[time]
		x, v := math.Sqrt(a)*x0+math.Sqrt(1-a)*eps, math.Sqrt(a)*eps-math.Sqrt(1-a)*x0
		for _, eta := range []float64{0, .5, 1} {
			p, q := noise.DDIM(alphas, time, 20, eta), velocity.DDIM(alphas, time, 20, eta)
			one, other := p.Sample*x+p.Output*eps, q.Sample*x+q.Output*v
			if math.Abs(one-other) > 1e-9 || p.Std != q.Std || (eta == 0) != (p.Std == 0) {
				t.Errorf("time %d, η %v: %v by the noise, %v by the velocity; %v, %v", time, eta, one, other, p.Std, q.Std)
			}
			next := alphas[max(time-20, 0)]
			if want := math.Sqrt(next)*x0 + math.Sqrt(1-next)*eps; eta == 0 && math.Abs(one-want) > 1e-9 {
				t.Errorf("time %d: %v, want %v", time, one, want)
			}
		}
	}
	linear := DDPM{Steps: 2, BetaStart: .1, BetaEnd: .5, Betas: "linear", Prediction: "epsilon"}
	if a := linear.Alphas(); math.Abs(a[1]-.9*.5) > 1e-12 || linear.Check() != nil {
		t.Errorf("linear betas give %v, %v", a, linear.Check())
	}
	for _, bad := range []DDPM{{}, {Steps: 10, BetaStart: .5, BetaEnd: .1}, {Steps: 10, BetaStart: .1, BetaEnd: .2, Betas: "cosine"},
		{Steps: 10, BetaStart: .1, BetaEnd: .2, Betas: "linear", Prediction: "sample"}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken for a schedule", bad)
		}
	}
}
