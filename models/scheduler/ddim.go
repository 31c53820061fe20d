package scheduler

import "math"

// transfer returns the coefficients of x and of the network's output in the mean of DDIM's
// step from ᾱ to the next ᾱ, where noise of standard deviation std is added (Song et al. 2021,
// arXiv 2010.02502, eq. 12): √ᾱ'·x̂₀ + √(1-ᾱ'-std²)·ε̂.
func (s Schedule) transfer(alpha, next, std float64) (x, output float64) {
	signal, noise := math.Sqrt(alpha), math.Sqrt(1-alpha)
	cleanX, cleanOutput := s.clean(signal, noise)
	noiseX, noiseOutput := s.noise(signal, noise)
	image, direction := math.Sqrt(next), math.Sqrt(max(1-next-std*std, 0))
	return image*cleanX + direction*noiseX, image*cleanOutput + direction*noiseOutput
}

// next is ᾱ at a timestep that a step of DDIM or PNDM leads to, which may be below 0.
func (c Config) next(alphas []float64, t int) float64 {
	switch {
	case t >= 0:
		return alphas[t]
	case c.AlphaToOne:
		return 1
	}
	return alphas[0]
}

// ddim is the sampler of Song et al. 2021, with the standard deviation of eq. 16.
func (c Config) ddim(n int, eta float64) (*Plan, error) {
	times, err := c.timesteps(n)
	if err != nil {
		return nil, err
	}
	alphas := c.Alphas()
	plan := &Plan{InitSigma: 1}
	for _, t := range times {
		alpha, next := alphas[int(t)], c.next(alphas, int(t)-c.Steps/n)
		std := eta * math.Sqrt((1-next)/(1-alpha)*(1-alpha/next))
		x, output := c.transfer(alpha, next, std)
		plan.Steps = append(plan.Steps, Step{Time: t, Input: 1, KeepOutput: 1, X: x, Past: [Depth]float64{output}, Noise: std})
	}
	return plan, nil
}
