package scheduler

import "math"

// euler is Euler's method on the probability flow of x = x₀ + σ·ε (Karras et al. 2022, arXiv
// 2206.00364, algorithm 1 without the second order).
func (c Config) euler(n int, _ float64) (*Plan, error) {
	times, sigmas, err := c.sigmas(n)
	if err != nil {
		return nil, err
	}
	plan := &Plan{InitSigma: sigmas[0]}
	if c.Spacing == Leading {
		plan.InitSigma = math.Sqrt(sigmas[0]*sigmas[0] + 1)
	}
	for i, t := range times {
		signal, noise := preserving(sigmas[i])
		cleanX, cleanOutput := c.clean(signal, noise)
		keep := sigmas[i+1] / sigmas[i]
		plan.Steps = append(plan.Steps, Step{Time: t, Input: signal, KeepOutput: 1,
			X: keep + (1-keep)*cleanX*signal, Past: [Depth]float64{(1 - keep) * cleanOutput}})
	}
	return plan, nil
}

// preserving returns √ᾱ and √(1-ᾱ) for σ = √((1-ᾱ)/ᾱ).
func preserving(sigma float64) (signal, noise float64) {
	signal = 1 / math.Sqrt(sigma*sigma+1)
	return signal, sigma * signal
}
