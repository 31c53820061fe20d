package compare

import (
	"encoding/binary"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Curve is a learning curve: a metric of a stage at each of the stage's steps, as the mean over
// the row's seeds with a 95% interval. An interval is for one step alone; in a sequential study
// it is valid at all interim analyses together.
type Curve struct {
	Row       int    // index of the row in the table; the first where several rows share the curve
	Objective string // name of the objective of the stage; losses of different objectives are not comparable
	Steps     []Step
}

// Step is a point of a curve.
type Step struct {
	At   int64
	Mean float64
	// Low and High are the ends of the interval, if there are three or more independent seeds;
	// otherwise the smallest and largest value of a seed.
	Low, High float64
	Interval  bool
}

// objectives are, by stage, the parameters that name its objective.
var objectives = map[string]string{"reward": "reward.loss", "finetune": "finetune.method"}

// Curves returns the curves of a metric of a stage in curves.arrow, one a row. Rows that repeat
// another row's trials or have the same curve as an earlier row have none. A curve whose values
// are all positive is averaged on the log scale, so that intervals stay above 0.
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

// Over returns the mean over seeds of values, the proxy or gold of a point p of the course,
// with its interval. Values in [0, 1] are averaged on the logit scale.
func (c Course) Over(p Passage, values []float64) Step {
	scale := stats.Logit
	if !scale.Fits(values...) {
		scale = stats.Identity
	}
	s := stepOf(scale, stats.NewLooks(c.Looks), p.Images, p.Seeds, values)
	s.At = p.At
	return s
}

// stepOf returns the mean over seeds of values, each of n samples (0: unknown), with its
// interval.
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

// objectiveOf returns the value of a parameter by trial; trials without it are absent.
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
