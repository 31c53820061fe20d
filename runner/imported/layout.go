package imported

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// countSuffix ends the name of the column with the samples behind a metric.
const countSuffix = ".n"

// shape says what one row of a file is: a run, a value or an image.
type shape string

const (
	long   shape = "a row for each value"
	wide   shape = "a row for each run"
	images shape = "a row for each image"
)

// layout has the numbers of the columns of a file by role; -1 for a role without a
// column.
type layout struct {
	shape                                          shape
	arm, seed, metric, amount, n, prompt, category int
	image                                          int
	axes                                           []axisColumn
	measures                                       []*measure
	unused                                         []string // names of all other columns

	job     *run            // the run of all rows, if the file belongs to a Hydra job
	spelled map[string]*run // runs by the texts of the cells that identify them
	key     []byte
	split   func(c *collector, cells []string, at place) (arm, seed string, axes []axisValue, ok bool)
	skip    func(c *collector, cells []string, at place) bool
}

type axisColumn struct{ column, axis int }

func (l *layout) isAxis(column int) bool {
	return slices.ContainsFunc(l.axes, func(a axisColumn) bool { return a.column == column })
}

// measure is a column with the values of a metric.
type measure struct {
	name          string
	column, count int
	metric        int
	perhaps       bool // the column may be a setting, so texts in it are not reported
	numbers       int
	texts         problems // problems of cells that are not numbers
	last          *reading // last value, in the file of a Hydra job
}

type reading struct {
	x  float64
	n  int64
	at place
}

// row reads the values of a row.
func (l *layout) row(c *collector, cells []string, at place) {
	if l.skip != nil && l.skip(c, cells, at) {
		return
	}
	r := l.run(c, cells, at)
	if r == nil {
		return
	}
	prompt := -1
	if l.prompt >= 0 && cells[l.prompt] != "" {
		cat := ""
		if l.category >= 0 {
			cat = cells[l.category]
		}
		prompt = c.prompt(at, cells[l.prompt], cat)
	} else if l.shape == images {
		c.problem(BadRow, at, "the prompt is missing", "the prompt of the image", "write the prompt into each row")
		return
	}
	if l.image >= 0 && prompt >= 0 && cells[l.image] != "" {
		c.picture(r, prompt, cells[l.image], at)
	}
	if l.shape == long {
		l.longRow(c, r, prompt, cells, at)
		return
	}
	for _, m := range l.measures {
		text := cells[m.column]
		if text == "" {
			continue
		}
		x, ok := parseNumber(text)
		if !ok {
			m.texts.add(badNumber(m.name, text, at))
			continue
		}
		m.numbers++
		n, ok := l.count(c, m.count, cells, at)
		switch {
		case !ok:
		case l.job != nil && prompt < 0:
			m.last = &reading{x, n, at}
		default:
			c.put(r, m.metric, prompt, x, n, at)
		}
	}
}

func (l *layout) longRow(c *collector, r *run, prompt int, cells []string, at place) {
	name, text := cells[l.metric], cells[l.amount]
	if name == "" {
		c.problem(BadRow, at, "the metric is missing", "the name of a metric", "write the metric into each row")
		return
	}
	id := c.metric(at, name)
	if id < 0 || text == "" {
		return
	}
	x, ok := parseNumber(text)
	if !ok {
		c.problems.add(badNumber(name, text, at))
		return
	}
	if n, ok := l.count(c, l.n, cells, at); ok {
		c.put(r, id, prompt, x, n, at)
	}
}

// put adds a value to a run: a sample of a prompt, or the value of the whole run if
// prompt is negative.
func (c *collector) put(r *run, metric, prompt int, x float64, n int64, at place) {
	if prompt < 0 {
		c.value(r, metric, x, n, at)
		return
	}
	c.sample(r, metric, prompt, x, max(n, 1), at)
}

func badNumber(metric, text string, at place) problem {
	do := "correct the cell"
	if strings.Count(text, ",") == 1 && !strings.Contains(text, ".") {
		if _, ok := parseNumber(strings.Replace(text, ",", ".", 1)); ok {
			do = "write a decimal point"
		}
	}
	return problem{Problem{Kind: BadValue, Wrong: fmt.Sprintf("the value %q of %s is not a number", text, metric),
		Allowed: "a decimal number up to 1e100, true, false, or an empty cell where there is no value", Do: do}, at}
}

// count returns the number of samples behind a row, 0 if it is not known. ok is false if
// the cell is not valid.
func (l *layout) count(c *collector, column int, cells []string, at place) (int64, bool) {
	if column < 0 || cells[column] == "" {
		return 0, true
	}
	n, ok := parseCount(cells[column])
	if !ok {
		c.problem(BadValue, at, fmt.Sprintf("%q is not a number of samples", cells[column]), "a whole number from 1 to 1e9, or an empty cell", "correct the cell")
	}
	return n, ok
}

// run returns the run of a row, nil if its cells do not identify one. Rows of one run
// mostly have equal texts, so that l.spelled finds the run without parsing them.
func (l *layout) run(c *collector, cells []string, at place) *run {
	if l.job != nil {
		return l.job
	}
	if l.split != nil {
		arm, seed, axes, ok := l.split(c, cells, at)
		if !ok {
			return nil
		}
		return c.run(at, arm, seed, axes)
	}
	l.key = append(append(append(l.key[:0], cells[l.arm]...), 0), cells[l.seed]...)
	for _, a := range l.axes {
		l.key = append(append(l.key, 0), cells[a.column]...)
	}
	if r, ok := l.spelled[string(l.key)]; ok {
		return r
	}
	r := c.run(at, strings.TrimSpace(cells[l.arm]), strings.TrimSpace(cells[l.seed]), l.axisValues(cells))
	if r != nil { // a row with a problem is not remembered, so that each is reported
		l.spelled[string(l.key)] = r
	}
	return r
}

func (l *layout) axisValues(cells []string) []axisValue {
	var axes []axisValue
	for _, a := range l.axes {
		axes = append(axes, axisValue{a.axis, strings.TrimSpace(cells[a.column])})
	}
	return axes
}

// finish decides whether columns with texts are metrics, and notes how the file was read.
func (l *layout) finish(c *collector, file int32) {
	var texts, metrics []string
	for _, m := range l.measures {
		bad := len(m.texts.list) > 0
		switch {
		case bad && (m.perhaps || m.numbers == 0 && !slices.Contains(c.o.Metrics, m.name)):
			if m.perhaps { // otherwise it has no number that would be dropped
				c.declared[m.metric].dropped = true
			}
			texts = append(texts, m.name)
			continue
		case bad:
			c.problems.merge(m.texts)
		case m.last != nil:
			c.value(l.job, m.metric, m.last.x, m.last.n, m.last.at)
		}
		metrics = append(metrics, m.name)
	}
	if l.job != nil {
		return
	}
	base := filepath.Base(c.files[file])
	switch {
	case l.split != nil: // the plan wandb has noted it
	case l.shape == long && l.prompt >= 0:
		c.note("%s: %s; rows with a prompt are samples, which are summed", base, l.shape)
	case l.shape == long:
		c.note("%s: %s", base, l.shape)
	default:
		c.note("%s: %s, with the metrics %s", base, l.shape, list(metrics))
	}
	if len(texts) > 0 {
		c.note("%s: columns that have texts are not metrics: %s", base, list(texts))
	}
	switch {
	case len(l.unused) > 0 && l.shape == long:
		c.note("%s: columns that are not used: %s", base, list(l.unused))
	case len(l.unused) > 0:
		c.note("%s: columns that number rows or steps or name files are not metrics: %s", base, list(l.unused))
	}
}

// merge adds other problems, such as those of a column.
func (p *problems) merge(o problems) {
	for _, q := range o.list {
		p.add(q)
	}
	for k, n := range o.count {
		p.count[k] += max(0, n-mostListed)
	}
}
