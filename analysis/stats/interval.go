// Package stats holds the statistics of ablations: means over seeds and prompts
// with intervals that hold at few seeds, corrections for many comparisons,
// equivalence, power, contrasts over sweeps, and Pareto fronts. Each says what it
// assumes and whose it is; what the intervals cover was simulated, and stands
// in README.md beside the widths.
package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is a closed interval.
type Interval struct{ Low, High float64 }

// Excludes reports whether x lies outside the interval.
func (i Interval) Excludes(x float64) bool { return x < i.Low || x > i.High }

// Mean is the arithmetic mean; NaN of nothing.
func Mean(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	var s float64
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}

// Variance is the unbiased variance, divisor n-1; NaN of fewer than two values.
func Variance(x []float64) float64 {
	if len(x) < 2 {
		return math.NaN()
	}
	m := Mean(x)
	var s float64
	for _, v := range x {
		s += (v - m) * (v - m)
	}
	return s / float64(len(x)-1)
}

// Student is the interval of a mean at a level such as 0.95, for a standard
// error with the given degrees of freedom (Student 1908). It assumes that the
// values are normal.
func Student(mean, standardError, freedom, level float64) Interval {
	q := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(.5 + level/2)
	return Interval{mean - q*standardError, mean + q*standardError}
}

// Wilson is the score interval of a proportion, good of n (Wilson 1927). It
// assumes independent trials; [0, 1] where n is 0.
func Wilson(good, n int, level float64) Interval {
	if n == 0 {
		return Interval{0, 1}
	}
	return wilson(float64(good)/float64(n), float64(n), level)
}

func wilson(p, m, level float64) Interval {
	z := distuv.UnitNormal.Quantile(.5 + level/2)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Interval{max(0, centre-half), min(1, centre+half)}
}
