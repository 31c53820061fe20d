package compare

// Comparison is a difference of two rows in a metric, for programs that read a table. Every
// field is written; it is null where the table has no such value.
type Comparison struct {
	Arm       string      `json:"arm"` // label of the row
	Reference string      `json:"reference"`
	Metric    string      `json:"metric"`
	Estimate  float64     `json:"estimate"` // in the metric's units
	Interval  *[2]float64 `json:"interval"` // 95%, not corrected
	Levels    []string    `json:"levels"`   // which vary in the interval: seeds, prompts or images
	P         *float64    `json:"p"`        // two-sided
	// PCorrected is corrected by Holm over rows and primary metrics; null where the metric
	// is not primary.
	PCorrected  *float64 `json:"pCorrected"`
	Significant bool     `json:"significant"`
	Equivalent  bool     `json:"equivalent"`
	Seeds       int      `json:"seeds"` // independent ones that both rows have
	Needs       *int     `json:"needs"` // seeds that find the declared size; null where none is declared or no number is enough
}

// Comparisons are all differences of a table: by row, then contrasts, and by metric.
func (t *Table) Comparisons() []Comparison {
	out := []Comparison{}
	add := func(arm, reference string, of map[string]Difference) {
		for _, m := range t.Metrics {
			d, ok := of[m.Name]
			if !ok {
				continue
			}
			c := Comparison{Arm: arm, Reference: reference, Metric: m.Name, Estimate: d.Mean, Levels: []string{},
				P: d.P, PCorrected: d.PCorrected, Significant: d.Significant, Equivalent: d.Equivalent, Seeds: d.N}
			if d.Interval != "" {
				c.Interval = &[2]float64{d.Low, d.High}
				c.Levels = map[string][]string{OverSeeds: {"seeds"}, OverBoth: {"seeds", "prompts"}, OverPrompts: {"prompts"}, OverImages: {"images"}}[d.Interval]
			}
			if d.Needs > 0 {
				c.Needs = &d.Needs
			}
			out = append(out, c)
		}
	}
	for _, r := range t.Rows {
		if r.SameAs == "" {
			add(r.Label, t.Reference, r.Differences)
		}
	}
	for _, c := range t.Contrasts {
		add(c.A, c.B, c.Differences)
	}
	return out
}
