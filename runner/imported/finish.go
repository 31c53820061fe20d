package imported

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// finish makes the results from the collected values.
func (c *collector) finish() *Results {
	c.dropSettings()
	c.oneNumberSeeds()
	c.checkArms()
	r := &Results{Categories: map[string]string{}}
	order := c.kept()
	for _, i := range order {
		r.Metrics = append(r.Metrics, c.describe(i))
	}
	c.checkNames(r.Metrics)
	axes := c.sortedAxes(r)
	r.Arms = c.arms()
	c.sortRuns(r.Axes, axes)
	c.missingSeeds()
	c.missingMetrics(order)
	c.missingPictures()
	for _, x := range c.runs {
		out := Run{Arm: x.arm, Seed: x.seed}
		for k, i := range axes {
			out.Axes = append(out.Axes, axisOf(r.Axes[k].Kind, x.axis(i)))
		}
		texts := make([]string, len(x.local)) // prompts by the run's own number
		for i, own := range x.local {
			texts[own] = c.prompts.list[i]
		}
		for _, i := range order {
			out.Values = append(out.Values, x.cell(i).export(texts))
		}
		out.Pictures = c.pictures(x)
		r.Runs = append(r.Runs, out)
	}
	for i, k := range c.category {
		if k.name != "" {
			r.Categories[c.prompts.list[i]] = k.name
		}
	}
	if len(c.runs) == 0 && len(c.problems.list) == 0 {
		c.problem(Unreadable, place{}, "the files contain no run", "one run or more", "check the path and the options")
	}
	if len(c.unused) > 0 {
		c.note("left out by the options: %s", list(slices.Sorted(maps.Keys(c.unused))))
	}
	r.Problems, r.Notes = c.problems.finish(c.files), c.notes
	return r
}

// export converts a cell to a Value.
func (l *cell) export(prompts []string) Value {
	var v Value
	if x, n, ok := l.result(); ok {
		v.Known, v.Value, v.N = true, x, n
	}
	for i, s := range l.samples {
		if s.n > 0 {
			v.Prompts = append(v.Prompts, PromptSum{prompts[i], s.value(), s.n})
		}
	}
	slices.SortFunc(v.Prompts, func(a, b PromptSum) int { return cmp.Compare(a.Prompt, b.Prompt) })
	return v
}

// kept returns the metrics that a run has a value of, sorted by name.
func (c *collector) kept() []int {
	var order []int
	for i, d := range c.declared {
		if !d.dropped && slices.ContainsFunc(c.runs, func(r *run) bool { return r.cell(i).at != (place{}) }) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(c.metrics.list[a], c.metrics.list[b]) })
	for _, name := range c.o.Metrics {
		if i, ok := c.metrics.number[name]; !ok || !slices.Contains(order, i) {
			c.problem(Unreadable, place{}, fmt.Sprintf("no run has the metric %q", name), "metrics of the files, "+list(c.seen()), "correct the name")
		}
	}
	return order
}

// seen returns the names of all metrics of the files.
func (c *collector) seen() []string {
	return slices.Sorted(maps.Keys(maps.Collect(func(yield func(string, bool) bool) {
		for name := range c.unused {
			yield(name, true)
		}
		for _, name := range c.metrics.list {
			yield(name, true)
		}
	})))
}

// describe completes the description of a metric by guesses and checks the values against
// it.
func (c *collector) describe(i int) Metric {
	name := c.metrics.list[i]
	var values []float64
	given := c.o.Describe[name]
	for _, r := range c.runs {
		l := r.cell(i)
		x, _, ok := l.result()
		if !ok {
			continue
		}
		values = append(values, x)
		if given.Range != "" && !given.Range.Has(x) {
			c.problem(OutOfRange, l.at, fmt.Sprintf("%s of %s is %v, and its range is declared as %s", name, c.view(r), x, given.Range),
				map[Range]string{Share: "values from 0 to 1", Positive: "values above 0"}[given.Range], "correct the value or the declared range")
		}
	}
	m := guess(name, given, values)
	if m.Better == "" {
		c.problem(Direction, c.declared[i].at, fmt.Sprintf("it is unknown whether a higher or a lower %s is better", name),
			"higher, lower", "describe the metric; until then no run is called better by it")
	}
	return m
}

// sortedAxes adds the axes of the runs to r, sorted by name, and returns their numbers.
func (c *collector) sortedAxes(r *Results) []int {
	var order []int
	for i := range c.axes.list {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(c.axes.list[a], c.axes.list[b]) })
	return slices.DeleteFunc(order, func(i int) bool {
		var texts []string
		for _, x := range c.runs {
			if s := x.axis(i); s != "" {
				texts = append(texts, s)
			}
		}
		if len(texts) > 0 {
			r.Axes = append(r.Axes, Axis{c.axes.list[i], axisKind(texts)})
		}
		return len(texts) == 0
	})
}

// arms returns the arms of the runs in the order of the files.
func (c *collector) arms() []string {
	var out []string
	for _, x := range slices.SortedFunc(slices.Values(c.runs), func(a, b *run) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.arm, b.arm))
	}) {
		if !slices.Contains(out, x.arm) {
			out = append(out, x.arm)
		}
	}
	return out
}

// sortRuns sorts runs by arm, by the values of their axes, and by seed.
func (c *collector) sortRuns(axes []Axis, numbers []int) {
	slices.SortFunc(c.runs, func(a, b *run) int {
		order := cmp.Compare(a.arm, b.arm)
		for k, i := range numbers {
			order = cmp.Or(order, compareAxis(axes[k].Kind, a.axis(i), b.axis(i)))
		}
		return cmp.Or(order, compareSeeds(a.seed, b.seed))
	})
}

// compareAxis orders numbers by size and texts alphabetically. Runs without a value come
// first.
func compareAxis(kind table.Kind, a, b string) int {
	if a == "" || b == "" || kind == table.String {
		return cmp.Compare(a, b)
	}
	switch x := axisOf(kind, a).(type) {
	case int64:
		return cmp.Compare(x, axisOf(kind, b).(int64))
	default:
		return cmp.Compare(x.(float64), axisOf(kind, b).(float64))
	}
}

func compareSeeds(a, b stats.Seed) int {
	return cmp.Or(cmp.Compare(a.Pretraining, b.Pretraining), cmp.Compare(a.Feedback, b.Feedback))
}

// list joins names by commas. Beyond eight, it only counts them.
func list(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
