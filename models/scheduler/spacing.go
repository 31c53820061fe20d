package scheduler

import (
	"fmt"
	"math"
	"sort"
)

// The spacings of timesteps (Lin et al. 2023, arXiv 2305.08891, table 2).
const (
	Leading  = "leading"
	Linspace = "linspace"
	Trailing = "trailing"
)

// timesteps returns n timesteps of the spacing, from the highest to the lowest. Only Euler's
// may be fractional.
func (c Config) timesteps(n int) ([]float64, error) {
	of := n // number of timesteps that are spaced
	if c.Class == DPMSolver && c.Spacing != Trailing {
		of++ // the lowest is left out
	}
	ts := make([]float64, n)
	for i := range ts {
		k := of - 1 - i // from the lowest
		switch c.Spacing {
		case Leading:
			ts[i] = float64(k*(c.Steps/of) + c.Offset)
		case Linspace:
			if k > 0 { // the only one of n = 1 is 0
				ts[i] = float64(k) * (float64(c.Steps-1) / float64(of-1))
			}
			if c.Class != Euler {
				ts[i] = math.RoundToEven(ts[i])
			}
		case Trailing:
			// The rounding of NumPy's arange decides where a timestep is half-way between two.
			from := float64(c.Steps)
			delta := (from - from/float64(n)) - from
			ts[i] = math.RoundToEven(from+float64(float64(i)*delta)) - 1
		}
		if i > 0 && ts[i] >= ts[i-1] {
			return nil, fmt.Errorf("sampler: %d steps of timestep_spacing %s have timestep %v twice; take fewer steps", n, c.Spacing, ts[i])
		}
	}
	if ts[0] > float64(c.Steps-1) {
		return nil, fmt.Errorf("sampler: %d steps with steps_offset %d begin at timestep %v, and the last of training is %d; take fewer steps", n, c.Offset, ts[0], c.Steps-1)
	}
	return ts, nil
}

// sigmas returns the timesteps of Euler and DPM-Solver++ and the σ at each, with the σ at
// which the sampler ends after them.
func (c Config) sigmas(n int) (times, sigmas []float64, err error) {
	table := c.Alphas()
	if c.Rescale {
		table[c.Steps-1] = 1. / (1 << 24) // where it is 0, σ is infinite
	}
	for t, a := range table {
		table[t] = math.Sqrt((1 - a) / a)
	}
	if c.Karras && c.Class == DPMSolver {
		sigmas = karras(table[0], table[c.Steps-1], n)
	} else {
		if times, err = c.timesteps(n); err != nil {
			return nil, nil, err
		}
		for _, t := range times {
			sigmas = append(sigmas, interpolate(table, t))
		}
		if c.Karras {
			low, high := sigmas[n-1], sigmas[0]
			if c.SigmaMin != nil {
				low = *c.SigmaMin
			}
			if c.SigmaMax != nil {
				high = *c.SigmaMax
			}
			if low > high || low == high && n > 1 {
				return nil, nil, fmt.Errorf("sampler: sigma falls from %v to %v in %d steps of use_karras_sigmas; sigma_min must be below sigma_max", high, low, n)
			}
			sigmas = karras(low, high, n)
		}
	}
	if c.Karras {
		times = make([]float64, n)
		for i, s := range sigmas {
			times[i] = timeOf(table, s)
			if c.Class == DPMSolver {
				if c.Betas != Cosine {
					times[i] = math.Round(times[i])
				}
				times[i] = math.Floor(times[i])
			}
		}
	}
	last := 0.
	if c.FinalSigmas == "sigma_min" {
		last = table[0]
	}
	return times, append(sigmas, last), nil
}

// karras returns n noise levels from high to low (Karras et al. 2022, arXiv 2206.00364, eq. 5,
// ρ = 7).
func karras(low, high float64, n int) []float64 {
	const rho = 7
	sigmas := make([]float64, n)
	from, to := math.Pow(high, 1./rho), math.Pow(low, 1./rho)
	for i := range sigmas {
		sigmas[i] = math.Pow(from+(to-from)*float64(i)/float64(max(n-1, 1)), rho)
	}
	return sigmas
}

// interpolate returns the table's value at a time between 0 and its last index.
func interpolate(table []float64, t float64) float64 {
	i := int(t)
	if i >= len(table)-1 {
		return table[len(table)-1]
	}
	return table[i] + (t-float64(i))*(table[i+1]-table[i])
}

// timeOf is the time at which log σ, linear between the entries of a rising table of σ, has a
// value; a value beyond the table has the time of its end.
func timeOf(table []float64, sigma float64) float64 {
	i := sort.SearchFloat64s(table, sigma)
	switch {
	case i == 0:
		return 0
	case i == len(table):
		return float64(i - 1)
	}
	below := math.Log(table[i-1])
	return float64(i-1) + (math.Log(sigma)-below)/(math.Log(table[i])-below)
}
