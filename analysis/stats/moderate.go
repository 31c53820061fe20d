package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Rows are the assumptions of moderation about the rows of a table.
type Rows struct {
	// Correlation is the correlation between the logarithms of the rows' variances.
	Correlation float64
	// Outlying is the tail probability beyond which a standard deviation is too large to have
	// the others' common value, and is not moderated. A larger probability keeps the coverage
	// of a row with a larger standard deviation, and costs power.
	Outlying float64
}

var (
	// Shared are rows whose differences are from one reference. They have its noise in common,
	// which for equal standard deviations gives differences a correlation of ½ and variances of
	// ¼. With Correlation .15 the family-wise error stays below .065 for all standard
	// deviations that TestErrors simulates; with 0 it reaches .08, and .25 loses power. With
	// Outlying .2 the 95% interval of a row with five times the others' standard deviation has
	// coverage .90 or more; with .01 it has .77.
	Shared = Rows{Correlation: .15, Outlying: .2}
	// Unrelated are independent rows, whose intervals are not shown.
	Unrelated = Rows{Outlying: .01}
)

// Moderate shrinks the standard deviations of the rows of a table towards a common value, as in
// Smyth (2004), and returns the moderated ones with their degrees of freedom. Three seeds give
// a poor estimate of a standard deviation; the other rows improve it as far as their standard
// deviations are similar.
//
// Three things differ from Smyth's estimate, whose family-wise error reached .24 at three seeds
// where one row had five times the standard deviation of the others (README.md): (1) The common
// value is the geometric mean of the variances, which exceeds Smyth's where standard deviations
// differ. (2) Rows that share noise have standard deviations that look more similar than they
// are, and estimate the common value less precisely than as many independent rows. Both are
// corrected for, and a row gains no more degrees of freedom than the common value has. (3) A
// standard deviation that is too large to have the common value is not moderated (after Phipson
// et al. 2016).
//
// A row whose SD or degrees of freedom are 0 does not contribute to the common value. A row
// with SD 0 and degrees of freedom gets the moderated value. With fewer than two contributing
// rows nothing changes.
func Moderate(sd, df []float64, rows Rows) (moderated, total []float64) {
	a, b := ModerateAll([][]float64{sd}, [][]float64{df}, rows)
	return a[0], b[0]
}

// ModerateAll is Moderate for several metrics of the same rows, sd[metric][row]. Each metric
// has its own common value. The variation between the rows' standard deviations is the mean of
// two estimates, from the metric and from all metrics, because few rows give a poor one.
func ModerateAll(sd, df [][]float64, rows Rows) (moderated, total [][]float64) {
	between := make([]float64, len(sd)) // variance of the log variances beyond that of sampling
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
		prior := 2 * (m - 1) / (chance[g] * (1 + (m-2)*rows.Correlation)) // degrees of freedom of the common value
		if v := (between[g] + sum/of) / 2; v > 0 {
			prior = 1 / (1/prior + 1/(2*inverseTrigamma(v)))
		}
		common := math.Exp(stat.Mean(logs[g], nil))
		largest := map[float64]float64{} // by degrees of freedom, the largest variance that is moderated
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

// trigamma returns the second derivative of log Γ, the Hurwitz zeta function at 2.
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
