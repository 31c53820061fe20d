package gate

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Tolerance is the margin by which a metric may be worse; the margin is 0 where Absolute and
// Relative are nil.
type Tolerance struct {
	Metric             string
	Absolute, Relative *float64 // in the metric's units, or as a fraction of the baseline's value
	Seeds              int      // with fewer seeds a value is at most inconclusive, never a regression
}

// Options are the choices of a check.
type Options struct {
	Tolerances   []Tolerance
	Only         []string // arms to check, or labels of rows; empty: all
	Seeds        []string // seeds to check; empty: all
	AllowRemoved bool     // rows and seeds that the study no longer has are not a regression
	Study        string   // name of the study of the table
	Made         Made     // origin of the table
	Looks        []int    // numbers of seeds at the interim analyses of a sequential study; nil where the number of seeds is fixed
}

// Verdict is the result of a check of one value.
type Verdict string

// The verdicts.
const (
	Missing      Verdict = "missing"             // a selected trial has no result
	Absent       Verdict = "not in the baseline" // the study guards the metric, and the baseline has the row but not the metric
	Regression   Verdict = "regression"          // worse by significantly more than the margin
	Incomparable Verdict = "not comparable"      // the value depends on the number of samples, which is not that of the baseline, or the gold is of another kind
	Inconclusive Verdict = "inconclusive"        // worse by more than the margin, but too few seeds to decide
	Removed      Verdict = "removed"             // the study no longer has the row, or a seed of it
	Within       Verdict = "within"              // not worse by significantly more than the margin
	Identical    Verdict = "identical"           // all seeds have the same value
	Added        Verdict = "added"               // the row is not in the baseline
	Unchecked    Verdict = "not checked"         // the row or its seeds are not selected
)

// Verdicts are all verdicts in the order of a report, the worst first.
var Verdicts = []Verdict{Missing, Absent, Regression, Incomparable, Removed, Inconclusive, Within, Identical, Added, Unchecked}

// compared reports whether both tables have the value.
func (v Verdict) compared() bool {
	return slices.Contains([]Verdict{Regression, Incomparable, Inconclusive, Within, Identical}, v)
}

// Value is a metric of a row compared with the baseline.
type Value struct {
	Arm      string  `json:"arm"`
	Row      string  `json:"row"` // label
	Metric   string  `json:"metric,omitempty"`
	Verdict  Verdict `json:"verdict"`
	Baseline float64 `json:"baseline"` // mean over the common seeds
	Now      float64 `json:"now"`      // mean over the common seeds
	Worse    float64 `json:"worse"`    // by how much the value is worse; negative where it is better
	Margin   float64 `json:"margin"`   // by how much the value may be worse
	// P is the one-sided p value of the hypothesis that the value is worse by no more than its
	// margin, corrected by Holm over all values that differ. Bound is the lower confidence
	// bound of Worse at the level of that correction. Both are absent where the standard
	// deviation over seeds is unknown.
	P      *float64 `json:"p,omitempty"`
	Bound  *float64 `json:"bound,omitempty"`
	N      int      `json:"n"` // number of independent seeds that both tables have
	Pairs  []Pair   `json:"pairs,omitempty"`
	Reason string   `json:"reason,omitempty"` // of the verdict, as a sentence
	Digits int      `json:"-"`                // decimals of the metric's values; 0 stands for 3

	test test
}

// Pair has the values of one seed in the baseline and now.
type Pair struct {
	Seed     string  `json:"seed"`
	Trial    string  `json:"trial"`    // id of the trial in the baseline
	Now      string  `json:"trialNow"` // id of the trial now
	Baseline float64 `json:"baseline"`
	Value    float64 `json:"value"` // now
}

// Result is the result of a check.
type Result struct {
	Study        string   `json:"study"`
	Values       []Value  `json:"values"`                 // in the order of their verdicts, the worst first
	Added        []string `json:"added,omitempty"`        // labels of rows that the baseline lacks
	Removed      []string `json:"removed,omitempty"`      // labels of rows that only the baseline has
	Changed      []string `json:"changed,omitempty"`      // labels of rows whose trials differ from those of the baseline
	Notes        []string `json:"notes,omitempty"`        // caveats on the whole check, as sentences
	AllowRemoved bool     `json:"allowRemoved,omitempty"` // removed rows are not a regression
	// Outcome is missing (also where the baseline lacks a metric that the study guards, and
	// where nothing was compared), regression, not comparable, inconclusive or within.
	Outcome Verdict `json:"outcome"`
}

// Counts returns the number of values by verdict.
func (r *Result) Counts() map[Verdict]int {
	n := map[Verdict]int{}
	for _, v := range r.Values {
		n[v.Verdict]++
	}
	return n
}

// Compared returns the number of values that both tables have.
func (r *Result) Compared() (n int) {
	for _, v := range r.Values {
		if v.Verdict.compared() {
			n++
		}
	}
	return n
}

// Check compares a table with a baseline.
//
// The worsening of a value is the mean, over the seeds that both tables have, of its
// differences from the baseline; equal seeds draw the same prompts and noise. With three or
// more seeds it is tested by a one-sided paired t test, whose standard deviation is moderated
// over the rows of the metric (stats.Moderate). With one or two seeds it is tested as the
// difference of independent samples, with the standard deviation over seeds of the baseline.
// The hypothesis is that the value is worse by no more than its margin. The tests of all values
// that differ are corrected by Holm: a value is a regression where its corrected p is below 5%,
// and inconclusive where it is below 10%. Where the standard deviation over seeds is unknown, a
// value that is worse by more than a declared margin is a regression, and one that is worse
// without a declared margin is inconclusive.
//
// Check returns an error where the baseline is of another study, has another better direction
// for a metric, or Only or Seeds name something that neither table has.
func Check(b *Baseline, t *compare.Table, o Options) (*Result, error) {
	if o.Study != "" && b.Study != o.Study {
		return nil, fmt.Errorf("the baseline is of the study %s and not of %s: give the baseline of this study, or write one with 'ablate baseline'", b.Study, o.Study)
	}
	better := map[string]string{}
	for _, m := range t.Metrics {
		better[m.Name] = m.Better
	}
	for _, r := range b.Rows {
		for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
			if now := better[name]; now != "" && now != r.Metrics[name].Better {
				return nil, fmt.Errorf("row %q, metric %s: %s is better in the baseline, and %s in the study: write the baseline again with 'ablate baseline'",
					r.Row, name, r.Metrics[name].Better, now)
			}
		}
	}
	c := &checker{o: o, r: &Result{Study: b.Study, AllowRemoved: o.AllowRemoved}, rows: map[string]compare.Row{}, metrics: map[string]compare.Metric{}}
	for _, m := range t.Metrics {
		c.metrics[m.Name] = m
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
			return nil, fmt.Errorf("neither the study nor its baseline has an arm or row %q", a)
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
	slices.SortStableFunc(c.r.Values, func(x, y Value) int {
		return cmp.Or(cmp.Compare(slices.Index(Verdicts, x.Verdict), slices.Index(Verdicts, y.Verdict)), cmp.Compare(y.Worse-y.Margin, x.Worse-x.Margin))
	})
	return c.r, nil
}

type checker struct {
	o       Options
	r       *Result
	rows    map[string]compare.Row
	metrics map[string]compare.Metric
}

func (c *checker) selected(arm, label string) bool {
	return len(c.o.Only) == 0 || slices.Contains(c.o.Only, arm) || slices.Contains(c.o.Only, label)
}

func (c *checker) seed(s string) bool { return len(c.o.Seeds) == 0 || slices.Contains(c.o.Seeds, s) }

// ran reports whether a row has a value of a guarded metric for a seed.
func (c *checker) ran(r compare.Row, seed string) bool {
	return slices.ContainsFunc(c.o.Tolerances, func(tol Tolerance) bool {
		_, ok := r.Cells[tol.Metric].Of(seed)
		return ok
	})
}

// metric compares one metric in every row with the baseline.
func (c *checker) metric(b *Baseline, tol Tolerance) {
	from := len(c.r.Values)
	same := map[string]int{} // by trials, the first value that has them: equal trials are tested once
	var absent []Value
	for _, r := range b.Rows {
		then, guarded := r.Metrics[tol.Metric]
		now, exists := c.rows[r.Row]
		if !exists || !c.selected(r.Arm, r.Row) {
			continue
		}
		if !guarded {
			if _, ok := now.Cells[tol.Metric]; ok {
				absent = append(absent, Value{Arm: r.Arm, Row: r.Row, Metric: tol.Metric, Verdict: Absent,
					Reason: "the study guards this metric and the baseline does not have it: write the baseline again with 'ablate baseline'"})
			}
			continue
		}
		if now.Stopped != nil {
			c.r.Values = append(c.r.Values, Value{Arm: r.Arm, Row: r.Row, Metric: tol.Metric, Verdict: Inconclusive,
				Reason: fmt.Sprintf("the row was stopped after step %d (halving), so that it has no value; the baseline has one", now.Stopped.Step)})
			continue
		}
		v := c.pair(r, then, now, tol)
		if v.Verdict == Within {
			key := ""
			for _, p := range v.Pairs {
				key += " " + p.Trial + " " + p.Now
			}
			first, ok := same[key]
			if !ok {
				first = len(c.r.Values)
				same[key] = first
			}
			v.test.first = first
		}
		c.r.Values = append(c.r.Values, v)
	}
	c.spread(b, tol, c.r.Values[from:])
	c.r.Values = append(c.r.Values, absent...)
}

// golds has what a gold gives, by whether the range of its metric is a mean.
var golds = map[bool]string{true: "numbers", false: "verdicts"}

// pair compares a row's seeds with those of the baseline. Its verdict is preliminary: within,
// if there is something to test.
func (c *checker) pair(r BaselineRow, then BaselineCell, now compare.Row, tol Tolerance) Value {
	v := Value{Arm: r.Arm, Row: r.Row, Metric: tol.Metric, Verdict: Within, Digits: c.metrics[tol.Metric].Digits}
	numbers := c.metrics[tol.Metric].Range == table.Mean
	v.test = test{scale: c.metrics[tol.Metric].Scale(), samples: then.Images, mean: numbers, sign: 1}
	if then.Better == "higher" {
		v.test.sign = -1
	}
	cell := now.Cells[tol.Metric]
	seeds, values, err := then.values()
	if err != nil {
		return v // Read has checked it
	}
	var missing []string
	for i, s := range seeds {
		name := compare.SeedName(s)
		at := slices.Index(now.Seeds, name)
		if !c.seed(name) || at < 0 {
			continue // the seed is not selected, or the study has dropped it, which the method whole reports
		}
		value, ok := cell.Of(name)
		if !ok {
			missing = append(missing, name)
			continue
		}
		v.Pairs = append(v.Pairs, Pair{name, r.Trials[name], now.Trials[at], values[i], value})
		v.test.seeds = append(v.test.seeds, s)
	}
	for _, name := range now.Seeds { // a seed that the baseline lacks must have a result too
		if _, known := then.Seeds[name]; known || !c.seed(name) {
			continue
		}
		if c.ran(now, name) {
			c.note(fmt.Sprintf("Seed %s is not in the baseline of every row, and is not checked in rows without it.", name))
		} else {
			missing = append(missing, name)
		}
	}
	depends := c.metrics[tol.Metric].Depends == "n"
	if depends && then.Images == 0 && slices.ContainsFunc(v.Pairs, func(p Pair) bool { return p.Trial != p.Now }) {
		c.note("This baseline does not record sample counts, so metrics that depend on them cannot be checked for equal counts. Write it again with 'ablate baseline'.")
	}
	v.N = stats.Independent(v.test.seeds)
	switch {
	case missing != nil:
		v.Verdict, v.Reason = Missing, "no result for seed "+strings.Join(missing, " ")
	case len(v.Pairs) == 0:
		v.Verdict, v.Reason = Unchecked, "no selected seed"
	default:
		v.Baseline, v.Now = v.test.means(v.Pairs)
		if depends && then.Images > 0 && cell.Images != then.Images {
			v.Verdict = Incomparable
			v.Reason = fmt.Sprintf("%d samples now, %d in the baseline: write the baseline again with 'ablate baseline'", cell.Images, then.Images)
			return v
		}
		if before := then.Range == table.Mean; before != numbers {
			v.Verdict = Incomparable
			who := "the gold"
			if judge, ok := strings.CutPrefix(tol.Metric, "judge."); ok {
				who = "judge " + judge
			}
			v.Reason = fmt.Sprintf("%s gives %s now, and gave %s in the baseline: write the baseline again with 'ablate baseline'", who, golds[numbers], golds[before])
			return v
		}
		if !slices.ContainsFunc(v.Pairs, func(p Pair) bool { return p.Baseline != p.Value }) {
			v.Verdict = Identical
		}
		v.Worse = v.test.sign * (v.Now - v.Baseline)
		v.test.declared = tol.Absolute != nil || tol.Relative != nil
		switch {
		case tol.Absolute != nil:
			v.Margin = *tol.Absolute
		case tol.Relative != nil:
			v.Margin = *tol.Relative * math.Abs(v.Baseline)
		}
	}
	return v
}
