package compare

import (
	"math"
	"slices"

	"ablate/analysis/stats"
)

// State is the state of a comparison at an interim analysis of a sequential study.
type State string

// The states of a comparison.
const (
	Found    State = "significant"
	Alike    State = "equivalent"
	Unlikely State = "unlikely" // futile: with the present estimate, the last look would have less than 10% power
	Open     State = "open"     // more seeds may settle the comparison
)

// unlikely is the power of the last look, at the present estimate of the difference, below
// which a comparison stops for futility.
const unlikely = .1

// states sets the state of each primary comparison of a study with looks.
func (b *builder) states(family []entry) {
	if b.looks == nil {
		return
	}
	last := b.o.Looks[len(b.o.Looks)-1]
	level := b.looks.Last(alpha / float64(max(len(family), 1)))
	for _, e := range family {
		switch d := e.d; {
		case d.Significant:
			d.State = Found
		case d.Equivalent:
			d.State = Alike
		case d.N >= last || stats.DesignOf(d.measured.Estimate).Power(d.measured.Mean, last, level) < unlikely:
			d.State = Unlikely
		default:
			d.State = Open
		}
	}
}

// Unsettled returns the labels of the rows that need more seeds. If precise is nil, these are
// the rows of open comparisons on primary metrics; otherwise, those with an uncorrected
// interval that is wider than precise allows for its metric.
func (t *Table) Unsettled(precise map[string]float64) []string {
	open := func(metric string, d Difference) bool {
		if precise == nil {
			return d.State == Open
		}
		size, ok := precise[metric]
		return ok && d.tested() && d.High-d.Low > size
	}
	var out []string
	add := func(label string) {
		if !slices.Contains(out, label) {
			out = append(out, label)
		}
	}
	for _, r := range t.Rows {
		for metric, d := range r.Differences {
			if open(metric, d) {
				add(r.Label)
			}
		}
	}
	for _, c := range t.Contrasts {
		for metric, d := range c.Differences {
			if open(metric, d) {
				add(c.A)
				add(c.B)
			}
		}
	}
	return out
}

// Expected returns the expected number of seeds of each row of a sequential study, by label;
// nil where the study has no looks. Rows that are not tested yet are given differences as large
// as those of published studies: normal, with a standard deviation of three standard deviations
// of a seed.
func (t *Table) Expected() map[string]float64 {
	looks := stats.NewLooks(t.Looks)
	if looks == nil {
		return nil
	}
	primary := 0
	for _, m := range t.Metrics {
		if m.Primary {
			primary++
		}
	}
	level := alpha / float64(max(t.Family, primary*(len(t.Rows)-1), 1))
	out := map[string]float64{}
	for _, r := range t.Rows {
		if r.Label == t.Reference {
			continue
		}
		var courses []stats.Course
		for _, m := range t.Metrics {
			if !m.Primary {
				continue
			}
			d, ok := r.Differences[m.Name]
			switch {
			case !ok || !d.tested():
				courses = append(courses, stats.Course{})
			case d.State == Open:
				e := d.measured.Estimate
				courses = append(courses, stats.Course{N: d.N, Mean: e.Mean / stats.DesignOf(e).SD})
			}
		}
		if courses == nil { // settled
			out[r.Label] = float64(seedsOf(r))
			continue
		}
		out[r.Label] = math.Max(looks.Expected(courses, level, unlikely), float64(seedsOf(r)))
	}
	return out
}

// seedsOf returns the largest number of independent seeds of a value of a row.
func seedsOf(r Row) int {
	n := 0
	for _, c := range r.Cells {
		n = max(n, c.N)
	}
	return n
}
