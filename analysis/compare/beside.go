package compare

import (
	"fmt"
	"slices"

	"ablate/analysis/stats"
)

// Beside is one value of two tables: of two studies, or of one at two times.
type Beside struct {
	Row    string `json:"row"`
	Metric Metric `json:"metric"`
	A      *Cell  `json:"a,omitempty"`
	B      *Cell  `json:"b,omitempty"`
	// Difference is A's less B's over the seeds that both have; nil where there is none.
	Difference *Cell `json:"difference,omitempty"`
	Same       bool  `json:"same"` // the same trials, artifacts and values
	// Counts is why there is no difference: the metric depends on the number of samples,
	// and the two have different numbers.
	Counts string `json:"counts,omitempty"`
}

// SideBySide lays two tables beside each other, by the labels of their rows, in
// the order of the first; rows of the second alone follow.
func SideBySide(a, b *Table, metrics []string) []Beside {
	var labels []string
	seen := map[string]bool{}
	rows := [2]map[string]*Row{{}, {}}
	for k, t := range []*Table{a, b} {
		for i, r := range t.Rows {
			if _, twice := rows[k][r.Label]; !twice {
				rows[k][r.Label] = &t.Rows[i]
			}
			if !seen[r.Label] {
				seen[r.Label] = true
				labels = append(labels, r.Label)
			}
		}
	}
	var out []Beside
	for _, label := range labels {
		x, y := rows[0][label], rows[1][label]
		for _, name := range metrics {
			i := slices.IndexFunc(a.Metrics, func(m Metric) bool { return m.Name == name })
			if i < 0 {
				continue
			}
			line := Beside{Row: label, Metric: a.Metrics[i]}
			if x != nil {
				line.A = cellOf(*x, name)
			}
			if y != nil {
				line.B = cellOf(*y, name)
			}
			if line.A == nil && line.B == nil {
				continue
			}
			if line.A != nil && line.B != nil {
				if line.Difference = difference(*line.A, *line.B); line.Metric.Depends == "n" && line.A.Images != line.B.Images && line.A.Images > 0 && line.B.Images > 0 {
					line.Difference, line.Counts = nil, fmt.Sprintf("not comparable: %d and %d images", line.A.Images, line.B.Images)
				}
				// A trial's id has neither the code that ran it, nor the device, nor the bytes
				// of a checkpoint that it adopts: what those changed is seen in the artifacts,
				// of which a baseline has none, and in the values.
				line.Same = slices.Equal(x.Trials, y.Trials) && (x.artifacts == nil || y.artifacts == nil || slices.Equal(x.artifacts, y.artifacts)) &&
					slices.Equal(line.A.Seeds, line.B.Seeds) && slices.Equal(line.A.Values, line.B.Values)
			}
			out = append(out, line)
		}
	}
	return out
}

func cellOf(r Row, metric string) *Cell {
	if c, ok := r.Cells[metric]; ok {
		return &c
	}
	return nil
}

// difference pairs two cells by seed.
func difference(a, b Cell) *Cell {
	d := &Cell{}
	var seeds []stats.Seed
	for i, s := range a.Seeds {
		v, ok := b.Of(s)
		seed, err := ParseSeed(s)
		if !ok || err != nil {
			continue
		}
		seeds = append(seeds, seed)
		d.Seeds, d.Values = append(d.Seeds, s), append(d.Values, a.Values[i]-v)
	}
	if len(seeds) == 0 {
		return nil
	}
	d.Mean, d.N = mean(d.Values), stats.Independent(seeds)
	d.Low, d.High = d.Mean, d.Mean
	if e, ok := stats.OverSeeds(seeds, d.Values); ok && e.SD > 0 {
		i := e.Interval(Level)
		d.Low, d.High, d.Interval = i.Low, i.High, OverSeeds
	}
	return d
}
