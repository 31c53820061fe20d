package scheduler

// adams are the Adams-Bashforth weights by the number of earlier outputs (Liu et al. 2022,
// arXiv 2202.09778, eq. 9 and 12; latent-diffusion's PLMS for the first ones).
var adams = [...][]float64{
	0: {1},
	2: {3. / 2, -1. / 2},
	3: {23. / 12, -16. / 12, 5. / 12},
	4: {55. / 24, -59. / 24, 37. / 24, -9. / 24},
}

// pndm is PNDM without Runge-Kutta steps (PLMS): DDIM's step with a combination of earlier
// outputs. The second call is made at the end of the first step, whose beginning it then
// repeats with the mean of both outputs; later calls do not use its output.
func (c Config) pndm(n int, _ float64) (*Plan, error) {
	times, err := c.timesteps(n)
	if err != nil {
		return nil, err
	}
	if n > 1 {
		times = append(times[:2:2], times[1:]...)
	}
	alphas := c.Alphas()
	plan := &Plan{InitSigma: 1}
	for i, t := range times {
		s := Step{Time: t, Input: 1, KeepOutput: 1}
		from, to := int(t), int(t)-c.Steps/n
		if i == 1 {
			from, to = to+2*(c.Steps/n), from
		}
		x, output := c.transfer(alphas[from], c.next(alphas, to), 0)
		if i == 1 {
			// The x before the first step is (x - Past[0]·output)/X of that step.
			first := plan.Steps[0]
			s.X = x / first.X
			s.Past = [Depth]float64{output / 2, output/2 - s.X*first.Past[0]}
		} else {
			s.X = x
			for k, w := range adams[min(i, len(adams)-1)] {
				if i-k == 1 {
					k = i // call 0 in place of call 1
				}
				s.Past[k] = w * output
			}
		}
		plan.Steps = append(plan.Steps, s)
	}
	return plan, nil
}
