package stats

import "math"

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

// OverSeeds is the interval of a mean over seeds. Seeds that share a part are two
// random effects: the squared standard errors of the two margins add, with the
// degrees of freedom of the smaller, which is conservative (the residual is in
// both). It assumes normal effects, and for seeds that share a part that they
// are crossed or nested evenly. It needs three independent seeds; the second result is false with
// fewer.
func OverSeeds(seeds []Seed, values []float64, level float64) (Interval, bool) {
	n := Independent(seeds)
	if n < 3 {
		return Interval{}, false
	}
	if n == len(seeds) {
		return MeanInterval(values, level), true
	}
	margin := func(of func(Seed) int64) float64 {
		sums, counts := map[int64]float64{}, map[int64]float64{}
		var order []int64
		for i, s := range seeds {
			if counts[of(s)] == 0 {
				order = append(order, of(s))
			}
			sums[of(s)] += values[i]
			counts[of(s)]++
		}
		var means []float64
		for _, k := range order {
			means = append(means, sums[k]/counts[k])
		}
		return Variance(means) / float64(len(means))
	}
	se := math.Sqrt(margin(func(s Seed) int64 { return s.Pretraining }) + margin(func(s Seed) int64 { return s.Feedback }))
	return Student(Mean(values), se, float64(n-1), level), true
}
