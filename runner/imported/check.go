package imported

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/runner/phrase"
)

// oneNumberSeeds corrects seeds that pandas wrote as 3.0. If every seed with a point ends
// in .0, the seeds are single numbers, and not pairs of a pretraining and a feedback
// seed.
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

// armName is the pattern #ArmName of the study language.
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

// own are the columns of the table trials that are neither axes nor metrics.
var own = []string{"arm", "view", "trial", "control", "seed.pretraining", "seed.feedback"}

// checkNames reports columns of the table trials that would have the same name.
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

// missingSeeds reports rows of the ablation table that lack a seed of other rows. Runs
// are sorted, so the runs of a row follow one another.
func (c *collector) missingSeeds() {
	rows := map[stats.Seed]int{} // number of rows that have a seed
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
				"", "only seeds that two arms share are compared in pairs; add the missing runs if that is not intended")
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
			c.problem(MissingMetric, at, fmt.Sprintf("%d of %s have no value of %s: %s", len(lacks), phrase.Count(len(c.runs), "run"), c.metrics.list[i], list(lacks)),
				"", "comparisons of the metric leave them out; add the values if that is not intended")
		}
	}
}
