package scheduler

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// plan decodes a configuration and plans n steps.
func plan(t *testing.T, config string, n int, eta float64) *Plan {
	t.Helper()
	c, err := Decode([]byte(config), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Plan(n, eta)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// advance computes a step on one number, as Advance does on arrays.
func advance(s Step, x, output, z float64, earlier *[Depth - 1]float64) float64 {
	kept := append([]float64{s.KeepX*x + s.KeepOutput*output}, earlier[:]...)
	copy(earlier[:], kept)
	next := s.X*x + s.Noise*z
	for k, p := range kept {
		next += s.Past[k] * p
	}
	return next
}

// TestKnown: plans give the timesteps, sigmas and states of diffusers, for which
// testdata/known.py is the script.
func TestKnown(t *testing.T) {
	b, err := os.ReadFile("testdata/known.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Scheduler json.RawMessage
		Steps     int
		Eta       float64
		InitSigma float64 `json:"init_noise_sigma"`
		Timesteps []float64
		Sigmas    []float64
		Latents   [][2]float64 // the network's input, and x after the step
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, k := range cases {
		t.Run(fmt.Sprintf("%s %d steps", k.Scheduler, k.Steps), func(t *testing.T) {
			check := func(what string, got, want float64) {
				t.Helper()
				// diffusers computes ᾱ and σ in float32.
				if !(math.Abs(got-want) <= 2e-4*math.Abs(want)+2e-5) {
					t.Errorf("%s is %v, want %v", what, got, want)
				}
			}
			p := plan(t, string(k.Scheduler), k.Steps, k.Eta)
			check("init sigma", p.InitSigma, k.InitSigma)
			if k.Sigmas != nil {
				c, err := Decode(k.Scheduler, "")
				if err != nil {
					t.Fatal(err)
				}
				_, sigmas, err := c.sigmas(k.Steps)
				if err != nil || len(sigmas) != len(k.Sigmas) {
					t.Fatalf("%d sigmas, want %d, %v", len(sigmas), len(k.Sigmas), err)
				}
				for i, s := range sigmas {
					check(fmt.Sprintf("sigma %d", i), s, k.Sigmas[i])
				}
			}
			if len(p.Steps) != len(k.Timesteps) {
				t.Fatalf("%d calls, want %d", len(p.Steps), len(k.Timesteps))
			}
			x := .8 * p.InitSigma
			var earlier [Depth - 1]float64
			for i, s := range p.Steps {
				// Karras' first sigma is the last of training, whose timestep diffusers rounds down from
				// 998.99995 where it rounds down at all.
				if d := math.Abs(s.Time - k.Timesteps[i]); d > 2e-3 && !(i == 0 && d == 1 && s.Time == 999) {
					t.Errorf("timestep %d is %v, want %v", i, s.Time, k.Timesteps[i])
				}
				check(fmt.Sprintf("input %d", i), s.Input*x, k.Latents[i][0])
				x = advance(s, x, math.Cos(1.7*float64(i)+.3), math.Sin(2.3*float64(i)+1), &earlier)
				check(fmt.Sprintf("state %d", i), x, k.Latents[i][1])
			}
		})
	}
	if len(cases) < 30 {
		t.Errorf("only %d cases", len(cases))
	}
}

// TestSteps: n from 1 to all timesteps of training. Timesteps fall from at most the last one,
// and a sampler without noise ends at the image where the network knows that it is the only one.
func TestSteps(t *testing.T) {
	const image, start = .7, -1.3
	for _, class := range Classes() {
		for _, spacing := range []string{Leading, Linspace, Trailing} {
			for _, prediction := range []string{Epsilon, VPrediction, Sample} {
				if class == PNDM && prediction == Sample {
					continue
				}
				config := fmt.Sprintf(`{"_class_name": %q, "timestep_spacing": %q, "prediction_type": %q, "beta_schedule": "scaled_linear",
					"beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "skip_prk_steps": true, "set_alpha_to_one": true}`, class, spacing, prediction)
				c, err := Decode([]byte(config), "")
				if err != nil {
					t.Fatal(err)
				}
				alphas := c.Alphas()
				for _, n := range []int{1, 2, 3, 7, 20, 50, 999, 1000} {
					p, err := c.Plan(n, 0)
					if class == DPMSolver && spacing != Trailing && n == 1000 {
						if err == nil || !strings.Contains(err.Error(), "take fewer steps") {
							t.Errorf("%s %s with as many steps as timesteps: %v", class, spacing, err)
						}
						continue
					}
					if err != nil {
						t.Fatal(class, spacing, prediction, n, err)
					}
					calls := n
					if class == PNDM && n > 1 {
						calls++
					}
					if len(p.Steps) != calls {
						t.Fatalf("%s: %d calls for %d steps", class, len(p.Steps), n)
					}
					if p.Stochastic() != (class == DDPM && n > 1) {
						t.Errorf("%s of %d steps is stochastic: %v", class, n, p.Stochastic())
					}
					var earlier [Depth - 1]float64
					x := start * p.InitSigma
					for i, s := range p.Steps {
						if s.Time < 0 || s.Time > 999 || i > 0 && s.Time >= p.Steps[i-1].Time && !(class == PNDM && i == 2 && s.Time == p.Steps[1].Time) {
							t.Errorf("%s %s: timestep %v at call %d of %d", class, spacing, s.Time, i, calls)
						}
						x = advance(s, x, truth(c, alphas, s, x, image), 0, &earlier)
					}
					// A step of DDIM and PNDM ends at the next timestep under leading only.
					exact := map[string]bool{Euler: true, DPMSolver: true, DDPM: true, DDIM: spacing == Leading, PNDM: spacing == Leading && prediction == Epsilon}
					if exact[class] && math.Abs(x-image) > 1e-6 {
						t.Errorf("%s %s %s of %d steps ends at %v, want %v", class, spacing, prediction, n, x, image)
					}
				}
				for _, bad := range []struct {
					n   int
					eta float64
				}{{0, 0}, {-1, 0}, {1001, 0}, {10, -.1}, {10, 1.1}, {10, math.NaN()}} {
					if _, err := c.Plan(bad.n, bad.eta); err == nil {
						t.Errorf("%s plans %d steps with eta %v", class, bad.n, bad.eta)
					}
				}
				if _, err := c.Plan(10, .5); (err == nil) != (class == DDIM) {
					t.Errorf("%s with eta 0.5: %v", class, err)
				}
			}
		}
	}
	if _, err := (Config{Class: "x"}).Plan(1, 0); err == nil {
		t.Error("a plan of an unknown class")
	}
}

// truth is the output of a network that knows the only image.
func truth(c Config, alphas []float64, s Step, x, image float64) float64 {
	x *= s.Input
	signal := s.Input // Euler's √ᾱ
	if c.Class != Euler {
		signal = math.Sqrt(alphas[int(s.Time)])
	}
	noise := math.Sqrt(1 - signal*signal)
	eps := (x - signal*image) / noise
	switch c.Prediction {
	case Sample:
		return image
	case VPrediction:
		return signal*eps - noise*image
	}
	return eps
}
