package gate

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
)

// Tolerance is by how much a metric may be worse. Where both sizes are nil it is
// the noise of the baseline's seeds.
type Tolerance struct {
	Metric             string
	Absolute, Relative *float64
	Seeds              int // the least number of seeds that a regression is called with
}

// Options of a check.
type Options struct {
	Tolerances   []Tolerance
	Only         []string // arms to check, or rows by their labels; all where empty
	Seeds        []string // seeds to check; all where empty
	AllowRemoved bool
	Study        string // whose table is checked
	Made         Made   // of that table
}

// Verdict is what a check says of one figure.
type Verdict string

// The verdicts, the worst first.
const (
	Missing      Verdict = "missing"             // a selected trial has no result
	Absent       Verdict = "not in the baseline" // the study guards it, and it is no new row
	Regression   Verdict = "regression"
	Incomparable Verdict = "not comparable" // it stands on another number of samples, on which it depends
	Inconclusive Verdict = "inconclusive"   // worse beyond tolerance, and too few seeds to say
	Removed      Verdict = "removed"        // the study has no such row, or seed of it, any more
	Within       Verdict = "within"         // its tolerance
	Identical    Verdict = "identical"
	Added        Verdict = "added"       // the baseline has no such row
	Unchecked    Verdict = "not checked" // not selected
)

// Verdicts are all of them, in that order.
var Verdicts = []Verdict{Missing, Absent, Regression, Incomparable, Removed, Inconclusive, Within, Identical, Added, Unchecked}

// Figure is one figure of one row held against its baseline. Worse is by how
// much it is worse, negative where it is better.
type Figure struct {
	Arm       string  `json:"arm"`
	Row       string  `json:"row"`
	Metric    string  `json:"metric,omitempty"`
	Verdict   Verdict `json:"verdict"`
	Baseline  float64 `json:"baseline"`
	Now       float64 `json:"now"`
	Worse     float64 `json:"worse"`
	Tolerance float64 `json:"tolerance"`
	// Bound is the lower one-sided bound of Worse, corrected by Holm over the
	// figures that are worse beyond their tolerance; absent where none is beyond
	// or no spread is known.
	Bound  *float64 `json:"bound,omitempty"`
	N      int      `json:"n"` // independent seeds that both have
	Pairs  []Pair   `json:"pairs,omitempty"`
	Reason string   `json:"reason,omitempty"`

	p, error, freedom, sign float64
	tested                  bool // its spread is known
	few                     bool // the baseline has fewer than three seeds
	first                   int  // where p is NaN: which figure is of the same trials
}

// Pair is one seed then and now.
type Pair struct {
	Seed     string  `json:"seed"`
	Trial    string  `json:"trial"` // of the baseline
	Now      string  `json:"trialNow"`
	Baseline float64 `json:"baseline"`
	Value    float64 `json:"value"`
}

// Result is a whole check.
type Result struct {
	Study        string   `json:"study"`
	Figures      []Figure `json:"figures"` // the worst first
	Added        []string `json:"added,omitempty"`
	Removed      []string `json:"removed,omitempty"`
	Changed      []string `json:"changed,omitempty"` // rows whose trials are not those of the baseline
	Notes        []string `json:"notes,omitempty"`
	AllowRemoved bool     `json:"allowRemoved,omitempty"` // what was removed is no regression
	// Outcome is Missing (also where the baseline lacks what the study guards, and
	// where nothing was compared), Regression, Incomparable, Inconclusive or Within.
	Outcome Verdict `json:"outcome"`
}

// Counts of the figures by verdict.
func (r *Result) Counts() map[Verdict]int {
	n := map[Verdict]int{}
	for _, f := range r.Figures {
		n[f.Verdict]++
	}
	return n
}

// Compared is the number of values that both have.
func (r *Result) Compared() int {
	n := r.Counts()
	return n[Regression] + n[Incomparable] + n[Inconclusive] + n[Within] + n[Identical]
}

const (
	alpha = .05
	// beyond is the share of checks of an unchanged study in which the noise of
	// any figure may exceed its tolerance.
	beyond = .075
)

// Check holds a table against a baseline.
//
// A figure's worsening is taken over the seeds that both have. The default
// tolerance, noise, is the half-width of the baseline's interval for the
// difference of two independent draws of as many seeds: 95%, or wider, so that
// of all figures of an unchanged study together any exceeds it in fewer than a
// tenth of checks (Bonferroni). The spread over seeds is moderated over the
// rows of a metric (stats.Moderate), for three seeds alone hardly know it.
//
// What is worse beyond its tolerance is a regression where the seeds say that
// the true worsening exceeds it, by a one-sided test of the paired differences.
// The tests of figures within their tolerance have p values above one half,
// and those of an unchanged study are uniformly conservative there: they are
// discarded, and the others, doubled, corrected by Holm (Zhao, Small & Su 2019).
func Check(b *Baseline, t *compare.Table, o Options) (*Result, error) {
	if o.Study != "" && studyOf(b.Study) != studyOf(o.Study) {
		return nil, fmt.Errorf("the baseline is of the study %s and not of %s: give that of this study, or write one with 'ablate baseline'", b.Study, o.Study)
	}
	better := map[string]string{}
	for _, m := range t.Metrics {
		better[m.Name] = m.Better
	}
	for _, r := range b.Rows {
		for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
			if now := better[name]; now != "" && now != r.Metrics[name].Better {
				return nil, fmt.Errorf("the baseline has row %q, metric %s as better where it is %s, and the study where it is %s: write the baseline again with 'ablate baseline'",
					r.Row, name, r.Metrics[name].Better, now)
			}
		}
	}
	c := &checker{o: o, r: &Result{Study: b.Study, AllowRemoved: o.AllowRemoved}, rows: map[string]compare.Row{}, depends: map[string]bool{}}
	for _, m := range t.Metrics {
		c.depends[m.Name] = m.Depends == "n"
	}
	arms, seeds := map[string]bool{}, map[string]bool{}
	for _, r := range t.Rows {
		c.rows[r.Label] = r
		arms[r.Arm], arms[r.Label] = true, true
		for _, s := range r.Seeds {
			seeds[s] = true
		}
	}
	for _, r := range b.Rows {
		arms[r.Arm], arms[r.Row] = true, true
		for s := range r.Trials {
			seeds[s] = true
		}
	}
	for _, a := range o.Only {
		if !arms[a] {
			return nil, fmt.Errorf("neither the study nor its baseline has an arm or a row %q", a)
		}
	}
	for _, s := range o.Seeds {
		if !seeds[s] {
			return nil, fmt.Errorf("neither the study nor its baseline has a seed %s", s)
		}
	}
	for _, tol := range o.Tolerances {
		c.metric(b, tol)
	}
	c.whole(b, t)
	c.decide()
	c.notes(b)
	slices.SortStableFunc(c.r.Figures, func(x, y Figure) int {
		return cmp.Or(cmp.Compare(slices.Index(Verdicts, x.Verdict), slices.Index(Verdicts, y.Verdict)), cmp.Compare(y.Worse-y.Tolerance, x.Worse-x.Tolerance))
	})
	return c.r, nil
}

var hash = regexp.MustCompile(`@[0-9a-f]{8}$`)

// studyOf is a study's name without the hash of what --set changes.
func studyOf(name string) string { return hash.ReplaceAllString(name, "") }

type checker struct {
	o    Options
	r    *Result
	rows map[string]compare.Row
	// depends are the metrics whose values change with the number of samples.
	depends map[string]bool
}

func (c *checker) selected(arm, label string) bool {
	return len(c.o.Only) == 0 || slices.Contains(c.o.Only, arm) || slices.Contains(c.o.Only, label)
}

func (c *checker) seed(s string) bool { return len(c.o.Seeds) == 0 || slices.Contains(c.o.Seeds, s) }

// ran reports whether a row has any guarded figure of a seed.
func (c *checker) ran(r compare.Row, seed string) bool {
	return slices.ContainsFunc(c.o.Tolerances, func(tol Tolerance) bool {
		_, ok := r.Cells[tol.Metric].Of(seed)
		return ok
	})
}

// metric holds one metric of every row against the baseline.
func (c *checker) metric(b *Baseline, tol Tolerance) {
	from := len(c.r.Figures)
	spreads := b.spreads(tol.Metric)
	var spread, freedom []float64 // of the baseline's seeds
	var paired, degrees []float64 // of the differences
	var prompts []float64         // error over prompts of one draw
	var cells []BaselineCell
	seen := map[string]int{} // figures of the same trials
	var repeated []int
	var bare []Figure // that the baseline lacks
	for _, r := range b.Rows {
		cell, guarded := r.Metrics[tol.Metric]
		now, exists := c.rows[r.Row]
		if !exists || !c.selected(r.Arm, r.Row) {
			continue
		}
		f := Figure{Arm: r.Arm, Row: r.Row, Metric: tol.Metric, sign: 1}
		if !guarded {
			if _, ok := now.Cells[tol.Metric]; ok {
				f.Verdict, f.Reason = Absent, "the study guards it and the baseline does not have it: write the baseline again with 'ablate baseline'"
				bare = append(bare, f)
			}
			continue
		}
		if cell.Better == "higher" {
			f.sign = -1
		}
		seeds, values, err := cell.values()
		if err != nil {
			continue // Read has checked it
		}
		var shared []stats.Seed
		var differences []float64
		key, missing := tol.Metric, ""
		for i, s := range seeds {
			name := compare.SeedName(s)
			at := slices.Index(now.Seeds, name)
			if !c.seed(name) || at < 0 {
				continue // not selected; or the study has dropped it, which whole finds
			}
			value, ok := now.Cells[tol.Metric].Of(name)
			if !ok {
				missing += " " + name
				continue
			}
			f.Pairs = append(f.Pairs, Pair{name, r.Trials[name], now.Trials[at], values[i], value})
			shared, differences = append(shared, s), append(differences, f.sign*(value-values[i]))
			f.Baseline += values[i]
			f.Now += value
			key += " " + r.Trials[name] + " " + now.Trials[at]
		}
		for _, name := range now.Seeds { // a seed that the study has and the baseline lacks must have run too
			if _, known := cell.Seeds[name]; known || !c.seed(name) {
				continue
			}
			if c.ran(now, name) {
				c.note(fmt.Sprintf("Seed %s is not in the baseline of every row: it is not checked there.", name))
			} else {
				missing += " " + name
			}
		}
		if c.depends[tol.Metric] && cell.Images == 0 && slices.ContainsFunc(f.Pairs, func(p Pair) bool { return p.Trial != p.Now }) {
			c.note("The baseline was made before it kept numbers of samples: that figures which depend on them stand on the same is not checked where trials have changed. 'ablate baseline' makes it anew.")
		}
		n := float64(len(shared))
		f.N, f.few = stats.Independent(shared), cell.N < 3
		f.Baseline, f.Now, f.Worse = f.Baseline/n, f.Now/n, stats.Mean(differences)
		switch {
		case missing != "":
			f.Verdict, f.Reason = Missing, "no result for seed"+missing
		case n == 0:
			f.Verdict, f.Reason = Unchecked, "no selected seed"
		case c.depends[tol.Metric] && cell.Images > 0 && now.Cells[tol.Metric].Images != cell.Images:
			f.Verdict, f.Worse = Incomparable, 0
			f.Reason = fmt.Sprintf("it stands on %d samples and its baseline on %d, and its value changes with that: make the baseline anew", now.Cells[tol.Metric].Images, cell.Images)
		case !slices.ContainsFunc(differences, func(d float64) bool { return d != 0 }):
			f.Verdict = Identical
		default:
			f.Verdict = Within
		}
		if f.Verdict == Missing || f.Verdict == Unchecked {
			f.Baseline, f.Now, f.Worse = 0, 0, 0
		}
		if first, ok := seen[key]; ok && f.Verdict == Within {
			// The same trials in another row: one comparison, counted once.
			repeated = append(repeated, len(c.r.Figures), first)
		} else {
			seen[key] = len(c.r.Figures)
		}
		own := spreads[r.Row]
		spread, freedom = append(spread, own.sd), append(freedom, own.freedom)
		e, ok := stats.OverSeeds(shared, differences, nil)
		switch {
		case ok && f.Verdict != Incomparable:
			paired, degrees = append(paired, e.Error*math.Sqrt(float64(f.N))), append(degrees, e.Freedom)
		default:
			paired, degrees = append(paired, 0), append(degrees, 0)
		}
		prompts = append(prompts, cell.OverPrompts*math.Sqrt(float64(cell.N)))
		cells = append(cells, cell)
		c.r.Figures = append(c.r.Figures, f)
	}
	figures := c.r.Figures[from:]
	family := len(c.o.Tolerances) * len(figures)
	paired, degrees = stats.Moderate(paired, degrees)
	for i := range figures {
		f := &figures[i]
		if f.Verdict != Within {
			continue
		}
		n := float64(max(f.N, 1))
		quantile := func(freedom float64) float64 {
			return distuv.StudentsT{Sigma: 1, Nu: freedom}.Quantile(max(.975, 1-beyond/float64(family)))
		}
		// The error of the difference of two independent draws of n seeds.
		known := false
		switch {
		case cells[i].N < 3 && prompts[i] > 0:
			f.error, f.freedom, known = prompts[i]*math.Sqrt(2/n), 1e6, true
			f.Reason = "spread over prompts, for want of three seeds"
		case freedom[i] >= 2:
			f.error, f.freedom, known = spread[i]*math.Sqrt(2/n), freedom[i], true
			if cells[i].N < 3 {
				f.Reason = "spread of all rows' seeds together, for want of three seeds and of prompts"
			}
		}
		switch {
		case tol.Absolute != nil:
			f.Tolerance = *tol.Absolute
		case tol.Relative != nil:
			f.Tolerance = *tol.Relative * math.Abs(f.Baseline)
		case known:
			f.Tolerance = quantile(f.freedom) * f.error
		default:
			f.Reason = "no spread is known: say absolute or relative in gate"
		}
		if f.N >= 3 && degrees[i] > 0 { // an error of 0 where every seed of every row moved alike
			f.error, f.freedom, known = paired[i]/math.Sqrt(n), degrees[i], true
		}
		if f.Worse <= f.Tolerance {
			continue
		}
		f.Verdict, f.p = Inconclusive, 1
		if f.N < tol.Seeds {
			f.Reason = fmt.Sprintf("%d seeds, and gate asks for %d", f.N, tol.Seeds)
			known = false
		}
		if f.tested = known; known {
			f.p = stats.Estimate{Mean: f.Worse, Error: f.error, Freedom: f.freedom}.Above(f.Tolerance)
		}
	}
	for k := 0; k < len(repeated); k += 2 {
		f, first := &c.r.Figures[repeated[k]], c.r.Figures[repeated[k+1]]
		f.p, f.first = math.NaN(), repeated[k+1] // no hypothesis of its own
		if f.Verdict == Inconclusive {
			f.Reason = "the same trials as " + first.Row
		}
	}
	c.r.Figures = append(c.r.Figures, bare...)
}

// spread is the standard deviation of one independent seed, and its degrees of
// freedom.
type spread struct{ sd, freedom float64 }

// spreads are those of a metric by row, moderated over all rows of the baseline,
// selected or not; rows of the same trials are one.
func (b *Baseline) spreads(metric string) map[string]spread {
	var sd, freedom []float64
	at, of := map[string]int{}, map[string]int{} // by row; by trials
	for _, r := range b.Rows {
		cell, ok := r.Metrics[metric]
		if !ok {
			continue
		}
		seeds, values, err := cell.values()
		if err != nil {
			continue // Read has checked it
		}
		trials := ""
		for _, s := range seeds {
			trials += " " + r.Trials[compare.SeedName(s)]
		}
		i, ok := of[trials]
		if at[r.Row] = i; ok {
			continue
		}
		at[r.Row], of[trials] = len(sd), len(sd)
		e, ok := stats.OverSeeds(seeds, values, nil)
		switch {
		case ok: // crossed seeds: the spread of one independent seed
			sd, freedom = append(sd, e.Error*math.Sqrt(float64(cell.N))), append(freedom, e.Freedom)
		case cell.N == 2:
			sd, freedom = append(sd, math.Sqrt(stats.Variance(values))), append(freedom, 1)
		default:
			sd, freedom = append(sd, 0), append(freedom, 0)
		}
	}
	sd, freedom = stats.Moderate(sd, freedom)
	out := map[string]spread{}
	for row, i := range at {
		out[row] = spread{sd[i], freedom[i]}
	}
	return out
}

// whole finds rows that came, went or changed, and what is not selected.
func (c *checker) whole(b *Baseline, t *compare.Table) {
	for _, r := range b.Rows {
		now, ok := c.rows[r.Row]
		switch {
		case !c.selected(r.Arm, r.Row):
			c.r.Figures = append(c.r.Figures, Figure{Arm: r.Arm, Row: r.Row, Verdict: Unchecked})
		case !ok:
			f := Figure{Arm: r.Arm, Row: r.Row, Verdict: Removed, Reason: "the baseline has it, the study does not"}
			c.r.Removed = append(c.r.Removed, r.Row)
			c.r.Figures = append(c.r.Figures, f)
		default:
			for _, s := range now.Seeds {
				if !c.seed(s) {
					c.note("Seed " + s + " is not selected: it is not checked.")
				}
			}
			for i, s := range now.Seeds {
				if id := r.Trials[s]; id != "" && id != now.Trials[i] {
					c.r.Changed = append(c.r.Changed, r.Row)
					break
				}
			}
			var gone []string
			for _, s := range slices.Sorted(maps.Keys(r.Trials)) {
				if c.seed(s) && !slices.Contains(now.Seeds, s) {
					gone = append(gone, s)
				}
			}
			if gone != nil {
				c.r.Figures = append(c.r.Figures, Figure{Arm: r.Arm, Row: r.Row, Verdict: Removed,
					Reason: fmt.Sprintf("the baseline has seed %s, the study does not", strings.Join(gone, ", "))})
			}
		}
	}
	for _, r := range t.Rows {
		if _, ok := b.index[r.Label]; ok {
			continue
		}
		f := Figure{Arm: r.Arm, Row: r.Label, Verdict: Added}
		c.r.Added = append(c.r.Added, r.Label)
		for _, s := range r.Seeds {
			switch {
			case !c.selected(r.Arm, r.Label):
				f.Verdict = Unchecked
			case c.seed(s) && !c.ran(r, s):
				f.Verdict, f.Reason = Missing, "a new row, and no result for seed "+s
			}
		}
		c.r.Figures = append(c.r.Figures, f)
	}
}

// decide corrects the tests of what is worse beyond its tolerance, and sums up.
func (c *checker) decide() {
	var p []float64
	var at []int
	for i, f := range c.r.Figures {
		if f.Verdict == Inconclusive && !math.IsNaN(f.p) {
			p, at = append(p, min(1, 2*f.p)), append(at, i)
		}
	}
	for k, h := range stats.Holm(p, alpha) {
		f := &c.r.Figures[at[k]]
		if !f.tested {
			continue
		}
		// One-sided at half of what Holm leaves, for p was doubled.
		bound := f.Worse - distuv.StudentsT{Sigma: 1, Nu: f.freedom}.Quantile(1-(1-h.Level)/2)*f.error
		f.Bound = &bound
		if h.P < alpha {
			f.Verdict = Regression
		}
	}
	for i := range c.r.Figures { // rows of the same trials say the same
		f := &c.r.Figures[i]
		if f.Verdict != Inconclusive || !math.IsNaN(f.p) {
			continue
		}
		if o := c.r.Figures[f.first]; o.Verdict == Regression && slices.Equal(o.Pairs, f.Pairs) {
			f.Verdict, f.Bound = Regression, o.Bound
		}
	}
	n := c.r.Counts()
	if c.r.Compared() == 0 {
		c.note(c.nothing())
	}
	switch {
	case n[Missing] > 0, n[Absent] > 0, c.r.Compared() == 0: // a check of nothing must not pass
		c.r.Outcome = Missing
	case n[Regression] > 0, n[Removed] > 0 && !c.o.AllowRemoved:
		c.r.Outcome = Regression
	case n[Incomparable] > 0:
		c.r.Outcome = Incomparable
	case n[Inconclusive] > 0:
		c.r.Outcome = Inconclusive
	default:
		c.r.Outcome = Within
	}
}

// nothing says why no value was compared.
func (c *checker) nothing() string {
	var unselected, seedless int
	n := c.r.Counts()
	for _, f := range c.r.Figures {
		switch {
		case f.Verdict == Unchecked && f.Metric == "":
			unselected++
		case f.Verdict == Unchecked:
			seedless++
		}
	}
	var why []string
	for _, x := range []struct {
		what string
		n    int
	}{
		{"values without a result", n[Missing]}, {"values that the baseline lacks", n[Absent]},
		{"selected rows that are new", n[Added]}, {"selected rows that the study has dropped", len(c.r.Removed)},
		{"values of which no selected seed is in both", seedless}, {"rows that are not selected", unselected},
	} {
		if x.n > 0 {
			why = append(why, fmt.Sprintf("%s: %d", x.what, x.n))
		}
	}
	return fmt.Sprintf("Nothing was compared, for no selected value is in both the study and the baseline (%s). Select others, or write the baseline again with 'ablate baseline'.", strings.Join(why, "; "))
}

func (c *checker) note(s string) {
	if !slices.Contains(c.r.Notes, s) {
		c.r.Notes = append(c.r.Notes, s)
	}
}

// notes say what else a reader must know.
func (c *checker) notes(b *Baseline) {
	if b.Made.Backend != "" && c.o.Made.Backend != "" && b.Made.Backend != c.o.Made.Backend {
		c.note(fmt.Sprintf("The baseline was made with the backend %s, this table with %s: figures differ by more than seeds explain.", b.Made.Backend, c.o.Made.Backend))
	}
	for _, x := range []struct {
		what      string
		then, now []string
	}{{"versions", b.Made.Versions, c.o.Made.Versions}, {"a processor", b.Made.CPUs, c.o.Made.CPUs}} {
		if len(x.then) > 0 && len(x.now) > 0 && !slices.Equal(x.then, x.now) {
			c.note(fmt.Sprintf("The baseline was made with %s that this table was not: %v, now %v. Trained figures are the same bytes only where both agree.", x.what, x.then, x.now))
		}
	}
	for _, f := range c.r.Figures {
		if f.few && f.Verdict != Missing && f.Verdict != Absent && f.Verdict != Unchecked && f.Verdict != Identical && f.Verdict != Incomparable {
			c.note("With fewer than three seeds in the baseline the spread is that over prompts, or of all rows together: another pretraining or other feedback may differ by more.")
		}
	}
}
