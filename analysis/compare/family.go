package compare

import (
	"cmp"
	"math"
	"slices"

	"ablate/analysis/stats"
)

const (
	alpha = 1 - Level
	// power is the probability with which a study should detect a difference of the size that
	// it declares to matter.
	power = .8
)

// Detect is a difference that the study declares to matter, with the number of seeds that
// detects it with 80% power.
type Detect struct {
	Metric      string  `json:"metric"`
	Size        float64 `json:"size"`                  // in the metric's units
	Have        int     `json:"have"`                  // number of independent seeds of the row
	Needs       int     `json:"needs"`                 // number of seeds that the row needs; 0 where no standard deviation is known, or no number is enough
	AtMost      int     `json:"atMost"`                // number of seeds needed if the standard deviation is at its upper 80% confidence bound; 0 as for needs
	MorePrompts float64 `json:"morePrompts,omitempty"` // factor by which the number of prompts must grow, where no number of seeds is enough
	Row         string  `json:"row"`                   // label of the row that needs most seeds, of those that have too few if there are any
}

// Resolution is the precision of a table: the median half-width of the corrected intervals of a
// primary metric, over the comparisons with the same number of seeds. Half of them detect a
// difference of this size.
type Resolution struct {
	Metric string  `json:"metric"`
	Seeds  int     `json:"seeds"`
	Size   float64 `json:"size"` // median half-width of the corrected intervals
	Of     int     `json:"of"`   // number of comparisons
}

// entry is a comparison of a row or contrast in one metric.
type entry struct {
	row      *Row // the row, if the comparison is with the reference
	contrast *Contrast
	metric   string
	d        *Difference
}

// name returns the label of the row or contrast.
func (e entry) name() string {
	if e.row != nil {
		return e.row.Label
	}
	return e.contrast.A + " minus " + e.contrast.B
}

func (e entry) put() {
	if e.row != nil {
		e.row.Differences[e.metric] = *e.d
	} else {
		e.contrast.Differences[e.metric] = *e.d
	}
}

// entries returns the comparisons of a metric, without those of repeated rows.
func (b *builder) entries(m Metric) []entry {
	var out []entry
	for i := range b.t.Rows {
		r := &b.t.Rows[i]
		if d, ok := r.Differences[m.Name]; ok && r.SameAs == "" {
			out = append(out, entry{row: r, metric: m.Name, d: &d})
		}
	}
	for i := range b.t.Contrasts {
		c := &b.t.Contrasts[i]
		if d, ok := c.Differences[m.Name]; ok {
			out = append(out, entry{contrast: c, metric: m.Name, d: &d})
		}
	}
	return out
}

// correct moderates the standard deviations of each metric's differences, tests these, and
// corrects the tests of all rows and primary metrics as one family. A row that repeats
// another's trials is not tested again.
func (b *builder) correct() {
	var family []entry
	byMetric := map[string][]entry{}
	for _, m := range b.t.Metrics {
		all := b.entries(m)
		b.moderate(all)
		byMetric[m.Name] = all
		for _, e := range all {
			counts := m.Primary && (e.row == nil || !e.row.Candidate)
			if counts {
				b.t.Planned++
			}
			if !e.d.tested() {
				continue
			}
			p := e.d.measured.P(0)
			e.d.P = &p
			if e.d.N <= 5 {
				e.d.Notes = append(e.d.Notes, b.note(Note{Kind: FewPairs, N: e.d.N, Share: stats.SmallestSignP(e.d.N)}))
			}
			if counts {
				family = append(family, e)
			}
		}
	}
	untested := 0
	for _, m := range b.t.Metrics {
		if m.Primary {
			untested += b.untested()
		}
	}
	b.t.Planned += untested
	if b.t.Family = len(family); b.t.Family > 0 {
		b.t.Family += untested
	}
	differences, metrics := make([]*Difference, len(family)), make([]string, len(family))
	for i, e := range family {
		differences[i], metrics[i] = e.d, e.metric
	}
	b.holm(differences, metrics, untested)
	b.states(family)
	for _, m := range b.t.Metrics {
		all := byMetric[m.Name]
		if size := b.o.Detect[m.Name]; size > 0 {
			b.detect(m, size, all)
		}
		for _, e := range all {
			e.put()
		}
		if m.Primary {
			b.resolution(m, all)
		}
	}
	b.repeat()
}

// holm corrects the tests of a family of differences: those of a difference and, where the
// study declares a size that matters, those of equivalence. metrics has the metric of each
// difference. The family has further comparisons that were not made.
func (b *builder) holm(family []*Difference, metrics []string, untested int) {
	differs, equivalent := make([]float64, len(family)), make([]float64, len(family))
	for i, d := range family {
		differs[i], equivalent[i] = *d.P, 1
		if size := b.o.Detect[metrics[i]]; size > 0 {
			low, high := d.measured.narrowest(size)
			equivalent[i] = d.measured.Equivalent(low, high)
		}
	}
	same := stats.Holm(withUntested(equivalent, untested), alpha)
	for i, c := range stats.Holm(withUntested(differs, untested), alpha)[:len(family)] {
		d := family[i]
		bounds := d.measured.interval(c.Level, true)
		d.PCorrected, d.Corrected, d.Significant, d.Equivalent = &c.P, &bounds, c.P < alpha, same[i].P < alpha
	}
}

// moderate shrinks the standard deviations of the rows' differences towards a common value
// (stats.Moderate), separately for each scale. Contrasts are not moderated, because they share
// rows with each other. A standard deviation that stays 0 gives no interval.
func (b *builder) moderate(all []entry) {
	byScale := map[stats.Scale][]*measured{}
	for _, e := range all {
		if e.d.tested() && e.row != nil {
			byScale[e.d.measured.scale] = append(byScale[e.d.measured.scale], &e.d.measured)
		}
	}
	for _, of := range byScale {
		moderate(of)
		if len(of) > 1 {
			b.note(Note{Kind: Moderated})
		}
	}
	for _, e := range all {
		if !e.d.tested() {
			continue
		}
		bounds := e.d.measured.interval(Level, true)
		if e.d.Low, e.d.High = bounds.Low, bounds.High; e.d.measured.SE() == 0 {
			e.d.Interval = ""
			e.d.Notes = append(e.d.Notes, b.note(Note{Kind: Constant}))
		}
	}
}

// detect computes how many seeds detect a difference of the given size at the level of Holm's
// first step over all planned comparisons, which is enough whatever the other rows show.
func (b *builder) detect(m Metric, size float64, all []entry) {
	out := Detect{Metric: m.Name, Size: size}
	level := b.looks.Last(alpha / float64(max(b.t.Planned, 1)))
	for _, e := range all {
		d := e.d
		design, ok := b.design(d)
		if !ok {
			continue
		}
		low, high := d.measured.margins(size, d.measured.base)
		delta := min(-low, high)
		needs, enough := design.Estimated(d.measured.DF).SeedsNeeded(delta, level, power)
		if d.Needs = needs; !enough {
			if more := design.PromptsNeeded(delta, level, power); more > 1 {
				d.MorePrompts = more
			}
			d.TooMany = d.MorePrompts == 0
		}
		rank := func(needs int, have int) int { // 2: no number is enough, 1: the row has too few seeds, 0: it has enough
			switch {
			case needs == 0:
				return 2
			case needs > have:
				return 1
			}
			return 0
		}
		mine, worst := rank(needs, d.N), rank(out.Needs, out.Have)
		if out.Row == "" || mine > worst || mine == worst && (d.Needs > out.Needs || d.MorePrompts > out.MorePrompts) {
			out.Needs, out.MorePrompts, out.Row, out.Have = d.Needs, d.MorePrompts, e.name(), d.N
			design.SD = stats.UpperSD(design.SD, d.measured.DF, .8)
			out.AtMost, _ = design.SeedsNeeded(delta, level, power)
		}
	}
	b.t.Detect = append(b.t.Detect, out)
}

// design returns the standard deviation of a difference for planning: its estimate from three
// or more seeds, or the standard deviation of two. It returns false with fewer seeds.
func (b *builder) design(d *Difference) (stats.Design, bool) {
	switch {
	case d.tested():
		return stats.DesignOf(d.measured.Estimate), true
	case d.N == 2 && len(d.Values) == 2:
		y := d.measured
		slope := 1.
		if y.scale != stats.Identity {
			slope = y.scale.Slope(y.scale.From(y.base, y.samples), y.samples)
		}
		d.measured.DF = 1
		return stats.Design{SD: slope * math.Abs(d.Values[0]-d.Values[1]) / math.Sqrt2}, true
	}
	return stats.Design{}, false
}

// resolution adds the median half-width of a metric's corrected intervals, by number of seeds.
func (b *builder) resolution(m Metric, all []entry) {
	widths := map[int][]float64{} // by number of seeds
	for _, e := range all {
		if e.d.Corrected != nil {
			widths[e.d.N] = append(widths[e.d.N], (e.d.Corrected.High-e.d.Corrected.Low)/2)
		}
	}
	for _, n := range sorted(widths) {
		w := widths[n]
		slices.Sort(w)
		b.t.Resolving = append(b.t.Resolving, Resolution{Metric: m.Name, Seeds: n, Size: w[len(w)/2], Of: len(w)})
	}
}

// repeat copies the differences of a row to the rows with the same trials. A row with only some
// of the trials gets none, because its seeds are fewer.
func (b *builder) repeat() {
	index := map[string]int{}
	for i, r := range b.t.Rows {
		index[r.Label] = i
	}
	for _, r := range b.t.Rows {
		if r.SameAs == "" {
			continue
		}
		if r.Part {
			clear(r.Differences)
			continue
		}
		for name := range r.Differences {
			if d, ok := b.t.Rows[index[r.SameAs]].Differences[name]; ok {
				r.Differences[name] = d
			}
		}
	}
}

// best sets, for each metric, the row that is significantly better than all others, if there is
// one.
func (b *builder) best() {
	for k := range b.t.Metrics {
		m := &b.t.Metrics[k]
		sign := m.sign()
		var in []int
		for i, r := range b.t.Rows {
			if _, ok := r.Cells[m.Name]; ok && !r.Control && !r.Candidate && r.SameAs == "" && !b.chosenOn(*m, b.rows[i].views) {
				in = append(in, i)
			}
		}
		if sign == 0 || len(in) < 2 {
			continue
		}
		top := slices.MaxFunc(in, func(i, j int) int {
			return cmp.Compare(sign*b.t.Rows[i].Cells[m.Name].Mean, sign*b.t.Rows[j].Cells[m.Name].Mean)
		})
		if b.singled(*m, top, in) {
			m.Best = b.t.Rows[top].Label
		}
	}
}

// singled reports whether a row is significantly better than every other of a list.
func (b *builder) singled(m Metric, top int, in []int) bool {
	notes := len(b.t.Notes) // these comparisons are not shown, so neither are their notes
	defer func() { b.t.Notes = b.t.Notes[:notes] }()
	var p []float64
	for _, i := range in {
		if i == top {
			continue
		}
		if _, _, differ := b.counts(m, b.rows[top].views, b.rows[i].views); differ {
			return false
		}
		d, ok := b.measure(m, []term{{b.rows[top], 1}, {b.rows[i], -1}}, nil)
		if !ok || d.level != OverSeeds && d.level != OverBoth || m.sign()*d.Mean <= 0 {
			return false
		}
		p = append(p, d.P(0))
	}
	corrected := stats.Holm(withUntested(p, b.untested()), alpha)[:len(p)]
	return !slices.ContainsFunc(corrected, func(c stats.Corrected) bool { return c.P >= alpha })
}
