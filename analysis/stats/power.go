package stats

import (
	"math"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/stat/distuv"
)

// Design is what the power of a comparison depends on beside the number of seeds.
type Design struct {
	SD       float64 // of the difference of one seed
	Borrowed float64 // degrees of freedom that moderation adds to those of the seeds
	Seeds    int     // with which it does; 0 where that is not known
	// Prompts is the variance of the mean that the choice of prompts causes, whatever the
	// number of seeds, and PromptDF are its degrees of freedom; 0 where prompts are fixed.
	Prompts, PromptDF float64
	// spreads are values that the true SD may have, as multiples of SD and all as likely;
	// none where SD is the true one.
	spreads []float64
}

// DesignOf is the design that an estimate comes from.
func DesignOf(e Estimate) Design {
	n := float64(e.N)
	return Design{SD: math.Sqrt(max(e.SD*e.SD, e.Floor*n)), Borrowed: max(0, e.DF-(n-1)), Seeds: e.N, Prompts: e.Prompts, PromptDF: e.PromptDF}
}

// Estimated is the design whose SD was estimated with df degrees of freedom. Its power is the
// mean over what the true one may be (assurance: O'Hagan, Stevens & Campbell 2005,
// Pharmaceutical Statistics 4). The power at the estimate itself is too high on average,
// because a larger SD costs more power than a smaller one gains.
func (d Design) Estimated(df float64) Design {
	chi := distuv.ChiSquared{K: df}
	d.spreads = make([]float64, 10)
	for i := range d.spreads {
		d.spreads[i] = math.Sqrt(df / chi.Quantile((float64(i)+.5)/float64(len(d.spreads))))
	}
	return d
}

// borrowed are the degrees of freedom that moderation adds over n seeds. With fewer seeds
// than the study has, its rows know less of their common spread, as the variance of the
// logarithm of χ² has it. With more they know more; that is not counted on.
func (d Design) borrowed(n int) float64 {
	if n < d.Seeds {
		return d.Borrowed * trigamma(float64(d.Seeds-1)/2) / trigamma(float64(n-1)/2)
	}
	return d.Borrowed
}

// Power is the probability that a two-sided t test at alpha over n seeds finds a true
// difference delta: the noncentral t, integrated over the logarithm of the variance that
// is drawn, beyond whose bounds one study in 10⁹ lies.
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

// MostSeeds bounds the answer of SeedsNeeded.
const MostSeeds = 10000

// SeedsNeeded is the smallest number of seeds, three or more, with which a
// test at alpha has the power asked for. It reports false where MostSeeds are not enough:
// then more prompts are needed.
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

// Smallest is the smallest true difference that a test at alpha over n seeds finds with the
// power asked for.
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

// PromptsNeeded is the factor by which the number of prompts must grow so that prompts cause
// half of the variance with which delta is found: the other half is left to the seeds. With
// few more prompts than now very many seeds are needed, or no number is enough.
func (d Design) PromptsNeeded(delta, alpha, power float64) float64 {
	z := distuv.UnitNormal.Quantile(1-alpha/2) + distuv.UnitNormal.Quantile(power)
	return d.Prompts / (delta * delta / (z * z) / 2)
}

// UpperSD is the upper confidence bound of a standard deviation that was
// estimated with df degrees of freedom from normal values.
func UpperSD(sd, df, level float64) float64 {
	return sd * math.Sqrt(df/distuv.ChiSquared{K: df}.Quantile(1-level))
}
