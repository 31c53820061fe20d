package imported

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/runner/phrase"
)

// finish makes results of what was read.
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
	c.sortRuns(r.Axes, axes)
	c.missingSeeds()
	c.missingMetrics(order)
	for _, x := range c.runs {
		out := Run{Arm: x.arm, Seed: x.seed}
		for k, i := range axes {
			out.Axes = append(out.Axes, axisOf(r.Axes[k].Kind, x.axis(i)))
		}
		texts := make([]string, len(x.local)) // by the run's own number
		for i, own := range x.local {
			texts[own] = c.prompts.list[i]
		}
		for _, i := range order {
			out.Values = append(out.Values, x.cell(i).export(texts))
		}
		r.Runs = append(r.Runs, out)
	}
	for i, k := range c.category {
		if k.name != "" {
			r.Categories[c.prompts.list[i]] = k.name
		}
	}
	if len(c.runs) == 0 && len(c.problems.list) == 0 {
		c.problem(Unreadable, place{}, "there is no run", "one run or more", "check the path and the options")
	}
	if len(c.unused) > 0 {
		c.note("not used, as the options say: %s", list(slices.Sorted(maps.Keys(c.unused))))
	}
	r.Problems, r.Notes = c.problems.finish(c.files), c.notes
	return r
}

// export makes a Value of a cell.
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

// kept are the metrics that some run has, in the order of their names.
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

// seen are the names of all metrics of the files.
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

// describe completes the description of a metric and holds its values to it.
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

// oneNumberSeeds mends seeds that pandas wrote as 3.0: where every seed with a point
// ends in .0, these are not pairs of a pretraining and a feedback seed.
func (c *collector) oneNumberSeeds() {
	with := 0
	for _, r := range c.runs {
		if r.point {
			if r.seed.Feedback != 0 {
				return
			}
			with++
		}
	}
	if with == 0 {
		return
	}
	written := map[string]*run{}
	for _, r := range c.runs {
		if r.point {
			r.seed.Feedback, r.point = r.seed.Pretraining, false
		}
		if other, ok := written[r.key()]; ok {
			c.problem(Duplicate, r.at, fmt.Sprintf("the seed of %s is written with .0 here or in %s and without in the other", c.view(r), c.where(other.at)),
				"one way to write a seed", "write seeds as whole numbers")
		}
		written[r.key()] = r
	}
	c.note("%s written as in 3.0, which is read as 3, as no other number follows a point", phrase.Are(with, "seed"))
}

// armName is #ArmName of the study language.
var armName = regexp.MustCompile(`^[^\[\]@/,\s\p{C}]([^\[\]@/,\p{C}]*[^\[\]@/,\s\p{C}])?$`)

var (
	notInArms   = regexp.MustCompile(`[\[\]@/,\p{C}]+`)
	atArmsEdges = regexp.MustCompile(`^[-\s]+|[-\s]+$`)
)

func (c *collector) checkArms() {
	done := map[string]bool{}
	for _, r := range c.runs {
		if done[r.arm] || armName.MatchString(r.arm) {
			continue
		}
		done[r.arm] = true
		do := "rename the arm"
		if s := atArmsEdges.ReplaceAllString(notInArms.ReplaceAllString(r.arm, "-"), ""); armName.MatchString(s) {
			do = fmt.Sprintf("rename the arm, for example to %q", s)
		}
		c.problem(BadName, r.at, fmt.Sprintf("%q is not the name of an arm", r.arm), "a name without [ ] @ / , and control characters that neither begins nor ends with a space", do)
	}
}

// own are the columns of trials that are neither axes nor metrics.
var own = []string{"arm", "view", "trial", "control", "seed.pretraining", "seed.feedback"}

// checkNames reports columns of trials that would have one name.
func (c *collector) checkNames(metrics []Metric) {
	taken := map[string]string{}
	for _, name := range own {
		taken[name] = "a column that every study has"
	}
	claim := func(at place, name, what string) {
		if other, ok := taken[name]; ok {
			c.problem(BadName, at, fmt.Sprintf("%q is the name of %s and of %s", name, what, other), "one column of each name", "rename one, or leave it out")
			return
		}
		taken[name] = what
	}
	for _, name := range slices.Sorted(slices.Values(c.axes.list)) {
		claim(place{}, name, "an axis")
	}
	for _, m := range metrics {
		at := c.declared[c.metrics.number[m.Name]].at
		claim(at, m.Name, "a metric")
		claim(at, m.Name+countSuffix, "the number of samples of "+m.Name)
	}
}

// sortedAxes puts the axes that runs have into r, by name, and returns their numbers.
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

// sortRuns sorts by arm, by axes in the order of their names, and by seed.
func (c *collector) sortRuns(axes []Axis, numbers []int) {
	slices.SortFunc(c.runs, func(a, b *run) int {
		order := cmp.Compare(a.arm, b.arm)
		for k, i := range numbers {
			order = cmp.Or(order, compareAxis(axes[k].Kind, a.axis(i), b.axis(i)))
		}
		return cmp.Or(order, compareSeeds(a.seed, b.seed))
	})
}

// compareAxis orders numbers by size and texts by letters, after runs without a value.
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

// missingSeeds reports rows of the ablation table that lack a seed which others
// have. Runs are sorted, so those of a row follow one another.
func (c *collector) missingSeeds() {
	rows := map[stats.Seed]int{} // that have a seed
	for _, r := range c.runs {
		rows[r.seed]++
	}
	all := slices.SortedFunc(maps.Keys(rows), compareSeeds)
	for i := 0; i < len(c.runs); {
		first := c.runs[i]
		has := map[stats.Seed]bool{}
		for ; i < len(c.runs) && c.runs[i].row() == first.row(); i++ {
			has[c.runs[i].seed] = true
			if c.runs[i].at.before(first.at) {
				first = c.runs[i]
			}
		}
		var lacks []string
		for _, s := range all {
			if !has[s] {
				lacks = append(lacks, compare.SeedName(s))
			}
		}
		if len(lacks) > 0 {
			c.problem(MissingSeed, first.at, fmt.Sprintf("%s has %s and lacks %s", c.label(first), phrase.Count(len(has), "seed"), list(lacks)),
				"other seeds for each arm, where pairs by seed are not wanted", "add the missing runs; only seeds that two arms share are compared in pairs")
		}
	}
}

// missingMetrics reports metrics that only some runs have.
func (c *collector) missingMetrics(order []int) {
	for _, i := range order {
		var lacks []string
		at := place{}
		for _, r := range c.runs {
			if r.cell(i).at == (place{}) {
				if lacks = append(lacks, c.view(r)); at == (place{}) || r.at.before(at) {
					at = r.at
				}
			}
		}
		if len(lacks) > 0 {
			c.problem(MissingMetric, at, fmt.Sprintf("%d of %s without %s: %s", len(lacks), phrase.Are(len(c.runs), "run"), c.metrics.list[i], list(lacks)),
				"runs without a metric, which comparisons by it leave out", "add the missing values")
		}
	}
}

// list joins names, at most eight of them.
func list(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
