package compare

import (
	"cmp"
	"fmt"
	"regexp"
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
}

// Factor is an axis, or several that are coupled ("a+b"), with its levels in
// order: of size where they are numbers, else as written.
type Factor struct {
	Name   string   `json:"name"`
	Levels []string `json:"levels"`
	number bool
}

// The kinds of effects.
const (
	Main        = "main"        // a level against the mean of all levels
	Interaction = "interaction" // a pair of levels against what their main effects add up to
	Trend       = "trend"       // the change across the axis, linear in the order of its levels
)

// Effect is a contrast of an arm's points, taken seed by seed.
type Effect struct {
	Kind    string   `json:"kind"`
	Metric  string   `json:"metric"`
	Factors []string `json:"factors"`
	Levels  []string `json:"levels,omitempty"`
	Cell
	P         float64 `json:"p,omitempty"` // corrected by Holm over the effects of this kind on this metric
	Corrected *Bounds `json:"corrected,omitempty"`
	Resolved  bool    `json:"resolved,omitempty"`
	Monotone  bool    `json:"monotone,omitempty"` // of a trend: the means only rise or only fall
}

var axisName = regexp.MustCompile(`[\[,]([A-Za-z][A-Za-z0-9.]*)=`)

// sweeps finds the effects of every arm with more than one point.
func (b *builder) sweeps() {
	byArm := map[string][]int{}
	var order []string
	for i, r := range b.t.Rows {
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
	for _, m := range axisName.FindAllStringSubmatch(b.t.Rows[rows[0]].Label, -1) {
		f, at, ok := b.factor(m[1], rows)
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
			continue
		}
		s.Factors, levels = append(s.Factors, f), append(levels, at)
	}
	if len(levels) == 1 {
		slices.SortStableFunc(s.Rows, func(i, j int) int {
			return cmp.Compare(levels[0][slices.Index(rows, i)], levels[0][slices.Index(rows, j)])
		})
	}
	points := 1
	for _, f := range s.Factors {
		points *= len(f.Levels)
	}
	if points != len(rows) || len(s.Factors) == 0 {
		s.Note = "effects are taken over complete sweeps: some points are left out here, or two of them are one trial"
		return s
	}
	for _, m := range b.t.Metrics {
		s.Effects = append(s.Effects, b.effects(m, rows, s.Factors, levels)...)
	}
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
		slices.SortStableFunc(distinct, func(x, y any) int {
			a, b := number(x), number(y)
			switch {
			case a < b:
				return -1
			case a > b:
				return 1
			}
			return 0
		})
	}
	at := make([]int, len(rows))
	for k, v := range values {
		at[k] = slices.Index(distinct, v)
	}
	for _, v := range distinct {
		if v == nil {
			v = "unused"
		}
		f.Levels = append(f.Levels, fmt.Sprint(v))
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
	var seeds []stats.Seed
	var names []string
	var cells [][]float64 // by seed, of each row
	col := b.columns[m.Name]
	for _, v := range b.rows[rows[0]].views {
		seed := b.seed(v)
		line := make([]float64, 0, len(rows))
		for _, i := range rows {
			for _, w := range b.rows[i].views {
				if b.seed(w) == seed && col.Has(w) {
					line = append(line, col.Floats[w])
				}
			}
		}
		if len(line) == len(rows) {
			seeds, names, cells = append(seeds, seed), append(names, SeedName(seed)), append(cells, line)
		}
	}
	if len(seeds) == 0 {
		return nil
	}
	for _, i := range rows[1:] {
		if mine, theirs, differ := b.counts(m, b.rows[i].views, b.rows[rows[0]].views); differ {
			b.unequal(mine, theirs)
			return nil
		}
	}
	var out []Effect
	add := func(e Effect, c stats.Contrast) {
		e.Metric, e.Seeds, e.N = m.Name, names, stats.Independent(seeds)
		for _, line := range cells {
			e.Values = append(e.Values, c.Of(line))
		}
		e.Mean = stats.Mean(e.Values)
		e.Low, e.High = e.Mean, e.Mean
		if est, ok := stats.OverSeeds(seeds, e.Values, nil); ok && est.Error > 0 {
			i := est.Interval(level)
			e.Low, e.High, e.Interval, e.estimate = i.Low, i.High, OverSeeds, est
		}
		out = append(out, e)
	}
	means := make([]float64, len(rows))
	for i := range means {
		for _, line := range cells {
			means[i] += line[i] / float64(len(cells))
		}
	}
	for i, f := range factors {
		for l := range f.Levels {
			add(Effect{Kind: Main, Factors: []string{f.Name}, Levels: []string{f.Levels[l]}}, stats.MainEffect(levels[i], l, len(f.Levels)))
		}
		if f.number && len(f.Levels) > 2 {
			byLevel := make([]float64, len(f.Levels))
			for k, l := range levels[i] {
				byLevel[l] += means[k]
			}
			add(Effect{Kind: Trend, Factors: []string{f.Name}, Monotone: stats.Monotone(byLevel)}, stats.Trend(levels[i], len(f.Levels)))
		}
		for j := range i {
			g := factors[j]
			for x := range g.Levels {
				for y := range f.Levels {
					add(Effect{Kind: Interaction, Factors: []string{g.Name, f.Name}, Levels: []string{g.Levels[x], f.Levels[y]}},
						stats.Interaction(levels[j], levels[i], x, len(g.Levels), y, len(f.Levels)))
				}
			}
		}
	}
	for _, kind := range []string{Main, Interaction, Trend} {
		var family []int
		var p []float64
		for i, e := range out {
			if e.Kind == kind && e.Interval == OverSeeds {
				family, p = append(family, i), append(p, e.estimate.Differs(0))
			}
		}
		for k, c := range stats.Holm(p, 1-level) {
			e := &out[family[k]]
			i := e.estimate.Interval(c.Level)
			e.P, e.Corrected, e.Resolved = c.P, &Bounds{i.Low, i.High}, i.Excludes(0)
		}
	}
	return out
}
