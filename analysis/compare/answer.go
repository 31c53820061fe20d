package compare

import (
	"cmp"
	"math"
	"slices"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Answer is the summary of a table: how many rows differ significantly from the reference,
// which one differs most and at what cost, and how the best row compares with the pretrained
// model. Controls, rows that repeat another row and sweep points of which one is selected are
// left out.
type Answer struct {
	Metric string `json:"metric"`         // the metric of the answer: alignment where it is primary, else the first primary metric
	Cost   string `json:"cost,omitempty"` // the next primary metric, in which the named row's difference is given too
	Rows   int    `json:"rows"`           // number of rows whose difference from the reference is tested
	Few    int    `json:"few"`            // number of rows with fewer than three seeds, which are not tested
	Higher int    `json:"higher"`         // number of rows that are significantly above the reference
	Lower  int    `json:"lower"`          // number of rows that are significantly below the reference
	Seeds  [2]int `json:"seeds"`          // smallest and largest number of independent seeds of a difference
	// Named is the row with the best significant difference; where none is significantly
	// better, the row with the largest difference. If no row is tested, it is the row with the
	// largest difference.
	Named *Named `json:"named,omitempty"`
	// Pretrained compares the rows with the pretrained model; present where the reference is
	// worse than that model.
	Pretrained *Pretrained `json:"pretrained,omitempty"`
	Values     []string    `json:"values"` // labels of the rows that have a value of the metric
}

// Named is a row with its difference from the reference in the answer's metric and in its cost.
type Named struct {
	Row    string      `json:"row"`
	Metric Difference  `json:"metric"`
	Cost   *Difference `json:"cost,omitempty"`
}

// Pretrained compares all rows with the pretrained model. These comparisons are a separate
// family, corrected by Holm, so that selecting the best row is accounted for.
type Pretrained struct {
	Row       string     `json:"row"`       // label of the row of the pretrained model
	Reference Difference `json:"reference"` // reference minus pretrained model
	Family    int        `json:"family"`    // number of comparisons that are corrected together
	Better    int        `json:"better"`    // number of rows that are significantly better than the pretrained model
	Best      Named      `json:"best"`
}

// InAnswer reports whether the answer may name the row.
func (r Row) InAnswer() bool { return r.SameAs == "" && !r.Control && !r.Candidate }

// answer fills the table's Answer.
func (b *builder) answer() {
	base := b.base()
	if base >= 0 {
		b.t.Pretrained = b.t.Rows[base].Label
	}
	a := &b.t.Answer
	a.Values = []string{}
	a.Metric, a.Cost = b.subjects()
	m, _ := b.t.Metric(a.Metric)
	var tested, few []Named
	for _, r := range b.t.Rows {
		if _, ok := r.Cells[a.Metric]; ok && r.SameAs == "" {
			a.Values = append(a.Values, r.Label)
		}
		d, ok := r.Differences[a.Metric]
		if !ok || !r.InAnswer() {
			continue
		}
		n := Named{Row: r.Label, Metric: d}
		if cost, ok := r.Differences[a.Cost]; ok {
			n.Cost = &cost
		}
		if d.Corrected == nil {
			few = append(few, n)
			continue
		}
		tested = append(tested, n)
		switch {
		case d.Significant && d.Mean > 0:
			a.Higher++
		case d.Significant:
			a.Lower++
		}
	}
	a.Rows, a.Few = len(tested), len(few)
	if tested == nil {
		tested = few
	}
	if tested == nil {
		return
	}
	for i, n := range tested {
		if a.Seeds[1] = max(a.Seeds[1], n.Metric.N); i == 0 || n.Metric.N < a.Seeds[0] {
			a.Seeds[0] = n.Metric.N
		}
	}
	named := foremost(m, tested)
	a.Named = &named
	b.pretrained(a, m, base)
}

// foremost returns the row with the largest absolute difference among those that are
// significantly better; among all rows where none is.
func foremost(m Metric, rows []Named) Named {
	better := slices.DeleteFunc(slices.Clone(rows), func(n Named) bool { return !n.Metric.Significant || m.sign()*n.Metric.Mean <= 0 })
	if len(better) > 0 {
		rows = better
	}
	return slices.MaxFunc(rows, func(x, y Named) int { return cmp.Compare(math.Abs(x.Metric.Mean), math.Abs(y.Metric.Mean)) })
}

// subjects returns the metric of the answer and its cost: alignment first where it is primary,
// else primary metrics in the order of the table. cost is "" where there is no second one.
func (b *builder) subjects() (metric, cost string) {
	var primary []string
	for _, m := range b.t.Metrics {
		if m.Primary {
			primary = append(primary, m.Name)
		}
	}
	if i := slices.Index(primary, Primary[0]); i > 0 {
		primary = slices.Insert(slices.Delete(primary, i, i+1), 0, Primary[0])
	}
	switch len(primary) {
	case 0:
		if len(b.t.Metrics) > 0 {
			return b.t.Metrics[0].Name, ""
		}
		return "", ""
	case 1:
		return primary[0], ""
	}
	return primary[0], primary[1]
}

// pretrained compares all rows with the pretrained model, row base, if the reference is worse
// than it.
func (b *builder) pretrained(a *Answer, m Metric, base int) {
	if base < 0 || m.sign() == 0 || m.sign()*b.t.Rows[base].Differences[m.Name].Mean <= 0 {
		return
	}
	notes := len(b.t.Notes) // these comparisons are not in the table, so neither are their notes
	defer func() { b.t.Notes = b.t.Notes[:notes] }()
	var all []*measured
	var rows []int
	untested := 0
	for i, r := range b.t.Rows {
		if r.Stopped != nil && r.InAnswer() {
			untested++
		}
		if _, _, differ := b.counts(m, b.rows[i].views, b.rows[base].views); i == base || differ || !r.InAnswer() && r.Label != b.t.Reference {
			continue
		}
		if d, ok := b.difference(m, b.rows[i], b.rows[base]); ok && d.tested() {
			all, rows = append(all, &d.measured), append(rows, i)
		}
	}
	moderate(all)
	p := make([]float64, len(all))
	for i, d := range all {
		p[i] = d.P(0)
	}
	out := &Pretrained{Row: b.t.Rows[base].Label, Family: len(all) + untested}
	var best []Named
	for i, c := range stats.Holm(withUntested(p, untested), alpha)[:len(all)] {
		d := all[i]
		bounds := d.interval(c.Level, true)
		n := Named{Row: b.t.Rows[rows[i]].Label, Metric: Difference{Cell: b.show(*d, true), P: &p[i], PCorrected: &c.P, Corrected: &bounds, Significant: c.P < alpha, measured: *d}}
		n.Metric.Notes = nil
		if n.Metric.Significant && m.sign()*n.Metric.Mean > 0 {
			out.Better++
		}
		if n.Row == b.t.Reference {
			out.Reference = n.Metric
		}
		best = append(best, n)
	}
	if out.Reference.Corrected == nil || len(best) < 2 {
		return
	}
	out.Best = slices.MaxFunc(best, func(x, y Named) int { return cmp.Compare(m.sign()*x.Metric.Mean, m.sign()*y.Metric.Mean) })
	a.Pretrained = out
}

// base returns the index of the row of the pretrained model, neither fine-tuned nor sampled by
// best-of-n. It returns -1 where no row or several rows are.
func (b *builder) base() int {
	method, best := b.columns["finetune.method"], b.columns["evaluate.bestOf"]
	if method == nil || method.Kind != table.String {
		return -1
	}
	base := -1
	for i, r := range b.rows {
		v := r.views[0]
		if b.t.Rows[i].SameAs != "" || !method.Has(v) || method.Strings[v] != "none" {
			continue
		}
		if best != nil && best.Kind == table.Int && best.Has(v) && best.Ints[v] > 1 {
			continue
		}
		if base >= 0 {
			return -1
		}
		base = i
	}
	return base
}
