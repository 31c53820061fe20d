// Package stats implements the statistics of ablation studies: means over seeds and prompts
// with confidence intervals for few seeds, moderated standard deviations, Holm's correction for
// multiple comparisons, equivalence tests, group-sequential tests, power and numbers of seeds,
// contrasts of swept axes, Pareto fronts, and metrics of classifiers (accuracy, AUC,
// calibration). Each function states its source and its assumptions. README.md has simulated
// coverage and error rates.
package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is a closed interval.
type Interval struct{ Low, High float64 }

// Excludes reports whether x lies outside the interval.
func (i Interval) Excludes(x float64) bool { return x < i.Low || x > i.High }

// Student returns Student's t interval of a mean at a level such as 0.95, for a standard error
// with df degrees of freedom (Student 1908). It assumes that the values are normal.
func Student(mean, standardError, df, level float64) Interval {
	q := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(.5 + level/2)
	return Interval{mean - q*standardError, mean + q*standardError}
}

// ClopperPearson returns the exact interval of a proportion, good of n (Clopper & Pearson
// 1934), whose coverage is at least its level for every n. good need not be a whole number.
func ClopperPearson(good float64, n int, level float64) Interval {
	tail := (1 - level) / 2
	i := Interval{0, 1}
	if good > 0 {
		i.Low = mathext.InvRegIncBeta(good, float64(n)-good+1, tail)
	}
	if good < float64(n) {
		i.High = mathext.InvRegIncBeta(good+1, float64(n)-good, 1-tail)
	}
	return i
}

// Wilson returns the score interval of a proportion, good of n (Wilson 1927). It assumes
// independent trials, and returns [0, 1] where n is 0.
func Wilson(good, n int, level float64) Interval {
	if n == 0 {
		return Interval{0, 1}
	}
	p, m := float64(good)/float64(n), float64(n)
	z := distuv.UnitNormal.Quantile(.5 + level/2)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return Interval{max(0, centre-half), min(1, centre+half)}
}
