package compare

// Comparison is a difference of two rows in a metric, in a flat form for programs that read a
// table. Every field is present, and null where the table has no such value.
type Comparison struct {
	Arm       string      `json:"arm"`       // label of the row that is compared
	Reference string      `json:"reference"` // label of the row that is subtracted
	Metric    string      `json:"metric"`
	Estimate  float64     `json:"estimate"` // arm minus reference, in the metric's units
	Interval  *[2]float64 `json:"interval"` // 95% interval, not corrected for multiple comparisons
	Levels    []string    `json:"levels"`   // sources of variation that the interval covers: seeds, prompts or images
	P         *float64    `json:"p"`        // two-sided p value
	// PCorrected is P after Holm's correction over rows and primary metrics; null for metrics
	// that are not primary.
	PCorrected  *float64 `json:"pCorrected"`
	Significant bool     `json:"significant"`
	Equivalent  bool     `json:"equivalent"`
	Seeds       int      `json:"seeds"` // number of independent seeds that both rows have
	Needs       *int     `json:"needs"` // seeds that detect the declared size with 80% power; null where no size is declared or no number is enough
}

// Comparisons returns all differences of a table: those of rows, then contrasts, each in the
// order of the metrics.
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
