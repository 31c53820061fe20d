package compare

import (
	"encoding/binary"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Curve is a metric of a stage over the stage's steps: of each step the mean over the
// row's seeds and its 95% interval, which holds over the looks of the study and for one step
// by itself.
type Curve struct {
	Row       int    // of the table; the first of those that share the curve
	Objective string // what the stage minimizes; the losses of two objectives are not comparable
	Steps     []Step
}

// Step is a point of a curve.
type Step struct {
	At   int64
	Mean float64
	// Low and High are the interval's, from three independent seeds on; with fewer they are
	// the least and the greatest seed's.
	Low, High float64
	Interval  bool
}

// objectives are the parameters that decide what a stage minimizes.
var objectives = map[string]string{"reward": "reward.loss", "finetune": "finetune.method"}

// Curves are those of a metric of a stage in curves.arrow. Rows that repeat another's
// trials, or share a curve with an earlier row, have none. A curve whose values are all
// positive is averaged on the log scale, so that no interval goes below 0.
func Curves(t *Table, trials, curves *table.Table, stage, metric string) []Curve {
	values := map[string]map[int64]float64{}
	trial, step, value := curves.Column("trial"), curves.Column("step"), curves.Column("value")
	kind, name := curves.Column("stage"), curves.Column("metric")
	for i := range curves.Rows() {
		if x := value.Floats[i]; kind.Strings[i] == stage && name.Strings[i] == metric && !math.IsNaN(x) && !math.IsInf(x, 0) {
			if values[trial.Strings[i]] == nil {
				values[trial.Strings[i]] = map[int64]float64{}
			}
			values[trial.Strings[i]][step.Ints[i]] = x
		}
	}
	objective, looks := objectiveOf(trials, objectives[stage]), stats.NewLooks(t.Looks)
	var out []Curve
	seen := map[string]bool{}
	for i, r := range t.Rows {
		if r.SameAs != "" {
			continue
		}
		c := Curve{Row: i}
		byStep := map[int64][]float64{}
		seeds := map[int64][]stats.Seed{}
		scale := stats.Log
		for k, id := range r.Trials {
			for at, x := range values[id] {
				byStep[at], seeds[at] = append(byStep[at], x), append(seeds[at], r.Seed(k))
				if !stats.Log.Fits(x) {
					scale = stats.Identity
				}
			}
			if values[id] != nil && c.Objective == "" {
				c.Objective = objective[id]
			}
		}
		var bits []byte
		for _, at := range sorted(byStep) {
			s := stepOf(scale, looks, 0, seeds[at], byStep[at])
			s.At = at
			c.Steps = append(c.Steps, s)
			bits = binary.BigEndian.AppendUint64(bits, math.Float64bits(s.Mean))
		}
		if key := string(bits); len(c.Steps) > 0 && !seen[key] {
			seen[key] = true
			out = append(out, c)
		}
	}
	return out
}

// Over is the mean of the values, proxy or gold, of a point of the course over its seeds: on
// the logit scale where they are shares.
func (c Course) Over(p Passage, values []float64) Step {
	scale := stats.Logit
	if !scale.Fits(values...) {
		scale = stats.Identity
	}
	s := stepOf(scale, stats.NewLooks(c.Looks), p.Images, p.Seeds, values)
	s.At = p.At
	return s
}

// stepOf is the mean over seeds of values of n samples each; 0 is an unknown number.
func stepOf(scale stats.Scale, looks *stats.Looks, n int, seeds []stats.Seed, values []float64) Step {
	y := make([]float64, len(values))
	for i, x := range values {
		y[i] = scale.To(x, n)
	}
	s := Step{Mean: scale.From(stat.Mean(y, nil), n), Low: slices.Min(values), High: slices.Max(values)}
	if e, ok := stats.OverSeeds(seeds, y); ok && e.SD > 0 {
		e.Looks = looks
		i := e.Interval(Level)
		s.Low, s.High, s.Interval = scale.From(i.Low, n), scale.From(i.High, n), true
	}
	return s
}

// objectiveOf has the value of a parameter of each trial; nothing where trials lack it.
func objectiveOf(trials *table.Table, parameter string) map[string]string {
	out := map[string]string{}
	if trials == nil {
		return out
	}
	id, c := trials.Column("trial"), trials.Column(parameter)
	if id == nil || c == nil || c.Kind != table.String {
		return out
	}
	for i, trial := range id.Strings {
		if c.Has(i) {
			out[trial] = c.Strings[i]
		}
	}
	return out
}
