package compare

import (
	"cmp"
	"slices"

	"ablate/analysis/stats"
)

// Floor is the noise floor of a metric: its standard deviation over seeds in the reference, and
// the smallest differences that a given number of seeds detects.
type Floor struct {
	Metric string  `json:"metric"`
	Seeds  int     `json:"seeds"` // number of independent seeds of the reference
	Mean   float64 `json:"mean"`  // mean of the reference
	SD     float64 `json:"sd"`    // standard deviation of the reference over seeds
	// Paired is the standard deviation of a difference from the reference, paired by seed, as
	// the median over the rows that are compared.
	Paired float64    `json:"paired"`
	Rows   int        `json:"rows"` // number of rows that are compared
	Find   []Smallest `json:"find"`
}

// Smallest is the smallest difference that a number of seeds detects with 80% power, averaged
// over the uncertainty of the standard deviation of the median row.
type Smallest struct {
	Seeds     int     `json:"seeds"`
	Alone     float64 `json:"alone"`     // for a single comparison at 5%
	Corrected float64 `json:"corrected"` // for a comparison that is corrected for all comparisons of the table
}

// design is a stats.Design with the degrees of freedom of its standard deviation.
type design struct {
	stats.Design
	df float64
}

// floorSeeds are the numbers of seeds for which a Floor has the smallest differences.
var floorSeeds = []int{3, 5, 8, 12, 20}

// Floors returns the noise floors of a table's primary metrics. A metric has none if its
// reference has fewer than three independent seeds, or no row is compared with it.
func (t *Table) Floors() []Floor {
	i := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Label == t.Reference })
	if i < 0 {
		return nil
	}
	var out []Floor
	for _, m := range t.Metrics {
		c, ok := t.Rows[i].Cells[m.Name]
		if !ok || !m.Primary || c.N < stats.LeastSeeds {
			continue
		}
		var designs []design
		for _, r := range t.Rows {
			if d, ok := r.Differences[m.Name]; ok && r.SameAs == "" && d.tested() {
				designs = append(designs, design{stats.DesignOf(d.measured.Estimate), d.measured.DF})
			}
		}
		if designs == nil {
			continue
		}
		slices.SortFunc(designs, func(a, b design) int { return cmp.Compare(a.SD, b.SD) })
		d := designs[len(designs)/2]
		estimated := d.Estimated(d.df)
		scale := m.Scale()
		if !scale.Fits(c.Values...) {
			scale = stats.Identity
		}
		base := scale.To(c.Mean, c.Images)
		// above converts a distance on the scale to the metric's units: below the mean where
		// higher is better, else above it. That is away from the nearer end of the metric's
		// range, which would shorten the distance.
		above := func(y float64) float64 {
			if m.sign() > 0 {
				return c.Mean - scale.From(base-y, c.Images)
			}
			return scale.From(base+y, c.Images) - c.Mean
		}
		f := Floor{Metric: m.Name, Seeds: c.N, Mean: c.Mean, SD: above(spread(scale, c)), Paired: above(d.SD), Rows: len(designs)}
		for _, n := range floorSeeds {
			f.Find = append(f.Find, Smallest{n, above(estimated.Smallest(n, alpha, power)), above(estimated.Smallest(n, alpha/float64(max(t.Planned, 1)), power))})
		}
		out = append(out, f)
	}
	return out
}

// spread returns the standard deviation over seeds of a cell's values on a scale.
func spread(scale stats.Scale, c Cell) float64 {
	y, seeds := make([]float64, len(c.Values)), make([]stats.Seed, len(c.Values))
	for i, x := range c.Values {
		y[i] = scale.To(x, c.Images)
		seeds[i], _ = ParseSeed(c.Seeds[i]) // as SeedName wrote it
	}
	e, _ := stats.OverSeeds(seeds, y)
	return e.SD
}
