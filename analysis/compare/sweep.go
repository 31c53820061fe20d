package compare

import (
	"cmp"
	"slices"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Sweep has the effects of the axes of one arm: main effects, interactions of two axes, and
// trends over numeric axes, as in the analysis of a factorial design.
type Sweep struct {
	Arm     string   `json:"arm"`
	Rows    []int    `json:"rows"` // indices in the table; with one factor, in the order of its levels
	Factors []Factor `json:"factors"`
	Effects []Effect `json:"effects,omitempty"`
	Note    string   `json:"note,omitempty"` // reason why there are no effects: incomplete
	// Uncrossed are the pairs of factors whose interactions are not estimated, because they have more
	// than MostPairs pairs of levels.
	Uncrossed [][2]string `json:"uncrossed,omitempty"`
	// At is, by factor, the level of each row of Rows, as an index of the factor's levels.
	At [][]int `json:"-"`
}

// Factor is an axis, or several axes that change together ("a+b"), with its levels in ascending
// order where they are numbers, else in the order of the study.
type Factor struct {
	Name   string   `json:"name"`
	Levels []string `json:"levels"`
	// Numbers are the levels of a single numeric axis; nil for other factors.
	Numbers []float64 `json:"-"`
	number  bool
}

// The kinds of effects.
const (
	Main        = "main"        // mean over points of one level minus mean over all levels; with two levels, the second minus the first
	Range       = "range"       // mean over points of the last level minus that of the first; for numeric axes of three or more levels
	Trend       = "trend"       // slope of a line fitted over the ranks of the levels, times the difference of the last and first rank
	Interaction = "interaction" // mean of a pair of levels of two axes minus the sum of their main effects
)

// Effect is an effect of axes: a contrast of an arm's points, paired by seed.
type Effect struct {
	Kind    string   `json:"kind"`
	Metric  string   `json:"metric"`
	Factors []string `json:"factors"`
	Levels  []string `json:"levels,omitempty"`
	Cell
	// P, PCorrected, Corrected and Significant are as in a Difference, corrected over the
	// effects of an arm on all primary metrics.
	P           *float64 `json:"p,omitempty"`
	PCorrected  *float64 `json:"pCorrected,omitempty"`
	Corrected   *Bounds  `json:"corrected,omitempty"`
	Significant bool     `json:"significant,omitempty"`
	// Monotone is true for a significant range effect whose steps from level to level all have
	// the same sign, each significant at 5% one-sided (intersection-union test, Berger 1982).
	Monotone bool `json:"monotone,omitempty"`

	measured measured
}

// MostPairs is the largest number of pairs of levels of two factors whose interactions are estimated.
// More of them would be a family of tests in which hardly any effect is large enough to be found.
const MostPairs = 100

// Incomplete is the Note of a sweep without effects: points are left out or stopped early, or
// two of them are the same trial.
const Incomplete = "incomplete"

// sweeps finds the effects of every arm with more than one point.
func (b *builder) sweeps() {
	byArm := map[string][]int{}
	var order []string
	for i, r := range b.t.Rows {
		if r.Picked != nil {
			continue // the selected point has another row among the arm's points
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
	var levels [][]int // by factor, the level of each row
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
	// Effects over the points that are left would be those of points that the proxy chose.
	stopped := slices.ContainsFunc(rows, func(i int) bool { return b.t.Rows[i].Stopped != nil })
	if points != len(rows) || len(s.Factors) == 0 || stopped {
		s.Note = Incomplete
		return s
	}
	for i, f := range s.Factors {
		for _, g := range s.Factors[:i] {
			if !crossed(g, f) {
				s.Uncrossed = append(s.Uncrossed, [2]string{g.Name, f.Name})
			}
		}
	}
	for _, m := range b.t.Metrics {
		s.Effects = append(s.Effects, b.effects(m, rows, s.Factors, levels)...)
	}
	b.correctEffects(s.Effects)
	return s
}

// crossed reports whether the interactions of two factors are estimated.
func crossed(f, g Factor) bool { return len(f.Levels)*len(g.Levels) <= MostPairs }

// factor returns the levels of an axis from the columns of trials and the level of each row. It
// returns false for an axis with one level.
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

// oneToOne reports whether two factors always change together.
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

// effects returns the effects of factors on one metric, over the seeds for which every point
// has a value.
func (b *builder) effects(m Metric, rows []int, factors []Factor, levels [][]int) []Effect {
	for _, i := range rows[1:] {
		if mine, theirs, differ := b.counts(m, b.rows[i].views, b.rows[rows[0]].views); differ {
			b.unequal(mine, theirs)
			return nil
		}
	}
	notes := len(b.t.Notes)
	var out []Effect
	// An effect is transformed to the metric's units at the mean of the rows of a level, or of
	// all rows where of is nil.
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
			if count > 3 { // with three levels, range and trend are equal
				add(Effect{Kind: Trend, Factors: []string{f.Name}}, stats.Trend(levels[i], count), levels[i], 0)
			}
		default:
			for l := range f.Levels {
				add(Effect{Kind: Main, Factors: []string{f.Name}, Levels: []string{f.Levels[l]}}, stats.MainEffect(levels[i], l, count), nil, 0)
			}
		}
		for j := range i {
			g := factors[j]
			if !crossed(g, f) {
				continue
			}
			for x := range g.Levels {
				for y := range f.Levels {
					// With two levels, the effect of the first is minus that of the second.
					if x == 0 && len(g.Levels) == 2 || y == 0 && count == 2 {
						continue
					}
					add(Effect{Kind: Interaction, Factors: []string{g.Name, f.Name}, Levels: []string{g.Levels[x], f.Levels[y]}},
						stats.Interaction(levels[j], levels[i], x, len(g.Levels), y, count), nil, 0)
				}
			}
		}
	}
	b.t.Notes = b.t.Notes[:notes] // the rows have the notes on missing results
	return out
}

// contrast estimates a contrast of rows, shown at the mean of bases.
func (b *builder) contrast(m Metric, rows []int, c stats.Contrast, bases []*grouped) (measured, bool) {
	var terms []term
	for k, i := range rows {
		terms = append(terms, term{b.rows[i], c[k]})
	}
	return b.measure(m, terms, bases)
}

// monotone reports whether all steps along an axis are significant and have the same sign.
func (b *builder) monotone(m Metric, rows []int, levels []int, count int) bool {
	up, down := 0., 0. // the largest one-sided p value of all steps
	for l := range count - 1 {
		d, ok := b.contrast(m, rows, stats.Step(levels, l, l+1), nil)
		if !ok || !d.tested() {
			return false
		}
		up, down = max(up, d.Above(0)), max(down, d.Below(0))
	}
	return min(up, down) < alpha
}

// correctEffects tests the effects of an arm and corrects those on primary metrics as one
// family.
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
