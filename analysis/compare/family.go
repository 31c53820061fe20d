package compare

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"ablate/analysis/stats"
)

// power that a study is to have of finding what it declares to matter.
const power = .8

// correct takes the differences of each metric as one family: it corrects their
// p values and intervals, tests equivalence, and counts the seeds that the
// declared size needs. Rows that repeat another's trials are one comparison.
func (b *builder) correct() {
	index := map[string]int{} // of rows by label
	for i, r := range b.t.Rows {
		index[r.Label] = i
	}
	for _, m := range b.t.Metrics {
		size := b.o.Detect[m.Name]
		var rows []int // of the family
		var differs, equivalent []float64
		widest := map[int][]float64{} // half-widths by number of seeds
		for i, r := range b.t.Rows {
			d, ok := r.Differences[m.Name]
			if !ok || r.SameAs != "" || d.Interval != OverSeeds {
				continue
			}
			rows = append(rows, i)
			differs = append(differs, d.estimate.Differs(0))
			equivalent = append(equivalent, d.estimate.Equivalent(size))
		}
		same := stats.Holm(equivalent, 1-level)
		for k, c := range stats.Holm(differs, 1-level) {
			r := b.t.Rows[rows[k]]
			d := r.Differences[m.Name]
			i := d.estimate.Interval(c.Level)
			d.P, d.Corrected, d.Resolved = c.P, &Bounds{i.Low, i.High}, i.Excludes(0)
			d.Equivalent = size > 0 && same[k].P < 1-level
			if d.N <= 5 {
				d.Notes = append(d.Notes, b.note(fmt.Sprintf("%d pairs: no two-sided sign or permutation test over seeds can fall below p = %.3g. What is called resolved rests on the differences being normal (Student's t).", d.N, stats.SmallestSignP(d.N))))
			}
			widest[d.N] = append(widest[d.N], (i.High-i.Low)/2)
			r.Differences[m.Name] = d
		}
		if m.Name == "alignment" || m.Name == "fidelity.recall" {
			for _, n := range sorted(widest) {
				w := widest[n]
				slices.Sort(w)
				b.note(fmt.Sprintf("Differences in %s smaller than about %.2g (half the median corrected interval of the %d compared) can't be resolved with %d seeds.", m.Label, w[len(w)/2], len(w), n))
			}
		}
		if size > 0 {
			b.detect(m, size)
		}
		for _, r := range b.t.Rows { // a repeated row says what the first says
			if r.SameAs == "" || r.Differences == nil {
				continue
			}
			if d, ok := b.t.Rows[index[r.SameAs]].Differences[m.Name]; ok {
				r.Differences[m.Name] = d
			}
		}
	}
	for _, r := range b.t.Rows {
		if slices.ContainsFunc(b.t.Metrics, func(m Metric) bool { return r.Differences[m.Name].Corrected != nil }) {
			b.note("Resolved: the interval of the paired difference, corrected by Holm over all rows compared on that metric, excludes 0.")
			break
		}
	}
}

// best finds the row of each metric that the data single out.
func (b *builder) best() {
	for k := range b.t.Metrics {
		m := &b.t.Metrics[k]
		sign := map[string]float64{"higher": 1, "lower": -1}[m.Better]
		var in []int
		for i, r := range b.t.Rows {
			if _, ok := r.Cells[m.Name]; ok && !r.Control && r.SameAs == "" && !b.chosenOn(*m, b.rows[i].views) {
				in = append(in, i)
			}
		}
		if sign == 0 || len(in) < 2 {
			continue
		}
		top := slices.MaxFunc(in, func(i, j int) int {
			return cmp.Compare(sign*b.t.Rows[i].Cells[m.Name].Mean, sign*b.t.Rows[j].Cells[m.Name].Mean)
		})
		var p []float64
		for _, i := range in {
			if i == top {
				continue
			}
			if _, _, differ := b.counts(*m, b.rows[top].views, b.rows[i].views); differ {
				p = nil
				break
			}
			notes := len(b.t.Footnotes) // comparisons that are not shown leave none
			d, ok := b.cell(*m, b.rows[top].views, b.rows[i].views)
			b.t.Footnotes = b.t.Footnotes[:notes]
			if !ok || d.Interval != OverSeeds || sign*d.Mean <= 0 {
				p = nil
				break
			}
			p = append(p, d.estimate.Differs(0))
		}
		if corrected := stats.Holm(p, 1-level); len(p) > 0 && slices.MaxFunc(corrected, func(x, y stats.Corrected) int { return cmp.Compare(x.P, y.P) }).P < 1-level {
			m.Best = b.t.Rows[top].Label
		}
	}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// detect counts the seeds that resolving a difference of the given size needs:
// at the level of Holm's first step, which suffices whatever the other rows do.
func (b *builder) detect(m Metric, size float64) {
	out := Detect{Metric: m.Name, Size: size}
	for _, r := range b.t.Rows {
		if _, ok := r.Differences[m.Name]; ok && r.SameAs == "" {
			out.Family++
		}
	}
	alpha := (1 - level) / float64(max(out.Family, 1))
	for i, r := range b.t.Rows {
		d, ok := r.Differences[m.Name]
		if !ok || r.SameAs != "" {
			continue
		}
		sd, freedom := math.NaN(), 0.
		switch {
		case d.Interval == OverSeeds:
			sd, freedom = d.estimate.Error*math.Sqrt(float64(d.N)), d.estimate.Freedom
		case d.N == 2 && len(d.Values) == 2:
			sd, freedom = math.Sqrt(stats.Variance(d.Values)), 1
		}
		if math.IsNaN(sd) {
			continue
		}
		d.Needs = stats.SeedsNeeded(size, sd, alpha, power)
		b.t.Rows[i].Differences[m.Name] = d
		// The row that is furthest from having enough, and of those that have, the one that
		// needs the most.
		if short, worst := d.Needs > d.N, out.Needs > out.Have; out.Row == "" || short && !worst || short == worst && d.Needs > out.Needs {
			out.Needs, out.Row, out.Have = d.Needs, r.Label, d.N
			out.AtMost = stats.SeedsNeeded(size, stats.SpreadBound(sd, freedom, .8), alpha, power)
		}
	}
	b.t.Detect = append(b.t.Detect, out)
}
