package imported

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ablate/analysis/compare"
)

// collector collects the runs, values and problems that readers find.
type collector struct {
	stopped  func() bool // reports whether reading should end early
	o        Options
	files    []string // names by number; number 0 stands for all files
	problems problems
	notes    []string

	runs    []*run
	byKey   map[string]*run
	axes    names
	metrics names
	prompts names

	declared []declared      // by number of a metric
	unused   map[string]bool // metrics that the options leave out
	category []category      // by number of a prompt
}

// declared has what readers know about a metric besides its values.
type declared struct {
	at      place
	perhaps bool // a column of a W&B export, which may be a setting
	dropped bool
}

type category struct {
	name string
	at   place
}

// names numbers texts in the order in which they are added.
type names struct {
	list   []string
	number map[string]int
}

// find returns the number of a text. isNew says that find has added it.
func (n *names) find(s string) (i int, isNew bool) {
	if i, ok := n.number[s]; ok {
		return i, false
	}
	s = strings.Clone(s) // s may be part of a row, which would stay in memory
	n.list = append(n.list, s)
	n.number[s] = len(n.list) - 1
	return len(n.list) - 1, true
}

func newCollector(ctx context.Context, o Options) *collector {
	empty := func() names { return names{number: map[string]int{}} }
	return &collector{stopped: func() bool { return ctx.Err() != nil }, o: o, files: []string{""}, problems: problems{count: map[Kind]int{}}, byKey: map[string]*run{},
		axes: empty(), metrics: empty(), prompts: empty(), unused: map[string]bool{}}
}

// file returns the number of a file.
func (c *collector) file(path string) int32 {
	c.files = append(c.files, path)
	return int32(len(c.files) - 1)
}

func (c *collector) problem(k Kind, at place, wrong, allowed, do string) {
	c.problems.add(problem{Problem{Kind: k, Wrong: wrong, Allowed: allowed, Do: do}, at})
}

func (c *collector) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// axisValue is the number of an axis and the text of its value, empty if the run has
// none.
type axisValue struct {
	axis int
	text string
}

// run returns the run of an arm, a seed and axis values, which it makes if it is new. It
// returns nil and reports a problem if the arm or the seed is not valid.
func (c *collector) run(at place, arm, seedText string, axes []axisValue) *run {
	if arm == "" {
		c.problem(BadRow, at, "the arm is missing", "a name", "write the name of the arm into each row")
		return nil
	}
	if name, ok := c.o.Arms[arm]; ok {
		arm = name
	}
	if seedText == "" {
		c.problem(BadRow, at, "the seed is missing", "a whole number, or two as in 1.2 for pretraining 1 and feedback 2", "write the seed into each row")
		return nil
	}
	s, err := compare.ParseSeed(seedText)
	if err != nil {
		c.problem(BadRow, at, fmt.Sprintf("the seed %q is not a seed", seedText), "a whole number from 0 on, or two as in 1.2 for pretraining 1 and feedback 2", "correct the seed")
		return nil
	}
	r := &run{arm: arm, seed: s, point: strings.Contains(seedText, "."), at: at}
	for _, a := range axes {
		if a.text != "" {
			r.set(a.axis, canonical(a.text))
		}
	}
	key := r.key()
	if old, ok := c.byKey[key]; ok {
		return old
	}
	c.checkText(at, "arm", arm)
	r.arm, r.local = strings.Clone(arm), map[int]int32{}
	for i := range r.axes {
		c.checkText(at, "value of "+c.axes.list[i], r.axes[i])
		r.axes[i] = strings.Clone(r.axes[i])
	}
	c.byKey[key] = r
	c.runs = append(c.runs, r)
	return r
}

// view returns the name of a run, with the values of its axes as the file spells them.
func (c *collector) view(r *run) string { return c.label(r) + "@" + compare.SeedName(r.seed) }

// label returns the name of the row of the ablation table to which a run belongs.
func (c *collector) label(r *run) string {
	var axes []string
	for i, text := range r.axes {
		if text != "" {
			axes = append(axes, c.axes.list[i]+"="+text)
		}
	}
	if len(axes) == 0 {
		return r.arm
	}
	slices.Sort(axes)
	return r.arm + "[" + strings.Join(axes, ",") + "]"
}

// checkText reports a text that is not UTF-8, because tables require UTF-8.
func (c *collector) checkText(at place, what, s string) {
	if !utf8.ValidString(s) {
		c.problem(BadName, at, fmt.Sprintf("the %s %q is not UTF-8", what, s), "UTF-8", "save the file as UTF-8")
	}
}

// axis returns the number of an axis.
func (c *collector) axis(at place, name string) int {
	i, isNew := c.axes.find(name)
	if isNew && !axisName.MatchString(name) {
		c.problem(BadName, at, fmt.Sprintf("%q is not the name of an axis", name), "letters, digits and . _ - /, a letter first", "rename the column, or name it with "+axisPrefix+"NAME=COLUMN")
	}
	return i
}

// metric returns the number of a metric, -1 if the options leave it out.
func (c *collector) metric(at place, name string) int {
	if i, ok := c.metrics.number[name]; ok {
		return i
	}
	if slices.Contains(c.o.Ignore, name) || len(c.o.Metrics) > 0 && !slices.Contains(c.o.Metrics, name) {
		c.unused[strings.Clone(name)] = true
		return -1
	}
	i, _ := c.metrics.find(name)
	c.declared = append(c.declared, declared{at: at})
	if name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		c.problem(BadName, at, fmt.Sprintf("%q is not the name of a metric", name), "printable UTF-8 without spaces at its ends", "rename the metric")
	}
	return i
}

// value sets a metric of a run. n is the number of samples behind the value, 0 if it is
// not known.
func (c *collector) value(r *run, metric int, x float64, n int64, at place) {
	l := r.cell(metric)
	if l.at != (place{}) {
		c.duplicate(r, metric, l.at, at)
		return
	}
	*l = cell{at: at, whole: true, value: x, n: n}
	if !finite(x) {
		l.invalid = true
		c.problem(NotFinite, at, fmt.Sprintf("%s of %s is %v", c.metrics.list[metric], c.view(r), x), "a finite number",
			"the run counts as one without this value; if it diverged, that is right")
	}
}

func (c *collector) duplicate(r *run, metric int, first, second place) {
	c.problem(Duplicate, second, fmt.Sprintf("%s of %s is here and in %s", c.metrics.list[metric], c.view(r), c.where(first)),
		"one value for each arm, axes, seed and metric", "remove one of them, or name the column in which the two runs differ as an axis")
}

func (c *collector) where(at place) string {
	if at.line == 0 {
		return c.files[at.file]
	}
	return fmt.Sprintf("%s:%d", c.files[at.file], at.line)
}

// prompt returns the number of a prompt and records its category, which is empty if the
// row has none.
func (c *collector) prompt(at place, text, cat string) int {
	i, isNew := c.prompts.find(text)
	if isNew {
		c.category = append(c.category, category{})
		c.checkText(at, "prompt", text)
	}
	if known := &c.category[i]; cat != "" && cat != known.name {
		if known.name != "" {
			c.problem(Categories, at, fmt.Sprintf("the prompt %q has the category %q, and %q in %s", text, cat, known.name, c.where(known.at)),
				"one category for each prompt", "correct one of them")
			return i
		}
		c.checkText(at, "category", cat)
		*known = category{strings.Clone(cat), at}
	}
	return i
}

// sample adds x, the mean of n samples of a prompt, to a metric of a run.
func (c *collector) sample(r *run, metric, prompt int, x float64, n int64, at place) {
	l := r.cell(metric)
	switch {
	case l.whole:
		c.duplicate(r, metric, l.at, at)
		return
	case l.at == (place{}):
		l.at = at
	case l.at.file != at.file && !l.split:
		l.split = true
		c.problem(Split, at, fmt.Sprintf("samples of %s of %s are here and in %s", c.metrics.list[metric], c.view(r), c.where(l.at)),
			"samples of a run in several files, where none is there twice", "check that the files do not repeat one another")
	}
	if !finite(x) {
		c.problem(NotFinite, at, fmt.Sprintf("%s of a sample of %s is %v", c.metrics.list[metric], c.view(r), x), "a finite number",
			"the sample is left out of the mean and of n; where the scorer failed, score again")
		return
	}
	i, ok := r.local[prompt]
	if !ok {
		i = int32(len(r.local))
		r.local[prompt] = i
	}
	for len(l.samples) <= int(i) {
		l.samples = append(l.samples, sum{})
	}
	l.samples[i].add(x*float64(n), n)
}
