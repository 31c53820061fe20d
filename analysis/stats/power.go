package stats

import (
	"math"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/stat/distuv"
)

// Design has the quantities that, with the number of seeds, determine the power of a
// comparison.
type Design struct {
	SD       float64 // standard deviation of the difference of one seed
	Borrowed float64 // degrees of freedom that moderation adds
	Seeds    int     // number of seeds at which it adds them; 0 where unknown
	// Prompts is the variance of the mean that the choice of prompts causes, which does not
	// depend on the number of seeds, and PromptDF are its degrees of freedom; both are 0 where
	// prompts are fixed.
	Prompts, PromptDF float64
	// spreads are equally likely values of the true SD, as multiples of SD; empty where SD is
	// known.
	spreads []float64
}

// DesignOf returns the design of an estimate.
func DesignOf(e Estimate) Design {
	n := float64(e.N)
	return Design{SD: math.Sqrt(max(e.SD*e.SD, e.Floor*n)), Borrowed: max(0, e.DF-(n-1)), Seeds: e.N, Prompts: e.Prompts, PromptDF: e.PromptDF}
}

// Estimated returns the design with an SD that was estimated with df degrees of freedom. Its
// power is the mean over the distribution of the true SD (assurance: O'Hagan, Stevens &
// Campbell 2005, Pharmaceutical Statistics 4). The power at the estimate itself is too high on
// average, because a larger SD costs more power than a smaller one gains.
func (d Design) Estimated(df float64) Design {
	chi := distuv.ChiSquared{K: df}
	d.spreads = make([]float64, 10)
	for i := range d.spreads {
		d.spreads[i] = math.Sqrt(df / chi.Quantile((float64(i)+.5)/float64(len(d.spreads))))
	}
	return d
}

// borrowed returns the degrees of freedom that moderation adds with n seeds. With fewer seeds
// than in the study, the common standard deviation of the rows is less precise, in proportion
// to the variance of the logarithm of χ². With more seeds it is more precise, which is ignored.
func (d Design) borrowed(n int) float64 {
	if n < d.Seeds {
		return d.Borrowed * trigamma(float64(d.Seeds-1)/2) / trigamma(float64(n-1)/2)
	}
	return d.Borrowed
}

// Power returns the probability that a two-sided t test at alpha over n seeds is significant
// for a true difference delta: the noncentral t distribution, integrated over the logarithm of
// the sample variance between its quantiles 1e-9 and 1 − 1e-9.
func (d Design) Power(delta float64, n int, alpha float64) float64 {
	if n < 2 {
		return 0
	}
	seeds := d.SD * d.SD / float64(n)
	if seeds+d.Prompts == 0 {
		return 1
	}
	spreads := d.spreads
	if spreads == nil {
		spreads = []float64{1}
	}
	df := float64(n-1) + d.borrowed(n)
	quantile := df
	if d.PromptDF > 0 {
		quantile = min(df, d.PromptDF)
	}
	critical := distuv.StudentsT{Sigma: 1, Nu: quantile}.Quantile(1 - alpha/2)
	chi := distuv.ChiSquared{K: df}
	return quad.Fixed(func(log float64) float64 {
		variance := math.Exp(log) // χ² with df degrees of freedom
		var found float64
		for _, spread := range spreads {
			true := math.Sqrt(seeds*spread*spread + d.Prompts)
			centre, se := math.Abs(delta)/true, math.Sqrt(seeds*spread*spread*variance/df+d.Prompts)/true
			found += distuv.UnitNormal.CDF(centre-critical*se) + distuv.UnitNormal.CDF(-centre-critical*se)
		}
		return found / float64(len(spreads)) * chi.Prob(variance) * variance
	}, math.Log(chi.Quantile(1e-9)), math.Log(chi.Quantile(1-1e-9)), 60, nil, 0)
}

// MostSeeds is the largest number of seeds that SeedsNeeded considers.
const MostSeeds = 10000

// SeedsNeeded returns the smallest number of seeds, three or more, with which a test at alpha
// has the given power. It returns false where MostSeeds are not enough, so that more prompts
// are needed.
func (d Design) SeedsNeeded(delta, alpha, power float64) (int, bool) {
	if math.IsInf(delta, 1) {
		return LeastSeeds, true
	}
	low, high := LeastSeeds-1, LeastSeeds // low is too few
	for d.Power(delta, high, alpha) < power {
		if high == MostSeeds {
			return 0, false
		}
		low, high = high, min(2*high, MostSeeds)
	}
	for high-low > 1 {
		if m := (low + high) / 2; d.Power(delta, m, alpha) < power {
			low = m
		} else {
			high = m
		}
	}
	return high, true
}

// Smallest returns the smallest true difference that a test at alpha over n seeds detects with
// the given power.
func (d Design) Smallest(n int, alpha, power float64) float64 {
	low, high := 0., 1.
	for d.Power(high, n, alpha) < power {
		low, high = high, 2*high
	}
	for range 40 {
		if m := (low + high) / 2; d.Power(m, n, alpha) < power {
			low = m
		} else {
			high = m
		}
	}
	return high
}

// PromptsNeeded returns the factor by which the number of prompts must grow so that prompts
// cause half of the variance that allows delta to be detected; the other half is left to the
// seeds. With a much smaller factor, very many seeds are needed or no number is enough.
func (d Design) PromptsNeeded(delta, alpha, power float64) float64 {
	z := distuv.UnitNormal.Quantile(1-alpha/2) + distuv.UnitNormal.Quantile(power)
	return d.Prompts / (delta * delta / (z * z) / 2)
}

// UpperSD returns the upper confidence bound of a standard deviation that was estimated with df
// degrees of freedom from normal values.
func UpperSD(sd, df, level float64) float64 {
	return sd * math.Sqrt(df/distuv.ChiSquared{K: df}.Quantile(1-level))
}
