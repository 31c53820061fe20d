package scheduler

import "math"

// ddpm is the sampler of Ho et al. 2020 (arXiv 2006.11239), eq. 7, between the timesteps of the
// plan. Its variance is β̃ (fixed_small) or β (fixed_large); the last step goes to ᾱ = 1.
func (c Config) ddpm(n int, _ float64) (*Plan, error) {
	times, err := c.timesteps(n)
	if err != nil {
		return nil, err
	}
	alphas := c.Alphas()
	plan := &Plan{InitSigma: 1}
	for i, t := range times {
		alpha, next := alphas[int(t)], 1.
		if i+1 < n {
			next = alphas[int(times[i+1])]
		}
		kept := alpha / next // α of this step, 1-β
		image, stay := math.Sqrt(next)*(1-kept)/(1-alpha), math.Sqrt(kept)*(1-next)/(1-alpha)
		variance := (1 - next) / (1 - alpha) * (1 - kept)
		if c.Variance == "fixed_large" {
			variance = 1 - kept
		}
		if t == 0 {
			variance = 0
		}
		x, output := c.clean(math.Sqrt(alpha), math.Sqrt(1-alpha))
		plan.Steps = append(plan.Steps, Step{Time: t, Input: 1, KeepOutput: 1, X: stay + image*x, Past: [Depth]float64{image * output}, Noise: math.Sqrt(variance)})
	}
	return plan, nil
}
