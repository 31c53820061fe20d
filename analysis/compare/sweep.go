package compare

import (
	"cmp"
	"slices"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Sweep is what the axes of one arm do: main effects, interactions of two, and
// trends over axes whose values are numbers.
type Sweep struct {
	Arm     string   `json:"arm"`
	Rows    []int    `json:"rows"` // of the table; ordered by the levels of one factor
	Factors []Factor `json:"factors"`
	Effects []Effect `json:"effects,omitempty"`
	Note    string   `json:"note,omitempty"` // why effects are missing
	// At has, by factor, the level of each row of Rows: an index of the factor's levels.
	At [][]int `json:"-"`
}

// Factor is an axis, or several that are coupled ("a+b"), with its levels in
// order: of size where they are numbers, else as written.
type Factor struct {
	Name   string   `json:"name"`
	Levels []string `json:"levels"`
	// Numbers are the levels of one axis of numbers; nil for other factors.
	Numbers []float64 `json:"-"`
	number  bool
}

// The kinds of effects.
const (
	Main        = "main"        // the mean over points of one level minus that over all levels; with two levels, the second minus the first
	Range       = "range"       // the mean over points of the last level minus that of the first; for axes of three or more numbers
	Trend       = "trend"       // the slope of a line fitted over the ranks of the levels, times the ranks from first to last
	Interaction = "interaction" // the mean of a pair of levels of two axes minus what their main effects add up to
)

// Effect is a contrast of an arm's points, taken seed by seed.
type Effect struct {
	Kind    string   `json:"kind"`
	Metric  string   `json:"metric"`
	Factors []string `json:"factors"`
	Levels  []string `json:"levels,omitempty"`
	Cell
	// P, PCorrected, Corrected and Significant are as those of a Difference, corrected over
	// the effects of an arm on all primary metrics.
	P           *float64 `json:"p,omitempty"`
	PCorrected  *float64 `json:"pCorrected,omitempty"`
	Corrected   *Bounds  `json:"corrected,omitempty"`
	Significant bool     `json:"significant,omitempty"`
	// Monotone, of a significant range: every step from level to level goes the same way,
	// each significantly at 5% one-sided (intersection-union: Berger 1982).
	Monotone bool `json:"monotone,omitempty"`

	measured measured
}

// Incomplete is the note of a sweep without effects: points are left out, or two of them
// are one trial.
const Incomplete = "incomplete"

// sweeps finds the effects of every arm with more than one point.
func (b *builder) sweeps() {
	byArm := map[string][]int{}
	var order []string
	for i, r := range b.t.Rows {
		if r.Picked != nil {
			continue // its point is among the others
		}
		if byArm[r.Arm] == nil {
			order = append(order, r.Arm)
		}
		byArm[r.Arm] = append(byArm[r.Arm], i)
	}
	for _, arm := range order {
		if rows := byArm[arm]; len(rows) > 1 {
			b.t.Sweeps = append(b.t.Sweeps, b.sweep(arm, rows))
		}
	}
}

func (b *builder) sweep(arm string, rows []int) Sweep {
	s := Sweep{Arm: arm, Rows: slices.Clone(rows)}
	var levels [][]int // by factor, of each row
	for _, axis := range b.axes[arm] {
		f, at, ok := b.factor(axis, rows)
		if !ok {
			continue
		}
		coupled := slices.IndexFunc(levels, func(o []int) bool { return oneToOne(o, at) })
		if coupled >= 0 {
			c := &s.Factors[coupled]
			for l := range c.Levels {
				c.Levels[l] += "+" + f.Levels[at[slices.Index(levels[coupled], l)]]
			}
			c.Name += "+" + f.Name
			c.Numbers = nil
			continue
		}
		s.Factors, levels = append(s.Factors, f), append(levels, at)
	}
	if len(levels) == 1 {
		slices.SortStableFunc(s.Rows, func(i, j int) int {
			return cmp.Compare(levels[0][slices.Index(rows, i)], levels[0][slices.Index(rows, j)])
		})
	}
	for _, at := range levels {
		of := make([]int, len(s.Rows))
		for k, i := range s.Rows {
			of[k] = at[slices.Index(rows, i)]
		}
		s.At = append(s.At, of)
	}
	points := 1
	for _, f := range s.Factors {
		points *= len(f.Levels)
	}
	if points != len(rows) || len(s.Factors) == 0 {
		s.Note = Incomplete
		return s
	}
	for _, m := range b.t.Metrics {
		s.Effects = append(s.Effects, b.effects(m, rows, s.Factors, levels)...)
	}
	b.correctEffects(s.Effects)
	return s
}

// factor reads the levels of an axis from the columns of trials.
func (b *builder) factor(name string, rows []int) (Factor, []int, bool) {
	c := b.columns[name]
	if c == nil {
		return Factor{}, nil, false
	}
	f := Factor{Name: name, number: c.Kind == table.Float || c.Kind == table.Int}
	values := make([]any, len(rows))
	var distinct []any
	for k, i := range rows {
		values[k] = c.Value(b.rows[i].views[0])
		f.number = f.number && values[k] != nil
		if !slices.Contains(distinct, values[k]) {
			distinct = append(distinct, values[k])
		}
	}
	if f.number {
		slices.SortStableFunc(distinct, func(x, y any) int { return cmp.Compare(number(x), number(y)) })
		for _, v := range distinct {
			f.Numbers = append(f.Numbers, number(v))
		}
	}
	at := make([]int, len(rows))
	for k, v := range values {
		at[k] = slices.Index(distinct, v)
	}
	for _, v := range distinct {
		if v == nil {
			v = "unused"
		}
		f.Levels = append(f.Levels, valueText(v))
	}
	return f, at, len(distinct) > 1
}

func number(v any) float64 {
	if i, ok := v.(int64); ok {
		return float64(i)
	}
	return v.(float64)
}

// oneToOne reports whether two factors always move together.
func oneToOne(a, b []int) bool {
	ab, ba := map[int]int{}, map[int]int{}
	for i := range a {
		if x, ok := ab[a[i]]; ok && x != b[i] {
			return false
		}
		if x, ok := ba[b[i]]; ok && x != a[i] {
			return false
		}
		ab[a[i]], ba[b[i]] = b[i], a[i]
	}
	return true
}

// effects of one metric, over the seeds with which every point has it.
func (b *builder) effects(m Metric, rows []int, factors []Factor, levels [][]int) []Effect {
	for _, i := range rows[1:] {
		if mine, theirs, differ := b.counts(m, b.rows[i].views, b.rows[rows[0]].views); differ {
			b.unequal(mine, theirs)
			return nil
		}
	}
	notes := len(b.t.Notes)
	var out []Effect
	// An effect is shown at the mean of the rows of a level, at that of all where of is nil.
	add := func(e Effect, c stats.Contrast, of []int, level int) {
		var bases []*grouped
		for k, l := range of {
			if l == level {
				bases = append(bases, b.rows[rows[k]])
			}
		}
		if d, ok := b.contrast(m, rows, c, bases); ok {
			e.Metric, e.Cell, e.measured = m.Name, b.show(d, true), d
			e.Notes = nil
			out = append(out, e)
		}
	}
	for i, f := range factors {
		count := len(f.Levels)
		switch {
		case count == 2:
			add(Effect{Kind: Main, Factors: []string{f.Name}, Levels: f.Levels}, stats.Step(levels[i], 0, 1), levels[i], 0)
		case f.number:
			add(Effect{Kind: Range, Factors: []string{f.Name}, Levels: []string{f.Levels[0], f.Levels[count-1]}, Monotone: b.monotone(m, rows, levels[i], count)}, stats.Step(levels[i], 0, count-1), levels[i], 0)
			if count > 3 { // of three levels the two are equal
				add(Effect{Kind: Trend, Factors: []string{f.Name}}, stats.Trend(levels[i], count), levels[i], 0)
			}
		default:
			for l := range f.Levels {
				add(Effect{Kind: Main, Factors: []string{f.Name}, Levels: []string{f.Levels[l]}}, stats.MainEffect(levels[i], l, count), nil, 0)
			}
		}
		for j := range i {
			g := factors[j]
			for x := range g.Levels {
				for y := range f.Levels {
					// Of two levels the first is the second's negative.
					if x == 0 && len(g.Levels) == 2 || y == 0 && count == 2 {
						continue
					}
					add(Effect{Kind: Interaction, Factors: []string{g.Name, f.Name}, Levels: []string{g.Levels[x], f.Levels[y]}},
						stats.Interaction(levels[j], levels[i], x, len(g.Levels), y, count), nil, 0)
				}
			}
		}
	}
	b.t.Notes = b.t.Notes[:notes] // what lacks results is noted in the rows
	return out
}

// contrast measures a contrast of rows, shown at the mean of bases.
func (b *builder) contrast(m Metric, rows []int, c stats.Contrast, bases []*grouped) (measured, bool) {
	var terms []term
	for k, i := range rows {
		terms = append(terms, term{b.rows[i], c[k]})
	}
	return b.measure(m, terms, bases)
}

// monotone reports whether every step along an axis goes the same way, significantly.
func (b *builder) monotone(m Metric, rows []int, levels []int, count int) bool {
	up, down := 0., 0. // the larger p value of all steps
	for l := range count - 1 {
		d, ok := b.contrast(m, rows, stats.Step(levels, l, l+1), nil)
		if !ok || !d.tested() {
			return false
		}
		up, down = max(up, d.Above(0)), max(down, d.Below(0))
	}
	return min(up, down) < alpha
}

// correctEffects tests the effects of an arm and corrects those on primary metrics.
func (b *builder) correctEffects(effects []Effect) {
	var family []int
	var p []float64
	for i := range effects {
		e := &effects[i]
		if !e.Tested() {
			continue
		}
		x := e.measured.P(0)
		e.P = &x
		if m, _ := b.t.Metric(e.Metric); m.Primary {
			family, p = append(family, i), append(p, x)
		}
	}
	for k, c := range stats.Holm(p, alpha) {
		e := &effects[family[k]]
		bounds := e.measured.interval(c.Level, true)
		e.PCorrected, e.Corrected, e.Significant = &c.P, &bounds, c.P < alpha
		e.Monotone = e.Monotone && e.Significant
	}
}
