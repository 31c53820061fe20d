package text

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// Kinds of lines of a long table.
const (
	levelLine      = "level"      // a metric of a row
	differenceLine = "difference" // of a row from the reference
	contrastLine   = "contrast"   // difference of two rows that compare.contrasts names
	effectLine     = "effect"     // effect of an axis of an arm
	frontLine      = "front"      // a metric of a row over the seeds that all rows of the front share
	collapseLine   = "collapse"   // share of a row's seeds that have collapsed
	stoppedLine    = "stopped"    // proxy of a row when it was stopped early
)

// line is a line of a long table: an estimate with its tests.
type line struct {
	kind, arm, row, reference string
	point                     []compare.Value
	metric                    compare.Metric
	cell                      compare.Cell
	of                        *compare.Row // the row; nil for contrasts and effects
	difference                *compare.Difference
	effect                    *compare.Effect
	front                     *compare.FrontPoint
}

// longColumn is a column of a long table. The function value returns nil for a line
// without a value.
type longColumn struct {
	name  string
	kind  table.Kind
	doc   string
	value func(l line) any
}

// longColumns are the columns before and after the columns of the axes.
var longColumns = [2][]longColumn{{
	{"kind", table.String, "level, difference, contrast, effect, front, collapse or stopped", func(l line) any { return l.kind }},
	{"arm", table.String, "null for a contrast", func(l line) any { return text(l.arm) }},
	{"row", table.String, "arm and point, as in the ablation table; null for an effect", func(l line) any { return text(l.row) }},
	{"reference", table.String, "row that is subtracted; null if the line is not a difference of two rows", func(l line) any { return text(l.reference) }},
	{"control", table.Bool, "the row is a control", func(l line) any { return of(l.of, func(r *compare.Row) any { return r.Control }) }},
	{"sameAs", table.String, "earlier row that consists of the same trials, so that both have the same values", func(l line) any { return of(l.of, func(r *compare.Row) any { return text(r.SameAs) }) }},
}, {
	{"effect", table.String, "kind of an effect: main, range, trend or interaction", func(l line) any { return of(l.effect, func(e *compare.Effect) any { return e.Kind }) }},
	{"factors", table.String, "axis of an effect, or two with × between them", func(l line) any {
		return of(l.effect, func(e *compare.Effect) any { return strings.Join(e.Factors, " × ") })
	}},
	{"levels", table.String, "levels of an effect; if it is a difference of two levels, the first is subtracted", func(l line) any {
		return of(l.effect, func(e *compare.Effect) any { return text(strings.Join(e.Levels, ", ")) })
	}},
	{"metric", table.String, "name of the metric; null for a collapse", func(l line) any { return text(l.metric.Name) }},
	{"primary", table.Bool, "the metric is tested for significance", func(l line) any { return l.metric.Primary }},
	{"better", table.String, "better direction of the metric: higher or lower", func(l line) any { return text(l.metric.Better) }},
	{"estimate", table.Float, "value in the metric's units", func(l line) any {
		if l.kind == stoppedLine {
			return number(l.of.Stopped.Proxy)
		}
		return l.cell.Mean
	}},
	{"low", table.Float, "lower end of the 95% interval, which is not corrected", func(l line) any { return within(l.cell, l.cell.Low) }},
	{"high", table.Float, "upper end of that interval", func(l line) any { return within(l.cell, l.cell.High) }},
	{"interval", table.String, "source of the interval's variation: seeds, seeds and prompts, prompts or images; null if there is no interval", func(l line) any { return text(l.cell.Interval) }},
	{"seeds", table.Int, "number of independent seeds", func(l line) any { return int64(l.cell.N) }},
	{"images", table.Int, "smallest number of samples behind a seed's value", func(l line) any { return known(l.cell.Images) }},
	{"p", table.Float, "two-sided p value", func(l line) any { return number(l.tests().p) }},
	{"pCorrected", table.Float, "p value corrected by Holm over rows, contrasts and primary metrics, or over the effects of an arm; for the front, of the test that the row is dominated, corrected over the rows; null if the metric is not primary", func(l line) any {
		return number(l.tests().pCorrected)
	}},
	{"corrected.low", table.Float, "lower end of the interval at the level of that correction", func(l line) any { return of(l.tests().corrected, func(b *compare.Bounds) any { return b.Low }) }},
	{"corrected.high", table.Float, "upper end of the same interval", func(l line) any { return of(l.tests().corrected, func(b *compare.Bounds) any { return b.High }) }},
	{"significant", table.Bool, "pCorrected is below .05", func(l line) any { return l.tests().significant }},
	{"equivalent", table.Bool, "the difference is significantly smaller than the size that compare.detect declares to matter", func(l line) any { return of(l.difference, func(d *compare.Difference) any { return d.Equivalent }) }},
	{"needs", table.Int, "number of seeds that find a difference of the size that compare.detect declares to matter; null if nothing is declared, or if no number is enough", func(l line) any {
		return of(l.difference, func(d *compare.Difference) any { return known(d.Needs) })
	}},
	{"morePrompts", table.Float, "if no number of seeds is enough, the factor by which the number of prompts must grow", func(l line) any {
		return of(l.difference, func(d *compare.Difference) any { return positive(d.MorePrompts) })
	}},
	{"outlier", table.String, "seed whose difference is an outlier among the seeds (Grubbs's test)", func(l line) any { return of(l.difference, func(d *compare.Difference) any { return text(d.Outlier) }) }},
	{"monotone", table.Bool, "for a significant range: all steps from level to level go in the same direction, each significantly", func(l line) any {
		return of(l.effect, func(e *compare.Effect) any { return e.Monotone })
	}},
	{"front", table.Bool, "for the front: no other row has better means of both metrics", func(l line) any { return of(l.front, func(p *compare.FrontPoint) any { return p.On }) }},
	{"distance", table.Float, "distance to the front: by how much both means would have to improve", func(l line) any { return of(l.front, func(p *compare.FrontPoint) any { return p.Distance }) }},
	{"dominatedBy", table.String, "for the front: a row that is significantly better in both metrics", func(l line) any { return of(l.front, func(p *compare.FrontPoint) any { return text(p.DominatedBy) }) }},
	{"stopped", table.Int, "number of steps after which the row was stopped early, with all its seeds; null if it was not", func(l line) any {
		return of(l.of, func(r *compare.Row) any { return of(r.Stopped, func(s *compare.Stopped) any { return int64(s.Step) }) })
	}},
}}

// Long returns everything that an ablation table has, with one line per estimate.
func Long(t *compare.Table) *table.Table {
	lines := longLines(t)
	out := &table.Table{Meta: map[string]string{"reference": t.Reference, "prompts": t.Prompts, "family": strconv.Itoa(t.Family)}}
	add := func(c longColumn) {
		values := make([]any, len(lines))
		for i, l := range lines {
			values[i] = c.value(l)
		}
		out.Columns = append(out.Columns, tableColumn(c, values))
	}
	for _, c := range longColumns[0] {
		add(c)
	}
	for _, name := range axesOf(t) {
		value := func(l line) any {
			if i := slices.IndexFunc(l.point, func(v compare.Value) bool { return v.Axis == name }); i >= 0 {
				return l.point[i].Value
			}
			return nil
		}
		values := make([]any, len(lines))
		for i, l := range lines {
			values[i] = value(l)
		}
		kind := kindOf(values)
		add(longColumn{"axis." + name, kind, "value of the row on this axis, in its own type", func(l line) any { return typed(kind, value(l)) }})
	}
	for _, c := range longColumns[1] {
		add(c)
	}
	return out
}

// longLines returns the lines of a table: rows with their differences, contrasts, effects
// and the front.
func longLines(t *compare.Table) []line {
	var out []line
	metrics := map[string]compare.Metric{}
	for _, m := range t.Metrics {
		metrics[m.Name] = m
	}
	rows := map[string]*compare.Row{}
	for i := range t.Rows {
		r := &t.Rows[i]
		rows[r.Label] = r
		own := line{arm: r.Arm, row: r.Label, point: r.Point, of: r}
		add := func(kind string, m compare.Metric, c compare.Cell, d *compare.Difference) {
			l := own
			if l.kind, l.metric, l.cell, l.difference = kind, m, c, d; d != nil {
				l.reference = t.Reference
			}
			out = append(out, l)
		}
		for _, m := range t.Metrics {
			if c, ok := r.Cells[m.Name]; ok {
				add(levelLine, m, c, nil)
			}
			if c, ok := r.Cells[m.Real]; ok {
				add(levelLine, compare.Metric{Name: m.Real}, c, nil)
			}
			if d, ok := r.Differences[m.Name]; ok {
				add(differenceLine, m, d.Cell, &d)
			}
		}
		if r.Stopped != nil {
			add(stoppedLine, compare.Metric{Name: "proxy", Better: "higher"}, compare.Cell{N: len(r.Trials)}, nil)
		}
		if c := r.Collapse; c != nil {
			add(collapseLine, compare.Metric{}, compare.Cell{Mean: c.Share, Low: c.Low, High: c.High, Interval: compare.OverSeeds, N: c.N}, nil)
		}
	}
	for _, c := range t.Contrasts {
		for _, m := range t.Metrics {
			if d, ok := c.Differences[m.Name]; ok {
				out = append(out, line{kind: contrastLine, row: c.A, reference: c.B, metric: m, cell: d.Cell, difference: &d})
			}
		}
	}
	for _, s := range t.Sweeps {
		for _, e := range s.Effects {
			out = append(out, line{kind: effectLine, arm: s.Arm, metric: metrics[e.Metric], cell: e.Cell, effect: &e})
		}
	}
	if f := t.Front; f != nil {
		for _, p := range f.Points {
			l := line{kind: frontLine, row: p.Label, front: &p}
			if r := rows[p.Label]; r != nil {
				l.arm, l.point, l.of = r.Arm, r.Point, r
			}
			for _, x := range []struct {
				metric string
				mean   float64
			}{{f.X, p.X}, {f.Y, p.Y}} {
				l.metric, l.cell = metrics[x.metric], compare.Cell{Mean: x.mean, N: f.N}
				out = append(out, l)
			}
		}
	}
	return out
}

// tests are the tests of a line; all are nil for a level.
type tests struct {
	p, pCorrected *float64
	corrected     *compare.Bounds
	significant   any // bool, or nil if nothing is tested
}

func (l line) tests() tests {
	switch {
	case l.difference != nil:
		d := l.difference
		return tests{d.P, d.PCorrected, d.Corrected, d.Significant}
	case l.effect != nil:
		e := l.effect
		return tests{e.P, e.PCorrected, e.Corrected, e.Significant}
	case l.front != nil && l.front.DominatedBy != "":
		return tests{pCorrected: &l.front.P}
	}
	return tests{}
}

// axesOf returns the axes of a table's rows, in the order of their first occurrence.
func axesOf(t *compare.Table) []string {
	var out []string
	for _, r := range t.Rows {
		for _, v := range r.Point {
			if !slices.Contains(out, v.Axis) {
				out = append(out, v.Axis)
			}
		}
	}
	return out
}

// kindOf returns the kind of a column for axis values, which are strings or nil: Int or
// Float if all are such numbers, otherwise String.
func kindOf(values []any) table.Kind {
	kind := table.Int
	if !slices.ContainsFunc(values, func(v any) bool { return v != nil }) {
		return table.String
	}
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			continue
		}
		if _, err := strconv.ParseInt(s, 10, 64); err == nil {
			continue
		}
		if x, err := strconv.ParseFloat(s, 64); err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return table.String
		}
		kind = table.Float
	}
	return kind
}

// typed converts a value of an axis to kind.
func typed(kind table.Kind, v any) any {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	return table.Parse(kind, s)
}

// tableColumn returns a column with these values; nil stands for a missing value.
func tableColumn(c longColumn, values []any) *table.Column {
	out := &table.Column{Name: c.name, Kind: c.kind, Doc: c.doc}
	for _, v := range values {
		out.Valid = append(out.Valid, v != nil)
		switch c.kind {
		case table.String:
			s, _ := v.(string)
			out.Strings = append(out.Strings, s)
		case table.Float:
			x, _ := v.(float64)
			out.Floats = append(out.Floats, x)
		case table.Int:
			n, _ := v.(int64)
			out.Ints = append(out.Ints, n)
		case table.Bool:
			is, _ := v.(bool)
			out.Bools = append(out.Bools, is)
		}
	}
	return out
}

// These functions return nil for a missing value, which is null in the table.

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func known(n int) any {
	if n == 0 {
		return nil
	}
	return int64(n)
}

func positive(x float64) any {
	if x == 0 {
		return nil
	}
	return x
}

func number(p *float64) any {
	if p == nil {
		return nil
	}
	return *p
}

func within(c compare.Cell, bound float64) any {
	if c.Interval == "" {
		return nil
	}
	return bound
}

func of[T any](p *T, value func(*T) any) any {
	if p == nil {
		return nil
	}
	return value(p)
}
