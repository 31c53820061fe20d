package page

import (
	"strings"

	"ablate/reports/format"
)

// Compared is a metric of a row in both studies of a comparison.
type Compared struct {
	Row, Metric string
	Control     bool
	A, B        string
	Difference  string
	Corrected   string   // corrected p value
	Value       *float64 // difference, for sorting
	Significant bool
}

// Compared returns the rows of the comparison with the other study, in the primary
// metrics or in all others.
func (v *view) Compared(primary bool) []Compared {
	var out []Compared
	for _, r := range v.Against.Rows {
		if r.SameAs != "" {
			continue
		}
		for _, m := range v.Against.Metrics {
			x, ok := r.Values[m.Name]
			if !ok || m.Primary != primary {
				continue
			}
			c := Compared{Row: r.Row, Control: r.Control, Metric: strings.TrimSpace(m.Label + " " + format.Arrow(m.Better)), A: format.Number(m.Digits, x.A.Mean), B: format.Number(m.Digits, x.B.Mean), Difference: "not comparable: different numbers of samples", Corrected: "–"}
			switch d := x.Difference; {
			case r.Same:
				c.Difference, c.Value = "identical", new(float64)
			case d != nil:
				c.Difference, c.Value, c.Significant = format.Compact(m.Digits, d.Cell), &d.Mean, d.Significant
				if d.PCorrected != nil {
					c.Corrected = format.P(*d.PCorrected)
				}
			}
			if c.Significant {
				c.Difference += " *"
			}
			out = append(out, c)
		}
	}
	return out
}
