package stats

import (
	"cmp"
	"math"
	"slices"
)

// Corrected is the result of Holm's correction for one hypothesis of a family.
type Corrected struct {
	P     float64 // adjusted p value
	Level float64 // level of the interval that excludes the hypothesis exactly where P is below alpha
}

// Holm corrects a family of p values (Holm 1979): the smallest is multiplied by their number m,
// the next by m − 1, and so on, and adjusted values never decrease. The level of each interval
// is the one at which its hypothesis was tested, 0.95 or more for alpha 0.05. Hypotheses after
// the first that was not rejected have the level of that one.
func Holm(p []float64, alpha float64) []Corrected {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
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

// Equivalent returns the p value of two one-sided tests (TOST, Schuirmann 1987) of the
// hypothesis that the true mean lies outside [low, high].
func (e Estimate) Equivalent(low, high float64) float64 { return max(e.Above(low), e.Below(high)) }

// SmallestSignP returns the smallest two-sided p value that a sign or permutation test over n
// pairs can give, 2/2ⁿ.
func SmallestSignP(n int) float64 { return math.Ldexp(1, 1-n) }
