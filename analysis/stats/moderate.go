package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Shared is how far the logarithms of the variances of rows are taken to be correlated
// whose differences are from one reference: they have its noise in common, which for equal
// spreads correlates differences by ½ and variances by ¼. With 0.15 the family-wise error
// stays below .065 under every spread that TestErrors simulates; with 0 it reaches .08, and
// 0.25 gives away power.
const Shared = .15

// outlying is the probability beyond which a spread is not one of the others'.
const outlying = .01

// Moderate draws the standard deviations of the rows of a table towards their common
// value, in the manner of Smyth (2004), and returns the moderated ones with their
// degrees of freedom. At three seeds a row alone hardly knows its spread; the other
// rows do, as far as their spreads are alike.
//
// Three things differ from Smyth's estimate, whose family-wise error reached .24 at three
// seeds where one row had five times the spread of the others (README.md):
//   - The common value is the geometric mean of the variances, which lies above Smyth's
//     where spreads differ.
//   - The noise that rows share (shared: Shared, or 0 for independent rows) makes their
//     spreads look more alike than they are, and makes them know less of the common value;
//     both are taken into account, and the degrees of freedom that a row gains are limited by those of
//     the common value.
//   - A spread that is too large for the others' distribution stays as it is (Phipson
//     et al. 2016).
//
// A row whose SD or degrees of freedom are 0 is not counted among the others. One of
// SD 0 with degrees of freedom gets the moderated value. With fewer than two others
// everything stays as it is.
func Moderate(sd, df []float64, shared float64) (moderated, total []float64) {
	a, b := ModerateAll([][]float64{sd}, [][]float64{df}, shared)
	return a[0], b[0]
}

// ModerateAll is Moderate for several metrics of the same rows. Each has a common value of
// its own; how far spreads lie apart is estimated for half from the metric and for half
// from all of them, for a few rows alone hardly know it.
func ModerateAll(sd, df [][]float64, shared float64) (moderated, total [][]float64) {
	between := make([]float64, len(sd)) // variance of the logarithms that chance does not explain
	logs, chance := make([][]float64, len(sd)), make([]float64, len(sd))
	var sum, of float64
	for g := range sd {
		moderated, total = append(moderated, slices.Clone(sd[g])), append(total, slices.Clone(df[g]))
		var within []float64
		for i, s := range sd[g] {
			if s > 0 && df[g][i] > 0 {
				// The expectation of log χ²ₙ/n is digamma(n/2) − log(n/2), its variance trigamma(n/2).
				logs[g] = append(logs[g], 2*math.Log(s)-mathext.Digamma(df[g][i]/2)+math.Log(df[g][i]/2))
				within = append(within, trigamma(df[g][i]/2))
			}
		}
		if len(logs[g]) < 2 {
			continue
		}
		chance[g] = stat.Mean(within, nil)
		between[g] = stat.Variance(logs[g], nil)/(1-shared) - chance[g]
		sum, of = sum+between[g], of+1
	}
	for g := range sd {
		if len(logs[g]) < 2 {
			continue
		}
		m := float64(len(logs[g]))
		prior := 2 * (m - 1) / (chance[g] * (1 + (m-2)*shared)) // of the common value
		if v := (between[g] + sum/of) / 2; v > 0 {
			prior = 1 / (1/prior + 1/(2*inverseTrigamma(v)))
		}
		common := math.Exp(stat.Mean(logs[g], nil))
		largest := map[float64]float64{} // variance that is not outlying, by degrees of freedom
		for i, s := range sd[g] {
			d := df[g][i]
			if d <= 0 {
				continue
			}
			if largest[d] == 0 {
				largest[d] = common * distuv.F{D1: d, D2: prior}.Quantile(1-outlying)
			}
			if s*s <= largest[d] {
				moderated[g][i], total[g][i] = math.Sqrt((prior*common+d*s*s)/(prior+d)), prior+d
			}
		}
	}
	return moderated, total
}

// trigamma is the second derivative of log Γ: the Hurwitz zeta function at 2.
func trigamma(x float64) float64 { return mathext.Zeta(2, x) }

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
