package compare

import (
	"slices"

	"ablate/analysis/stats"
)

// Front is the Pareto front of two metrics of which higher values are better. Controls are left
// out, because no method could attain them.
type Front struct {
	X      string       `json:"x"`     // metric
	Y      string       `json:"y"`     // metric
	Seeds  []string     `json:"seeds"` // seeds of all means, which all points have
	N      int          `json:"n"`     // number of independent seeds
	Points []FrontPoint `json:"points"`
	Left   []string     `json:"left,omitempty"` // labels of rows that are left out: they lack a metric or a seed, or have another number of samples
}

// FrontPoint is a row in the plane of both metrics.
type FrontPoint struct {
	Label string  `json:"label"`
	X     float64 `json:"x"`  // mean of metric X
	Y     float64 `json:"y"`  // mean of metric Y
	On    bool    `json:"on"` // on the front: no row has better means of both metrics
	// CellX and CellY are the row's cells over the seeds of the front.
	CellX Cell `json:"-"`
	CellY Cell `json:"-"`
	// Distance is the distance to the front: the smallest amount by which both means must
	// improve so that no row dominates this one.
	Distance float64 `json:"distance"`
	// DominatedBy is the label of a row that is significantly better in both metrics, of
	// several the one with the smallest p. P is its two-sided p value, the larger one of the
	// two metrics (intersection-union test, Berger 1982), corrected by Holm over all pairs of
	// rows of which one has better means of both metrics.
	DominatedBy string  `json:"dominatedBy,omitempty"`
	P           float64 `json:"p,omitempty"`
}

// front adds the Pareto front of the rows that have both metrics, over seeds that they share.
func (b *builder) front(x, y string) {
	mx, okX := b.t.Metric(x)
	my, okY := b.t.Metric(y)
	if !okX || !okY {
		return
	}
	f := &Front{X: x, Y: y}
	rows := b.onFront(f, mx, my)
	if len(rows) < 2 {
		return
	}
	notes := len(b.t.Notes)
	points := make([]stats.Point, len(rows))
	cells := make([][2]Cell, len(rows))
	for i, r := range rows {
		cx, _ := b.cell(mx, r)
		cy, _ := b.cell(my, r)
		points[i], cells[i] = stats.Point{X: cx.Mean, Y: cy.Mean}, [2]Cell{cx, cy}
		f.Seeds, f.N = cx.Seeds, cx.N
	}
	on, distance := stats.Front(points), stats.BehindFront(points)
	var p []float64
	var of, by []int // of each p value: the row, and the row that is better
	for i, r := range rows {
		f.Points = append(f.Points, FrontPoint{Label: r.label, X: points[i].X, Y: points[i].Y, On: on[i], Distance: distance[i], CellX: cells[i][0], CellY: cells[i][1]})
		if !on[i] {
			others, x := b.dominated(mx, my, rows, points, i)
			p, by = append(p, x...), append(by, others...)
			of = append(of, slices.Repeat([]int{i}, len(x))...)
		}
	}
	stopped := 0
	for _, r := range b.t.Rows {
		if r.Stopped != nil && r.SameAs == "" {
			stopped++
		}
	}
	// Rows that were stopped might have been compared with all rows and among themselves.
	for k, c := range stats.Holm(withUntested(p, stopped*len(rows)+stopped*(stopped-1)/2), alpha)[:len(of)] {
		if at := &f.Points[of[k]]; c.P < alpha && (at.DominatedBy == "" || c.P < at.P) {
			at.DominatedBy, at.P = rows[by[k]].label, c.P
		}
	}
	b.t.Notes = b.t.Notes[:notes]
	b.t.Front = f
}

// onFront returns the rows of the front, cut to common seeds. It chooses the set of at least
// three seeds, if possible, that the most rows have, and of such sets the largest. Labels of
// other rows are appended to f.Left.
func (b *builder) onFront(f *Front, mx, my Metric) []*grouped {
	type candidate struct {
		row   *grouped
		seeds []stats.Seed
	}
	var all []candidate
	for i, r := range b.t.Rows {
		if r.SameAs != "" || r.Control || r.Candidate || r.Stopped != nil {
			continue
		}
		var c candidate
		c.row = b.rows[i]
		for _, v := range c.row.views {
			if has(b.columns[mx.Name], v) && has(b.columns[my.Name], v) {
				c.seeds = append(c.seeds, b.seed(v))
			}
		}
		if len(c.seeds) > 0 {
			all = append(all, c)
		} else {
			f.Left = append(f.Left, c.row.label)
		}
	}
	within := func(set []stats.Seed, c candidate) bool {
		return !slices.ContainsFunc(set, func(s stats.Seed) bool { return !slices.Contains(c.seeds, s) })
	}
	var best []stats.Seed
	var tried [][]stats.Seed
	most := 0
	for _, floor := range []int{stats.LeastSeeds, 1} { // an interval needs LeastSeeds
		for _, c := range all {
			set := c.seeds
			for _, o := range all { // the seeds that two rows share are a candidate too
				shared := slices.DeleteFunc(slices.Clone(c.seeds), func(s stats.Seed) bool { return !slices.Contains(o.seeds, s) })
				for _, try := range [][]stats.Seed{set, shared} {
					if len(try) < floor || slices.ContainsFunc(tried, func(t []stats.Seed) bool { return slices.Equal(t, try) }) {
						continue
					}
					tried = append(tried, try)
					n := 0
					for _, o := range all {
						if within(try, o) {
							n++
						}
					}
					if n > most || n == most && len(try) > len(best) {
						most, best = n, try
					}
				}
			}
		}
		if best != nil {
			break
		}
	}
	var rows []*grouped
	for _, c := range all {
		if !within(best, c) || len(rows) > 0 && b.unlike(rows[0], c.row, mx, my) {
			f.Left = append(f.Left, c.row.label)
			continue
		}
		cut := *c.row
		cut.views = slices.DeleteFunc(slices.Clone(c.row.views), func(v int) bool { return !slices.Contains(best, b.seed(v)) })
		rows = append(rows, &cut)
	}
	return rows
}

// unlike reports whether two rows have different numbers of samples in one of the metrics that
// depend on them.
func (b *builder) unlike(r, o *grouped, metrics ...Metric) bool {
	return slices.ContainsFunc(metrics, func(m Metric) bool {
		mine, theirs, differ := b.counts(m, r.views, o.views)
		if differ {
			b.unequal(mine, theirs)
		}
		return differ
	})
}

// dominated returns the indices of the rows with better means of both metrics than row i and,
// for each, the larger two-sided p value of the two metrics.
func (b *builder) dominated(mx, my Metric, rows []*grouped, points []stats.Point, i int) (by []int, p []float64) {
	var dx, dy []*measured
	for j, r := range rows {
		if points[j].X < points[i].X || points[j].Y < points[i].Y || points[j] == points[i] {
			continue
		}
		x, okX := b.measure(mx, []term{{r, 1}, {rows[i], -1}}, nil)
		y, okY := b.measure(my, []term{{r, 1}, {rows[i], -1}}, nil)
		if okX && okY && x.tested() && y.tested() {
			by, dx, dy = append(by, j), append(dx, &x), append(dy, &y)
		}
	}
	moderate(dx)
	moderate(dy)
	for k := range by {
		p = append(p, min(1, 2*max(dx[k].Above(0), dy[k].Above(0))))
	}
	return by, p
}

func (d measured) tested() bool { return d.level == OverSeeds || d.level == OverBoth }

// moderate shrinks the standard deviations of estimates on one scale towards a common value
// (stats.Moderate). Where scales differ, it changes nothing.
func moderate(all []*measured) {
	sd, df := make([]float64, len(all)), make([]float64, len(all))
	for i, d := range all {
		if d.scale != all[0].scale {
			return
		}
		sd[i], df[i] = d.SD, d.DF
	}
	sd, df = stats.Moderate(sd, df, stats.Shared)
	for i, d := range all {
		d.SD, d.DF = sd[i], df[i]
	}
}
