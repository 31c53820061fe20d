package compare

import (
	"slices"

	"ablate/analysis/stats"
)

// Front is the Pareto front of two metrics, more of both being better. Controls
// are not on it, for no method could have them.
type Front struct {
	X      string       `json:"x"`
	Y      string       `json:"y"`
	Seeds  []string     `json:"seeds"` // over which the means are taken: all rows of the front have them
	N      int          `json:"n"`     // independent ones
	Points []FrontPoint `json:"points"`
	Left   []string     `json:"left,omitempty"` // rows that lack a metric, one of the seeds, or have other numbers of samples
}

// FrontPoint is a row beside the front.
type FrontPoint struct {
	Label string  `json:"label"`
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	On    bool    `json:"on"` // no row has better means of both
	// CellX and CellY are the row's cells over the seeds of the front.
	CellX Cell `json:"-"`
	CellY Cell `json:"-"`
	// Distance is how much both means would have to gain for no row to dominate this one.
	Distance float64 `json:"distance"`
	// DominatedBy is a row that is significantly better in both metrics, the surest of them.
	// P is the two-sided p value of the less sure of both metrics (intersection-union:
	// Berger 1982), corrected over all pairs of rows of which one has better means of both
	// (Holm).
	DominatedBy string  `json:"dominatedBy,omitempty"`
	P           float64 `json:"p,omitempty"`
}

// front finds the Pareto front of the rows that have both metrics, over the seeds that
// they share.
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
	var of, by []int // the rows of each p
	for i, r := range rows {
		f.Points = append(f.Points, FrontPoint{Label: r.label, X: points[i].X, Y: points[i].Y, On: on[i], Distance: distance[i], CellX: cells[i][0], CellY: cells[i][1]})
		if !on[i] {
			others, x := b.dominated(mx, my, rows, points, i)
			p, by = append(p, x...), append(by, others...)
			of = append(of, slices.Repeat([]int{i}, len(x))...)
		}
	}
	for k, c := range stats.Holm(p, alpha) {
		if at := &f.Points[of[k]]; c.P < alpha && (at.DominatedBy == "" || c.P < at.P) {
			at.DominatedBy, at.P = rows[by[k]].label, c.P
		}
	}
	b.t.Notes = b.t.Notes[:notes]
	b.t.Front = f
}

// onFront chooses the seeds that leave the most rows, and among those the most seeds, and
// returns the rows cut to them.
func (b *builder) onFront(f *Front, mx, my Metric) []*grouped {
	type candidate struct {
		row   *grouped
		seeds []stats.Seed
	}
	var all []candidate
	for i, r := range b.t.Rows {
		if r.SameAs != "" || r.Control || r.Candidate {
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
	for _, floor := range []int{stats.LeastSeeds, 1} { // an interval needs so many
		for _, c := range all {
			set := c.seeds
			for _, o := range all { // what this row shares with each other is a candidate, too
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

// unlike reports whether two rows have different numbers of samples in a metric that
// depends on them.
func (b *builder) unlike(r, o *grouped, metrics ...Metric) bool {
	return slices.ContainsFunc(metrics, func(m Metric) bool {
		mine, theirs, differ := b.counts(m, r.views, o.views)
		if differ {
			b.unequal(mine, theirs)
		}
		return differ
	})
}

// dominated finds the rows that have better means of both metrics than row i, and of each
// the two-sided p value of the metric in which it is less surely better.
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

// moderate draws the spreads of estimates on one scale towards each other.
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
