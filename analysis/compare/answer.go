package compare

import (
	"cmp"
	"math"
	"slices"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Answer is what a table says about its study's question: how many rows differ from the
// reference, which of them differs the most and at what cost, and how the best row lies
// to the pretrained model. Controls, rows that repeat another and points of which one is
// chosen are neither counted nor named.
type Answer struct {
	Metric string `json:"metric"`         // that it is about: alignment where that is primary, else the first primary one
	Cost   string `json:"cost,omitempty"` // the next primary metric, whose difference the named row has too
	Rows   int    `json:"rows"`           // with a test of their difference from the reference
	Few    int    `json:"few"`            // rows with fewer than three seeds, which have no test
	Higher int    `json:"higher"`         // rows that are significantly above the reference
	Lower  int    `json:"lower"`
	Seeds  [2]int `json:"seeds"` // the fewest and the most independent seeds of a difference
	// Named is the row with the best significant difference; where none is significant, that
	// with the largest. Of rows without a test it is that with the largest difference.
	Named *Named `json:"named,omitempty"`
	// Pretrained is how rows lie to the pretrained model, where the reference is worse.
	Pretrained *Pretrained `json:"pretrained,omitempty"`
	Values     []string    `json:"values"` // labels of the rows that have a value of the metric
}

// Named is a row that the answer names, with its difference in the metric and in the cost.
type Named struct {
	Row    string      `json:"row"`
	Metric Difference  `json:"metric"`
	Cost   *Difference `json:"cost,omitempty"`
}

// Pretrained compares all rows with the pretrained model. The comparisons are a family of
// their own, corrected by Holm, from which the best row is selected.
type Pretrained struct {
	Row       string     `json:"row"`       // of the pretrained model
	Reference Difference `json:"reference"` // of the reference from it
	Family    int        `json:"family"`    // comparisons
	Better    int        `json:"better"`    // rows that are significantly better than it
	Best      Named      `json:"best"`
}

// named reports whether the answer may name a row.
func (r Row) named() bool { return r.SameAs == "" && !r.Control && !r.Candidate }

// answer decides what the table says.
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
		if !ok || !r.named() {
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

// foremost is the row with the best significant difference; where none is significant for the
// better, that with the largest.
func foremost(m Metric, rows []Named) Named {
	better := slices.DeleteFunc(slices.Clone(rows), func(n Named) bool { return !n.Metric.Significant || m.sign()*n.Metric.Mean <= 0 })
	if len(better) > 0 {
		rows = better
	}
	return slices.MaxFunc(rows, func(x, y Named) int { return cmp.Compare(math.Abs(x.Metric.Mean), math.Abs(y.Metric.Mean)) })
}

// subjects are the metrics that the answer is about.
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

// pretrained compares all rows with the pretrained model where the reference is worse.
func (b *builder) pretrained(a *Answer, m Metric, base int) {
	if base < 0 || m.sign() == 0 || m.sign()*b.t.Rows[base].Differences[m.Name].Mean <= 0 {
		return
	}
	notes := len(b.t.Notes) // comparisons that are not in the table leave none
	defer func() { b.t.Notes = b.t.Notes[:notes] }()
	var all []*measured
	var rows []int
	for i, r := range b.t.Rows {
		if _, _, differ := b.counts(m, b.rows[i].views, b.rows[base].views); i == base || differ || !r.named() && r.Label != b.t.Reference {
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
	out := &Pretrained{Row: b.t.Rows[base].Label, Family: len(all)}
	var best []Named
	for i, c := range stats.Holm(p, alpha) {
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

// base is the row of the model as it was pretrained, neither fine-tuned nor the best of
// several draws; -1 where there is none, or several.
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
