package stats

import "math"

// Contrast is a linear combination of cells, taken seed by seed.
type Contrast []float64

// Of is the contrast of one seed's cells.
func (c Contrast) Of(cells []float64) float64 {
	var s float64
	for i, w := range c {
		s += w * cells[i]
	}
	return s
}

// MainEffect is the contrast of a level against the mean of all levels of its
// axis. levels holds each cell's level on that axis; the design is balanced.
func MainEffect(levels []int, level, count int) Contrast {
	c := make(Contrast, len(levels))
	for i, l := range levels {
		if l == level {
			c[i] += float64(count)
		}
		c[i]--
	}
	return c.scaled(1 / float64(len(levels)))
}

// Interaction is the contrast of a cell of two axes against what the main
// effects of its two levels add up to.
func Interaction(a, b []int, levelA, countA, levelB, countB int) Contrast {
	c := make(Contrast, len(a))
	for i := range c {
		x, y := -1., -1.
		if a[i] == levelA {
			x += float64(countA)
		}
		if b[i] == levelB {
			y += float64(countB)
		}
		c[i] = x * y
	}
	return c.scaled(1 / float64(len(a)))
}

// Trend is the contrast of the change across an axis whose levels are in order:
// the slope over the order of levels, times their number less one (the linear
// contrast of ranks, as in Page's test, in the units of the metric).
func Trend(levels []int, count int) Contrast {
	c := make(Contrast, len(levels))
	middle := float64(count-1) / 2
	var ss float64
	for i, l := range levels {
		c[i] = float64(l) - middle
		ss += c[i] * c[i]
	}
	return c.scaled(float64(count-1) / ss)
}

func (c Contrast) scaled(by float64) Contrast {
	for i := range c {
		c[i] *= by
	}
	return c
}

// Monotone reports whether values only rise or only fall.
func Monotone(values []float64) bool {
	up, down := true, true
	for i := 1; i < len(values); i++ {
		up, down = up && values[i] >= values[i-1], down && values[i] <= values[i-1]
	}
	return up || down
}

// SkewedCoverage is what a nominal 95% interval over n seeds covers, measured
// where values are as skewed as a log-normal with σ = 1 (skewness 6.2): see
// TestCoverage. Nothing is known of n that is not in the list; the next smaller
// one bounds it.
func SkewedCoverage(n int) float64 {
	out := math.NaN()
	for _, c := range skewedCoverage {
		if c.n <= n {
			out = c.share
		}
	}
	return out
}
