package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Rows is what moderation assumes of the rows of a table.
type Rows struct {
	// Correlation is that of the logarithms of the rows' variances.
	Correlation float64
	// Outlying is the probability beyond which a spread is too large to be one of the
	// others', and is not moderated. A larger one keeps the interval of a row of larger
	// spread right, and costs power.
	Outlying float64
}

var (
	// Shared are rows whose differences are from one reference: they have its noise in
	// common, which for equal spreads correlates differences by ½ and variances by ¼. With
	// .15 the family-wise error stays below .065 under every spread that TestErrors
	// simulates; with 0 it reaches .08, and .25 gives away power. With a fifth the 95%
	// interval of a row of five times the others' spread covers .90 and more; with a
	// hundredth it covers .77.
	Shared = Rows{Correlation: .15, Outlying: .2}
	// Unrelated are rows that have nothing in common, and whose intervals are not shown.
	Unrelated = Rows{Outlying: .01}
)

// Moderate draws the standard deviations of the rows of a table towards their common
// value, in the manner of Smyth (2004), and returns the moderated ones with their
// degrees of freedom. Three seeds give a poor estimate of a standard deviation; the other
// rows improve it as far as their spreads are alike.
//
// Three things differ from Smyth's estimate, whose family-wise error reached .24 at three
// seeds where one row had five times the spread of the others (README.md):
//   - The common value is the geometric mean of the variances, which lies above Smyth's
//     where spreads differ.
//   - Rows that share noise have spreads that look more alike than they are, and give a
//     poorer estimate of the common value than as many independent rows. Both are taken
//     into account, and a row gains no more degrees of freedom than the common value has.
//   - A spread that is too large to be one of the others' is not moderated (after Phipson
//     et al. 2016).
//
// A row whose SD or degrees of freedom are 0 is not counted among the others. One of
// SD 0 with degrees of freedom gets the moderated value. With fewer than two others
// everything stays as it is.
func Moderate(sd, df []float64, rows Rows) (moderated, total []float64) {
	a, b := ModerateAll([][]float64{sd}, [][]float64{df}, rows)
	return a[0], b[0]
}

// ModerateAll is Moderate for several metrics of the same rows. Each metric has its own
// common value. How far the spreads differ is the mean of two estimates, of the metric and
// of all metrics, because a few rows give a poor one.
func ModerateAll(sd, df [][]float64, rows Rows) (moderated, total [][]float64) {
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
		between[g] = stat.Variance(logs[g], nil)/(1-rows.Correlation) - chance[g]
		sum, of = sum+between[g], of+1
	}
	for g := range sd {
		if len(logs[g]) < 2 {
			continue
		}
		m := float64(len(logs[g]))
		prior := 2 * (m - 1) / (chance[g] * (1 + (m-2)*rows.Correlation)) // of the common value
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
				largest[d] = common * distuv.F{D1: d, D2: prior}.Quantile(1-rows.Outlying)
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

// inverseTrigamma solves trigamma(x) = y by Newton's method on 1/trigamma, which is convex
// and nearly straight (Smyth 2004, appendix).
func inverseTrigamma(y float64) float64 {
	x := .5 + 1/y
	for range 50 {
		t := trigamma(x)
		step := t * (1 - t/y) / (-2 * mathext.Zeta(3, x))
		if x += step; math.Abs(step) < 1e-12*x {
			break
		}
	}
	return x
}
