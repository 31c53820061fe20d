package compare

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// cell estimates a metric of a row over the seeds that have a value. It returns false where no
// seed has one.
func (b *builder) cell(m Metric, r *grouped) (Cell, bool) {
	d, ok := b.measure(m, []term{{r, 1}}, nil)
	if !ok {
		return Cell{}, false
	}
	return b.show(d, false), true
}

// estimate sets the mean of the weighted sums and its error: over seeds where there are enough
// independent ones, else over images where their variance is known.
func (d *measured) estimate() {
	floor, looks := d.Floor, d.Looks
	if e, ok := stats.OverSeeds(d.seeds, d.y); ok {
		d.Estimate, d.level = e, OverSeeds
		d.Looks = looks
	} else {
		d.Mean, d.N, d.DF = mean(d.y), stats.Independent(d.seeds), normal
		d.Looks = nil // intervals over images are not part of sequential tests over seeds
		if floor > 0 {
			d.level = OverImages
		}
	}
	d.Floor = floor
}

// difference returns a metric of row r minus that of row from, over the seeds that both have.
func (b *builder) difference(m Metric, r, from *grouped) (Difference, bool) {
	if b.zero(m, from) {
		// The other row is 0 by definition, such as the distance of the pretrained model from
		// itself: the difference is the row's value, and there is nothing to test.
		d, ok := b.measure(m, []term{{r, 1}}, nil)
		return Difference{Cell: b.show(d, false), measured: d, own: true}, ok
	}
	d, ok := b.measure(m, []term{{r, 1}, {from, -1}}, []*grouped{from})
	if !ok {
		return Difference{}, false
	}
	out := Difference{Cell: b.show(d, true), measured: d}
	if out.Tested() {
		// A seed is no outlier if its images alone may explain the distance from the mean, at
		// two standard errors.
		if i := outlier(d.y); i >= 0 && math.Abs(d.y[i]-d.Mean) > 2*math.Sqrt(d.Floor*float64(len(d.y))) {
			out.Outlier = SeedName(d.seeds[i])
			out.Notes = append(out.Notes, b.note(Note{Kind: Outlier, Names: []string{out.Outlier}}))
		}
	}
	return out, true
}

// zero reports whether all of a row's values of a positive metric are 0.
func (b *builder) zero(m Metric, r *grouped) bool {
	col, any := b.columns[m.Name], false
	for _, v := range r.views {
		if has(col, v) && col.Floats[v] != 0 {
			return false
		}
		any = any || has(col, v)
	}
	return any && m.Range == table.Positive
}

// show returns an estimate as a cell in the metric's units.
func (b *builder) show(d measured, difference bool) Cell {
	c := Cell{Mean: d.of(d.Mean, difference), Values: d.raw, N: d.N, Images: d.images, Notes: d.notes, Interval: d.level}
	for _, s := range d.seeds {
		c.Seeds = append(c.Seeds, SeedName(s))
	}
	c.Low, c.High = c.Mean, c.Mean
	switch {
	case d.level != "":
		i := d.interval(Level, difference)
		c.Low, c.High = i.Low, i.High
		if !c.Tested() && b.fewSeeds != OverPrompts {
			b.fewSeeds = d.level
		}
	case d.N < stats.LeastSeeds:
		b.noSpread = true
	}
	return c
}

// outlier returns the index of the value that is an outlier by Grubbs' test (1950) at 1%, which
// assumes that the other values are normal, or -1.
func outlier(x []float64) int {
	n := float64(len(x))
	mean, sd := stat.MeanStdDev(x, nil)
	if n < 3 || !(sd > 0) {
		return -1
	}
	at := 0
	for i, v := range x {
		if math.Abs(v-mean) > math.Abs(x[at]-mean) {
			at = i
		}
	}
	t := distuv.StudentsT{Sigma: 1, Nu: n - 2}.Quantile(1 - .01/(2*n))
	if math.Abs(x[at]-mean)/sd > (n-1)/math.Sqrt(n)*math.Sqrt(t*t/(n-2+t*t)) {
		return at
	}
	return -1
}

// Collapse is the share of a row's seeds whose model has collapsed: its training diverged, or a
// primary metric is less than half of the reference's value for the same seed, or more than
// twice that value where lower is better. For shares the difference must also be at least 0.1.
type Collapse struct {
	Seeds  []string `json:"seeds"` // the collapsed seeds
	N      int      `json:"n"`     // number of seeds that both rows have
	Share  float64  `json:"share"`
	Bounds          // 95% interval of the share, from independent seeds (Clopper & Pearson 1934)
}

// leastLoss is the smallest change of a share that counts as a collapse, because a share near 0
// may halve by chance.
const leastLoss = .1

// collapse returns the collapsed seeds of a row, or nil where no primary metric can show a
// collapse.
func (b *builder) collapse(r, reference *grouped) *Collapse {
	bad, all := map[stats.Seed]bool{}, map[stats.Seed]bool{}
	var seeds []stats.Seed
	for _, m := range b.t.Metrics {
		col := b.columns[m.Name]
		if !m.Primary || m.sign() == 0 || m.Scale() == stats.Identity {
			continue
		}
		for _, v := range r.views {
			for _, o := range reference.views {
				diverged := b.diverged(v)
				if b.seed(o) != b.seed(v) || !has(col, o) || !has(col, v) && !diverged {
					continue
				}
				if !all[b.seed(v)] {
					all[b.seed(v)] = true
					seeds = append(seeds, b.seed(v))
				}
				if diverged {
					bad[b.seed(v)] = true
					continue
				}
				x, y := col.Floats[v], col.Floats[o]
				if m.Scale() == stats.Logit && math.Abs(x-y) < leastLoss {
					continue
				}
				if m.sign() > 0 && x < y/2 || m.sign() < 0 && x > 2*y {
					bad[b.seed(v)] = true
				}
			}
		}
	}
	if len(seeds) == 0 {
		return nil
	}
	c := &Collapse{Seeds: []string{}, N: len(seeds), Share: float64(len(bad)) / float64(len(seeds))}
	for _, s := range seeds {
		if bad[s] {
			c.Seeds = append(c.Seeds, SeedName(s))
		}
	}
	// With crossed seeds there are fewer independent seeds than runs.
	n := stats.Independent(seeds)
	i := stats.ClopperPearson(c.Share*float64(n), n, Level)
	c.Low, c.High = i.Low, i.High
	return c
}
