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
	// Prompts is the variance of the mean that the choice of prompts causes, whatever the
	// number of seeds, and PromptDF are its degrees of freedom; 0 where prompts are fixed.
	Prompts, PromptDF float64
}

// DesignOf is the design that an estimate comes from.
func DesignOf(e Estimate) Design {
	n := float64(e.N)
	return Design{SD: math.Sqrt(max(e.SD*e.SD, e.Floor*n)), Borrowed: max(0, e.DF-(n-1)), Prompts: e.Prompts, PromptDF: e.PromptDF}
}

// Power is the probability that a two-sided t test at alpha over n seeds finds a true
// difference delta. The noncentral t is integrated over the spread that is drawn.
func (d Design) Power(delta float64, n int, alpha float64) float64 {
	if n < 2 {
		return 0
	}
	seeds := d.SD * d.SD / float64(n)
	if seeds+d.Prompts == 0 {
		return 1
	}
	df := float64(n-1) + d.Borrowed
	quantile := df
	if d.PromptDF > 0 {
		quantile = min(df, d.PromptDF)
	}
	critical := distuv.StudentsT{Sigma: 1, Nu: quantile}.Quantile(1 - alpha/2)
	true := math.Sqrt(seeds + d.Prompts)
	centre := math.Abs(delta) / true
	chi := distuv.ChiSquared{K: df}
	return quad.Fixed(func(u float64) float64 {
		se := math.Sqrt(seeds*chi.Quantile(u)/df+d.Prompts) / true
		return distuv.UnitNormal.CDF(centre-critical*se) + distuv.UnitNormal.CDF(-centre-critical*se)
	}, 0, 1, 60, nil, 0)
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

// PromptsNeeded is by how many times the prompts must be more for half of the
// variance that finds delta to be left to the seeds: with fewer no number of seeds is
// enough, or very many are.
func (d Design) PromptsNeeded(delta, alpha, power float64) float64 {
	z := distuv.UnitNormal.Quantile(1-alpha/2) + distuv.UnitNormal.Quantile(power)
	return d.Prompts / (delta * delta / (z * z) / 2)
}

// UpperSD is the upper confidence bound of a standard deviation that was
// estimated with df degrees of freedom from normal values.
func UpperSD(sd, df, level float64) float64 {
	return sd * math.Sqrt(df/distuv.ChiSquared{K: df}.Quantile(1-level))
}
