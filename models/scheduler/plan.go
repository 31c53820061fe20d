// Package scheduler has the samplers of diffusers' scheduler files: DDIM, DDPM, Euler,
// DPM-Solver++(2M) and PNDM.
//
// A Config is read from a scheduler_config.json. Its Plan has, for each call of the network, a
// Step: the coefficients of linear combinations, computed on the host in float64. Every
// sampler is such a list of steps, so that one compiled graph (Input, the network, Advance)
// serves all of them, at any number of steps. What is not linear (clipping or thresholding the
// clean image, which models of pixels use) is refused.
//
// Timesteps, and the noise levels between which a step goes, are those of diffusers 0.42, also
// where its rules are crude: one step of the spacings leading and linspace begins at the lowest
// timestep, and a step of DDIM and PNDM goes down by num_train_timesteps/n, rounded down, under
// every spacing.
//
// Symbols: x the state, output what the network predicts, z standard normal noise, ᾱ the
// product of 1-β (Schedule), σ = √((1-ᾱ)/ᾱ), x̂₀ and ε̂ the clean image and the noise that an
// output implies.
package scheduler

import (
	"fmt"
	"math"
)

// Depth is the number of predictions that a step combines: its own and those of the Depth-1
// calls before it. PNDM needs 5 at its fifth call.
const Depth = 5

// A Plan is a sampler's work for one number of steps.
type Plan struct {
	// InitSigma is the standard deviation of the first x, which is normal noise.
	InitSigma float64
	// Steps are the calls of the network, in order. PNDM has one more than was asked for.
	Steps []Step
}

// A Step is a call of the network, and the linear combinations that lead to the next x:
//
//	output = network(Input·x, Time)
//	p₀     = KeepX·x + KeepOutput·output
//	next x = X·x + Σ_k Past[k]·p_k + Noise·z
//
// where p_k, for k from 1 on, is p₀ of k calls before, and 0 before the first call.
type Step struct {
	Time              float64 // a timestep of training, which may be fractional
	Input             float64
	KeepX, KeepOutput float64
	X                 float64
	Past              [Depth]float64
	Noise             float64
}

// Stochastic reports whether any step adds noise.
func (p *Plan) Stochastic() bool {
	for _, s := range p.Steps {
		if s.Noise != 0 {
			return true
		}
	}
	return false
}

// Plan returns the plan of n steps. eta is DDIM's η: 0 is deterministic, and 1 has DDPM's
// variance. The other samplers have eta 0.
func (c Config) Plan(n int, eta float64) (*Plan, error) {
	kind, ok := classes[c.Class]
	if !ok {
		return nil, unknownClass(c.Class)
	}
	if n < 1 || n > c.Steps {
		return nil, fmt.Errorf("sampler: %d steps; a model of %d training timesteps takes 1 to %d", n, c.Steps, c.Steps)
	}
	most := 0.
	if c.Class == DDIM {
		most = 1
	}
	if !(eta >= 0 && eta <= most) {
		return nil, fmt.Errorf("sampler: eta is %v; %s takes 0 to %v", eta, c.Class, most)
	}
	plan, err := kind.plan(c, n, eta)
	if err != nil {
		return nil, err
	}
	for i, s := range plan.Steps {
		for _, v := range s.Vector() {
			if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("sampler: step %d of %d, at timestep %v, has no finite solution for prediction_type %s: "+
					"the image has no signal there, or no noise; with rescale_betas_zero_snr a model must predict v_prediction or sample", i+1, n, s.Time, c.Prediction)
			}
		}
	}
	return plan, nil
}
