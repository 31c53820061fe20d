package gate

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
)

const (
	// alpha is the family-wise error rate of a check.
	alpha = .05
	// suspect is the corrected p value below which a value that is not a regression is
	// inconclusive.
	suspect = .1
)

// test is the test of whether a value is worse by more than its margin.
type test struct {
	scale    stats.Scale
	samples  int     // number of samples of a share
	mean     bool    // the values are means of numbers, and not shares
	sign     float64 // sign of a change for the worse
	seeds    []stats.Seed
	estimate stats.Estimate // estimate of the worsening, on the scale
	margin   float64        // on the scale
	base     float64        // mean of the baseline, on the scale
	known    bool           // a standard deviation is known
	declared bool           // the study declares the margin
	// independent: with fewer than three seeds, now and the baseline are compared as
	// independent samples.
	independent bool
	first       int // index of the first value with the same trials, which is tested for all of them
}

// means returns the means of the pairs in the baseline and now, computed on the scale.
func (t *test) means(pairs []Pair) (then, now float64) {
	for _, p := range pairs {
		if !t.scale.Fits(p.Baseline, p.Value) {
			t.scale = stats.Identity
		}
	}
	var a, b float64
	for _, p := range pairs {
		a += t.scale.To(p.Baseline, t.samples) / float64(len(pairs))
		b += t.scale.To(p.Value, t.samples) / float64(len(pairs))
	}
	t.base = a
	return t.scale.From(a, t.samples), t.scale.From(b, t.samples)
}

// worse transforms a worsening on the scale to the metric's units.
func (t *test) worse(y float64) float64 {
	return t.sign * (t.scale.From(t.base+t.sign*y, t.samples) - t.scale.From(t.base, t.samples))
}

// spread estimates the standard deviations of the values of one metric, and transforms their
// margins to the scale.
func (c *checker) spread(b *Baseline, tol Tolerance, values []Value) {
	levels := map[stats.Scale]map[string]spread{}
	for i := range values {
		v := &values[i]
		t := &v.test
		if v.Verdict != Within {
			continue
		}
		y, then := make([]float64, len(v.Pairs)), make([]float64, len(v.Pairs))
		for k, p := range v.Pairs {
			then[k] = t.scale.To(p.Baseline, t.samples)
			y[k] = t.sign * (t.scale.To(p.Value, t.samples) - then[k])
		}
		e, ok := stats.OverSeeds(t.seeds, y)
		if ok {
			e.Floor, e.Looks = t.floor(v.Pairs), stats.NewLooks(c.o.Looks)
			t.estimate, t.known = e, true
			base, _ := stats.OverSeeds(t.seeds, then)
			t.widest(v.Margin, base)
			continue
		}
		t.independent = true
		if levels[t.scale] == nil {
			levels[t.scale] = b.spreads(tol.Metric, t.scale)
		}
		level := levels[t.scale][v.Row]
		t.known = level.df >= 2 && level.sd > 0
		t.estimate = stats.Estimate{Mean: stat.Mean(y, nil), N: max(v.N, 1), SD: level.sd * math.Sqrt2, DF: level.df}
		t.widest(v.Margin, stats.Estimate{Mean: t.base, N: max(v.N, 1), SD: level.sd, DF: level.df})
	}
}

// widest sets the margin on the scale to the largest transform of the margin in the metric's
// units at any base within the base's confidence interval, because the baseline is known no
// better than that.
func (t *test) widest(margin float64, base stats.Estimate) {
	t.margin = t.marginAt(t.base, margin)
	if margin > 0 && t.scale != stats.Identity && base.DF > 0 {
		i := base.Interval(1 - 2*alpha)
		for _, y := range []float64{i.Low, i.High} {
			if on := t.marginAt(y, margin); !math.IsInf(on, 1) {
				t.margin = max(t.margin, on)
			}
		}
	}
}

// marginAt returns a margin in the metric's units at a base, on the scale. It is infinite where
// it leads out of the metric's range, because no value can be worse by that much.
func (t *test) marginAt(base, margin float64) float64 {
	to := t.scale.From(base, t.samples) + t.sign*margin
	if !t.scale.Fits(to) {
		return math.Inf(1)
	}
	return t.sign * (t.scale.To(to, t.samples) - base)
}

// floor returns the smallest possible variance of the mean worsening of a share, with the same
// images in pairs (stats.Discordant). That of a mean of numbers is 0, because all images may be
// worse by the same.
func (t *test) floor(pairs []Pair) (sum float64) {
	if t.scale != stats.Logit || t.samples == 0 || t.mean {
		return 0
	}
	for _, p := range pairs {
		sum += stats.Discordant(p.Baseline, p.Value, t.samples)
	}
	return sum / float64(len(pairs)*len(pairs))
}

// moderate shrinks the standard deviations of paired differences towards a common value, by
// metric and scale.
func (c *checker) moderate() {
	type group struct {
		metric string
		scale  stats.Scale
	}
	index := map[group]int{}
	var sd, df [][]float64
	var of [][]*test
	for i := range c.r.Values {
		v := &c.r.Values[i]
		if v.Verdict != Within || !v.test.known || v.test.independent || v.test.first != i {
			continue
		}
		key := group{v.Metric, v.test.scale}
		g, ok := index[key]
		if !ok {
			g = len(sd)
			index[key] = g
			sd, df, of = append(sd, nil), append(df, nil), append(of, nil)
		}
		sd[g], df[g], of[g] = append(sd[g], v.test.estimate.SD), append(df[g], v.test.estimate.DF), append(of[g], &v.test)
	}
	sd, df = stats.ModerateAll(sd, df, stats.Unrelated)
	for g := range of {
		for k, t := range of[g] {
			t.estimate.SD, t.estimate.DF = sd[g][k], df[g][k]
		}
	}
}

// spread is the standard deviation of one independent seed, with its degrees of freedom.
type spread struct{ sd, df float64 }

// spreads returns the spread of a metric by row, moderated over all rows of the baseline,
// selected or not. Rows with the same trials count once.
func (b *Baseline) spreads(metric string, scale stats.Scale) map[string]spread {
	var sd, df []float64
	at, of := map[string]int{}, map[string]int{} // by row; by trials
	for _, r := range b.Rows {
		cell, ok := r.Metrics[metric]
		if !ok {
			continue
		}
		seeds, values, err := cell.values()
		if err != nil {
			continue // Read has checked it
		}
		trials := ""
		on := scale.Fits(values...)
		for i, s := range seeds {
			trials += " " + r.Trials[compare.SeedName(s)]
			if on {
				values[i] = scale.To(values[i], cell.Images)
			}
		}
		i, ok := of[trials]
		if at[r.Row] = i; ok {
			continue
		}
		at[r.Row], of[trials] = len(sd), len(sd)
		e, ok := stats.OverSeeds(seeds, values)
		if !ok && cell.N == 2 {
			e.SD, e.DF = stat.StdDev(values, nil), 1
		}
		sd, df = append(sd, e.SD), append(df, e.DF)
	}
	sd, df = stats.Moderate(sd, df, stats.Unrelated)
	out := map[string]spread{}
	for row, i := range at {
		out[row] = spread{sd[i], df[i]}
	}
	return out
}

// decide tests the values that differ, corrects the tests, and sets the verdicts and the
// outcome.
func (c *checker) decide() {
	seeds := map[string]int{}
	for _, tol := range c.o.Tolerances {
		seeds[tol.Metric] = tol.Seeds
	}
	c.moderate()
	var p []float64
	var at []int
	quantiles := map[[2]float64]float64{} // by degrees of freedom and level; a cache, because many values have the same
	for i := range c.r.Values {
		v := &c.r.Values[i]
		if v.Verdict == Within && v.test.first == i && v.test.known {
			p, at = append(p, v.test.estimate.Above(v.test.margin)), append(at, i)
		}
	}
	for k, h := range stats.Holm(p, alpha) {
		v := &c.r.Values[at[k]]
		e := v.test.estimate
		v.P = &h.P
		if e.SE() > 0 {
			key := [2]float64{e.DF, h.Level}
			if _, ok := quantiles[key]; !ok {
				quantiles[key] = distuv.StudentsT{Sigma: 1, Nu: e.DF}.Quantile(h.Level)
			}
			e.Mean -= quantiles[key] * e.SE()
		}
		bound := v.test.worse(e.Mean)
		v.Bound = &bound
		switch {
		case h.P < alpha && v.N >= seeds[v.Metric]:
			v.Verdict = Regression
		case h.P < alpha:
			v.Verdict, v.Reason = Inconclusive, fmt.Sprintf("%d seeds, and the study's gate requires %d", v.N, seeds[v.Metric])
		case h.P < suspect:
			v.Verdict, v.Reason = Inconclusive, "corrected p is below .1: run more seeds"
		}
	}
	for i := range c.r.Values {
		v := &c.r.Values[i]
		switch {
		case v.Verdict != Within:
		case v.test.first != i: // rows with the same trials have one result
			o := c.r.Values[v.test.first]
			v.Verdict, v.P, v.Bound = o.Verdict, o.P, o.Bound
			if o.Verdict != Within {
				v.Reason = "it has the same trials as " + o.Row
			}
		case v.test.known || v.Worse <= v.Margin:
		case v.test.declared:
			v.Verdict, v.Reason = Regression, "worse by more than the declared margin; the standard deviation over seeds is unknown"
		default:
			v.Verdict, v.Reason = Inconclusive, "the standard deviation over seeds is unknown: write a baseline with three seeds, or with two in several rows, or declare a margin in gate"
		}
	}
	n := c.r.Counts()
	if c.r.Compared() == 0 {
		c.note(c.nothing())
	}
	switch {
	case n[Missing] > 0, n[Absent] > 0, c.r.Compared() == 0: // a check that compares nothing must not pass
		c.r.Outcome = Missing
	case n[Regression] > 0, n[Removed] > 0 && !c.o.AllowRemoved:
		c.r.Outcome = Regression
	case n[Incomparable] > 0:
		c.r.Outcome = Incomparable
	case n[Inconclusive] > 0:
		c.r.Outcome = Inconclusive
	default:
		c.r.Outcome = Within
	}
}
