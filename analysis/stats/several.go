package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// Corrected is one hypothesis of a family after Holm's correction.
type Corrected struct {
	P     float64 // adjusted p value
	Level float64 // of the interval that excludes the hypothesis exactly where P is below alpha
}

// Holm corrects a family of p values (Holm 1979): the smallest is multiplied by
// their number, the next by one less, and so on, never decreasing. The level
// of each interval is the one at which its hypothesis was tested, 0.95 and up
// for alpha 0.05; those after the first that was not rejected share its level.
func Holm(p []float64, alpha float64) []Corrected {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case p[i] < p[j]:
			return -1
		case p[i] > p[j]:
			return 1
		}
		return 0
	})
	out := make([]Corrected, len(p))
	var last, level float64
	stopped := false
	for rank, i := range order {
		m := float64(len(p) - rank)
		last = max(last, min(1, m*p[i]))
		if !stopped {
			level = 1 - alpha/m
			stopped = last >= alpha
		}
		out[i] = Corrected{P: last, Level: level}
	}
	return out
}

// Equivalent is the p value of two one-sided tests (Schuirmann 1987) of the
// hypothesis that the true mean lies outside ±margin.
func (e Estimate) Equivalent(margin float64) float64 {
	return max(e.Above(-margin), Estimate{-e.Mean, e.Error, e.Freedom}.Above(-margin))
}

// Improvement is the share of pairs that improve, ties counted half, and its
// Wilson interval: the probability of improvement (Agarwal et al. 2021) of
// paired runs, of which independent are (Independent). Differences are oriented
// so that positive is better.
func Improvement(differences []float64, independent int, level float64) (share float64, i Interval) {
	var wins float64
	for _, d := range differences {
		switch {
		case d > 0:
			wins++
		case d == 0:
			wins += .5
		}
	}
	share = wins / float64(len(differences))
	return share, wilson(share, float64(independent), level)
}

// SmallestSignP is the smallest two-sided p value that a sign or permutation
// test over n pairs can give: 2/2ⁿ.
func SmallestSignP(n int) float64 { return math.Ldexp(1, 1-n) }

// Power is the probability that a two-sided paired t test at alpha finds a true
// difference delta, of n pairs whose differences have the given standard
// deviation. The noncentral t is integrated over the spread that is drawn.
func Power(delta, sd float64, n int, alpha float64) float64 {
	if n < 2 {
		return 0
	}
	if sd == 0 {
		return 1
	}
	freedom := float64(n - 1)
	critical := distuv.StudentsT{Sigma: 1, Nu: freedom}.Quantile(1 - alpha/2)
	centre := math.Abs(delta) / sd * math.Sqrt(float64(n))
	chi := distuv.ChiSquared{K: freedom}
	return quad.Fixed(func(u float64) float64 {
		s := math.Sqrt(chi.Quantile(u) / freedom)
		return distuv.UnitNormal.CDF(centre-critical*s) + distuv.UnitNormal.CDF(-centre-critical*s)
	}, 0, 1, 200, nil, 0)
}

// MostSeeds bounds what SeedsNeeded answers.
const MostSeeds = 10000

// SeedsNeeded is the smallest number of pairs, three or more, with which Power
// reaches the power asked for; MostSeeds where even those do not.
func SeedsNeeded(delta, sd, alpha, power float64) int {
	low, high := 2, 3 // low is too few
	for high < MostSeeds && Power(delta, sd, high, alpha) < power {
		low, high = high, min(2*high, MostSeeds)
	}
	for high-low > 1 {
		if m := (low + high) / 2; Power(delta, sd, m, alpha) < power {
			low = m
		} else {
			high = m
		}
	}
	return high
}

// SpreadBound is the upper confidence bound of a standard deviation that was
// estimated with the given degrees of freedom from normal values.
func SpreadBound(sd, freedom, level float64) float64 {
	return sd * math.Sqrt(freedom/distuv.ChiSquared{K: freedom}.Quantile(1-level))
}

// Moderate draws the standard deviations of many small samples towards what
// they have in common (Smyth 2004, section 6.2): each is taken for a draw from
// a scaled inverse chi-squared distribution whose scale and degrees of freedom
// the samples themselves give. Where they differ no more than chance explains,
// all are pooled; where they differ much, each stays nearly what it was. It
// returns the moderated deviations and their degrees of freedom. Samples
// without freedom take the common value. Equal, zero or too few samples
// are returned as they are, or pooled where one alone would be zero.
func Moderate(sd, freedom []float64) (moderated, total []float64) {
	moderated, total = slices.Clone(sd), slices.Clone(freedom)
	var z, f []float64
	for i, s := range sd {
		if s > 0 && freedom[i] > 0 {
			z, f = append(z, 2*math.Log(s)), append(f, freedom[i])
		}
	}
	if len(z) < 2 {
		return moderated, total
	}
	var sum, within float64
	e := make([]float64, len(z))
	for i := range z {
		e[i] = z[i] - mathext.Digamma(f[i]/2) + math.Log(f[i]/2)
		sum += e[i]
		within += trigamma(f[i] / 2)
	}
	n := float64(len(z))
	between := Variance(e) - within/n
	prior := math.Inf(1)
	var scale float64
	if between > 0 {
		prior = 2 * inverseTrigamma(between)
		scale = math.Exp(sum/n + mathext.Digamma(prior/2) - math.Log(prior/2))
	} else { // pooled: the mean of variances is the efficient estimate
		var s, d float64
		for i := range sd {
			s += freedom[i] * sd[i] * sd[i]
			d += freedom[i]
		}
		scale = s / d
	}
	var all float64
	for _, d := range freedom {
		all += d
	}
	for i := range sd {
		if math.IsInf(prior, 1) {
			moderated[i], total[i] = math.Sqrt(scale), all
			continue
		}
		moderated[i] = math.Sqrt((prior*scale + freedom[i]*sd[i]*sd[i]) / (prior + freedom[i]))
		total[i] = min(prior+freedom[i], all)
	}
	return moderated, total
}

// trigamma is the derivative of the digamma function, for x > 0.
func trigamma(x float64) float64 {
	var s float64
	for ; x < 12; x++ {
		s += 1 / (x * x)
	}
	y := 1 / (x * x)
	return s + 1/x + y/2 + y/x*(1./6-y*(1./30-y*(1./42-y/30)))
}

// inverseTrigamma solves trigamma(x) = y by bisection on a log scale.
func inverseTrigamma(y float64) float64 {
	low, high := -20., 20. // of log x
	for range 100 {
		if m := (low + high) / 2; trigamma(math.Exp(m)) > y {
			low = m
		} else {
			high = m
		}
	}
	return math.Exp((low + high) / 2)
}
