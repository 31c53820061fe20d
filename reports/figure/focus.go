package figure

import (
	"slices"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// focus returns the rows that a figure shows and names first: the reference, the rows on
// the front and in the answer, and the pretrained model.
func focus(t *compare.Table) map[int]bool {
	names := []string{t.Reference, t.Pretrained}
	if t.Front != nil {
		for _, p := range t.Front.Points {
			if p.On {
				names = append(names, p.Label)
			}
		}
	}
	if n := t.Answer.Named; n != nil {
		names = append(names, n.Row)
	}
	if p := t.Answer.Pretrained; p != nil {
		names = append(names, p.Row, p.Best.Row)
	}
	out := map[int]bool{}
	for i, r := range t.Rows {
		if slices.Contains(names, r.Label) {
			out[i] = true
		}
	}
	return out
}

// drawn returns at most most of rows, in their order. It prefers rows in focus, then the
// first ones.
func drawn(t *compare.Table, rows []int, most int) []int { return firstOf(rows, focus(t), most) }

func firstOf(rows []int, focus map[int]bool, most int) []int {
	first := slices.Clone(rows)
	slices.SortStableFunc(first, func(i, j int) int {
		switch {
		case focus[i] == focus[j]:
			return 0
		case focus[i]:
			return -1
		}
		return 1
	})
	first = first[:min(len(first), most)]
	return slices.DeleteFunc(slices.Clone(rows), func(i int) bool { return !slices.Contains(first, i) })
}

// name returns the name of a row in a figure.
func name(r compare.Row) string { return format.Brief(r) }

// values returns a row's values of metrics in words.
func values(t *compare.Table, cells map[string]compare.Cell, metrics ...string) string {
	var s string
	for _, name := range metrics {
		c, ok := cells[name]
		if !ok {
			continue
		}
		if s != "" {
			s += ", "
		}
		s += metricName(t, name) + " " + format.Cell(t.Digits(name), c)
	}
	return s
}

// metricName returns the name of a metric for readers.
func metricName(t *compare.Table, name string) string {
	if m, ok := t.Metric(name); ok {
		return m.Label
	}
	return name
}
