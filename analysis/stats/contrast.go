package stats

// Contrast is a linear combination of the cells of a factorial design: one weight for each
// cell.
type Contrast []float64

// MainEffect returns the contrast of the mean of one level minus the mean of all count levels
// of its axis. levels has each cell's level on that axis; the design is balanced.
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

// Step returns the contrast of the mean of level to minus that of level from. levels has each
// cell's level on the axis; the design is balanced.
func Step(levels []int, from, to int) Contrast {
	c := make(Contrast, len(levels))
	var n float64
	for i, l := range levels {
		switch l {
		case to:
			c[i]++
			n++
		case from:
			c[i]--
		}
	}
	return c.scaled(1 / n)
}

// Interaction returns the contrast of the cells with one pair of levels minus the sum of the
// main effects of both levels. a and b have each cell's levels on the two axes, of countA and
// countB levels.
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

// Trend returns the contrast of the linear change across an axis with count ordered levels: the
// slope over the ranks of levels, times count − 1 (the linear contrast of ranks, as in Page's
// test, in the units of the metric).
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
