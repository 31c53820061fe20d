package scheduler

import "math"

// dpmSolver is DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2), which keeps
// x̂₀ of the call before. The first step, and a last one that ends without noise, are of first
// order.
func (c Config) dpmSolver(n int, _ float64) (*Plan, error) {
	times, sigmas, err := c.sigmas(n)
	if err != nil {
		return nil, err
	}
	plan := &Plan{InitSigma: 1}
	for i, t := range times {
		signal, noise := preserving(sigmas[i])
		nextSignal, nextNoise := preserving(sigmas[i+1])
		s := Step{Time: t, Input: 1, X: nextNoise / noise}
		s.KeepX, s.KeepOutput = c.clean(signal, noise)
		h := math.Log(sigmas[i] / sigmas[i+1]) // step of log(√ᾱ/√(1-ᾱ))
		gain := -nextSignal * math.Expm1(-h)
		s.Past[0] = gain
		final := i == n-1 && (c.FinalSigmas == "zero" || c.EulerAtFinal || c.LowerOrderFinal && n < 15)
		if i > 0 && !final {
			change := gain / 2 * h / math.Log(sigmas[i-1]/sigmas[i])
			s.Past[0] += change
			s.Past[1] = -change
		}
		plan.Steps = append(plan.Steps, s)
	}
	return plan, nil
}
