package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Seed names one run of an arm.
type Seed struct{ Pretraining, Feedback int64 }

// Independent is the number of independent seeds: the smaller number of
// distinct pretraining and distinct feedback seeds. Runs that share either are
// not independent: k × k crossed seeds count as k, and three feedback seeds on
// one pretraining say nothing of another pretraining, and count as one.
func Independent(seeds []Seed) int {
	p, f := map[int64]bool{}, map[int64]bool{}
	for _, s := range seeds {
		p[s.Pretraining], f[s.Feedback] = true, true
	}
	return min(len(p), len(f))
}

// Estimate is a mean, its standard error, and the degrees of freedom with
// which that error is known.
type Estimate struct{ Mean, Error, Freedom float64 }

// Interval is Student's at a level such as 0.95 (Student 1908).
func (e Estimate) Interval(level float64) Interval { return Student(e.Mean, e.Error, e.Freedom, level) }

// Above is the one-sided p value of the hypothesis that the true mean is at
// most x: small where the data say that it lies above.
func (e Estimate) Above(x float64) float64 {
	switch d := e.Mean - x; {
	case e.Error > 0:
		return distuv.StudentsT{Sigma: 1, Nu: e.Freedom}.Survival(d / e.Error)
	case d > 0:
		return 0
	}
	return 1
}

// Differs is the two-sided p value of the hypothesis that the true mean is x.
func (e Estimate) Differs(x float64) float64 {
	return min(1, 2*min(e.Above(x), Estimate{-e.Mean, e.Error, e.Freedom}.Above(-x)))
}

// OverSeeds estimates a mean over both levels, seeds and prompts. It needs
// three independent seeds; the second result is false with fewer.
//
// Seeds that share no part are replicates: the variance of their mean is that
// of the values over their number, which holds all that differs from seed to
// seed, drawn prompts and noise included. Seeds that share parts are two
// crossed random effects (Searle, Casella & McCulloch 1992, chapter 4): the
// variances of both margins add, less the residual that both hold, and never
// less than either; their product is never counted as so many runs.
//
// What seeds have in common beyond that are prompts. Where byPrompt is not nil
// it holds for each seed how far every prompt moves that seed's value
// (Clustered.Influence): the covariance of runs that share a prompt but no
// seed is added, as in two-way clustered errors (Cameron, Gelbach & Miller
// 2011), so that the interval is for other prompts of the kind as well.
//
// Degrees of freedom are Satterthwaite's (1946) for crossed seeds, Cochran's where
// prompts add to seeds. It assumes normal effects.
func OverSeeds(seeds []Seed, values []float64, byPrompt [][]float64) (Estimate, bool) {
	k := Independent(seeds)
	if k < 3 {
		return Estimate{}, false
	}
	e := Estimate{Mean: Mean(values), Freedom: float64(k - 1)}
	var variance, spent float64 // spent: the sum of squared parts over their degrees of freedom
	if k == len(seeds) {
		variance = Variance(values) / float64(k)
		spent = variance * variance / e.Freedom
	} else {
		a, fa := margin(seeds, values, func(s Seed) int64 { return s.Pretraining })
		b, fb := margin(seeds, values, func(s Seed) int64 { return s.Feedback })
		r, fr := residual(seeds, values)
		variance = max(a+b-r, a, b)
		spent = a*a/fa + b*b/fb
		if fr > 0 {
			spent += r * r / fr
		}
	}
	if spent > 0 {
		e.Freedom = max(e.Freedom, variance*variance/spent)
	}
	if byPrompt != nil {
		if shared, clusters := sharedByPrompt(seeds, byPrompt); shared > 0 {
			e.Freedom = cochran(variance, e.Freedom, shared, float64(clusters-1))
			variance += shared
		}
	}
	e.Error = math.Sqrt(variance)
	return e, true
}

// cochran is the degrees of freedom whose 97.5% quantile is that of Cochran &
// Cox (1957, section 4.14) for a sum of two variances: the mean of their
// quantiles, weighted by the variances. Satterthwaite's, with two degrees of
// freedom beside a hundred, covers 92% of 95.
func cochran(a, freedomA, b, freedomB float64) float64 {
	quantile := func(freedom float64) float64 { return distuv.StudentsT{Sigma: 1, Nu: freedom}.Quantile(.975) }
	want := (a*quantile(freedomA) + b*quantile(freedomB)) / (a + b)
	low, high := min(freedomA, freedomB), max(freedomA, freedomB)
	for range 30 {
		if m := (low + high) / 2; quantile(m) > want {
			low = m
		} else {
			high = m
		}
	}
	return low
}

// margin is the variance of the mean as the means of one part of the seed have
// it, and its degrees of freedom.
func margin(seeds []Seed, values []float64, of func(Seed) int64) (variance, freedom float64) {
	sums, counts := map[int64]float64{}, map[int64]float64{}
	var order []int64
	for i, s := range seeds {
		if counts[of(s)] == 0 {
			order = append(order, of(s))
		}
		sums[of(s)] += values[i]
		counts[of(s)]++
	}
	means := make([]float64, len(order))
	for i, k := range order {
		means[i] = sums[k] / counts[k]
	}
	return Variance(means) / float64(len(means)), float64(len(means) - 1)
}

// residual is the part of the variance of the mean that lies in neither
// margin, with its degrees of freedom. It is known where every pretraining seed meets
// every feedback seed; otherwise 0 is returned, and nothing is subtracted.
func residual(seeds []Seed, values []float64) (variance, freedom float64) {
	rows, columns := map[int64]float64{}, map[int64]float64{}
	distinct := map[Seed]bool{}
	for i, s := range seeds {
		rows[s.Pretraining] += values[i]
		columns[s.Feedback] += values[i]
		distinct[s] = true
	}
	a, b := float64(len(rows)), float64(len(columns))
	if len(distinct) != len(seeds) || int(a*b) != len(seeds) {
		return 0, 0
	}
	m := Mean(values)
	var sum float64
	for i, s := range seeds {
		d := values[i] - rows[s.Pretraining]/b - columns[s.Feedback]/a + m
		sum += d * d
	}
	freedom = (a - 1) * (b - 1)
	return sum / freedom / (a * b), freedom
}

// sharedByPrompt is the variance that runs have in common because they drew
// the same prompts, runs that share a part of the seed left out: theirs is in
// the margins. It may be negative by chance. clusters counts the prompts that
// two such runs share.
func sharedByPrompt(seeds []Seed, byPrompt [][]float64) (variance float64, clusters int) {
	groups := func(of func(Seed) Seed) [][]int {
		index := map[Seed]int{}
		var out [][]int
		for i, s := range seeds {
			k, ok := index[of(s)]
			if !ok {
				k = len(out)
				index[of(s)] = k
				out = append(out, nil)
			}
			out[k] = append(out[k], i)
		}
		return out
	}
	all := groups(func(Seed) Seed { return Seed{} })
	one := groups(func(s Seed) Seed { return Seed{Pretraining: s.Pretraining} })
	two := groups(func(s Seed) Seed { return Seed{Feedback: s.Feedback} })
	both := groups(func(s Seed) Seed { return s })
	var sum float64
	for p := range byPrompt[0] {
		squares := func(gs [][]int) (s float64) {
			for _, g := range gs {
				var u float64
				for _, i := range g {
					u += byPrompt[i][p]
				}
				s += u * u
			}
			return s
		}
		if n := slices.IndexFunc(byPrompt, func(u []float64) bool { return u[p] != 0 }); n < 0 {
			continue
		}
		clusters++
		sum += squares(all) - squares(one) - squares(two) + squares(both)
	}
	if clusters < 2 {
		return 0, clusters
	}
	n, c := float64(len(seeds)), float64(clusters)
	return sum / (n * n) * c / (c - 1), clusters
}

// Influence is how far each cluster moves the mean: (sum - mean·count)/n.
func (c Clustered) Influence() []float64 {
	var n float64
	for _, k := range c.Counts {
		n += k
	}
	m := c.mean(nil)
	out := make([]float64, len(c.Sums))
	for i := range out {
		if c.Counts[i] > 0 {
			out[i] = (c.Sums[i] - m*c.Counts[i]) / n
		}
	}
	return out
}
