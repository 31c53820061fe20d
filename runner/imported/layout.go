package imported

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// countSuffix ends the name of the column with the samples behind a metric.
const countSuffix = ".n"

// shape is what a row is.
type shape string

const (
	long   shape = "a row for each value"
	wide   shape = "a row for each run"
	images shape = "a row for each image"
)

// layout says what the columns of a file are, by their numbers; -1 is none.
type layout struct {
	shape                                          shape
	arm, seed, metric, amount, n, prompt, category int
	axes                                           []axisColumn
	measures                                       []*measure
	unused                                         []string // columns that are none of these

	job     *run            // the run of all rows, if the file is a job's
	spelled map[string]*run // runs by the texts of their cells; nil where these cannot be
	key     []byte
	split   func(c *collector, cells []string, at place) (arm, seed string, axes []axisValue, ok bool)
	skip    func(c *collector, cells []string, at place) bool
}

type axisColumn struct{ column, axis int }

// measure is a column whose values are a metric's.
type measure struct {
	name          string
	column, count int
	metric        int
	perhaps       bool // texts in it are no mistake: it may be another column
	numbers       int
	texts         problems // cells that are not numbers
	last          *reading // of a job
}

type reading struct {
	x  float64
	n  int64
	at place
}

// columns finds columns by name.
type columns struct {
	names []string
	bare  []string // names without what an export puts before them
}

// find is the number of a column: of that very name, else of that name in other
// letters; -1 where there is none.
func (h columns) find(name string) int {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for _, list := range [][]string{h.names, h.bare} {
			if i := slices.IndexFunc(list, func(s string) bool { return same(s, name) }); i >= 0 {
				return i
			}
		}
	}
	return -1
}

// plain makes the layout of a table that people or scripts write.
func (c *collector) plain(names []string, at place, job *run) *layout {
	h := columns{names: names}
	l := &layout{job: job, spelled: map[string]*run{}}
	ok := true
	role := func(name string) int {
		mapped, is := c.o.Columns[name]
		if is && job == nil {
			if i := h.find(mapped); i >= 0 {
				return i
			}
		}
		i := h.find(name)
		if i < 0 && job == nil && (is || name == "arm" || name == "seed") {
			c.noColumn(at, h, cmp.Or(mapped, name), name)
			ok = false
		}
		return i
	}
	l.arm, l.seed, l.metric, l.amount, l.n, l.prompt, l.category = role("arm"), role("seed"), role("metric"), role("value"), role("n"), role("prompt"), role("category")
	switch {
	case l.metric >= 0 && l.amount >= 0:
		l.shape = long
	case l.prompt >= 0:
		l.shape, l.metric, l.amount = images, -1, -1
	default:
		l.shape, l.metric, l.amount = wide, -1, -1
	}
	if ok = c.axisColumns(h, l, at) && ok; !ok {
		return nil
	}
	taken := []int{l.arm, l.seed, l.metric, l.amount, l.n, l.prompt, l.category}
	for i, name := range names {
		if (l.shape == long || isIndex(name) && !slices.Contains(c.o.Metrics, name)) && !slices.Contains(taken, i) && !slices.ContainsFunc(l.axes, func(a axisColumn) bool { return a.column == i }) {
			l.unused = append(l.unused, quote(name))
		}
	}
	if l.shape != long {
		c.measureColumns(h, l, at, func(i int) bool {
			return !slices.Contains(taken, i) && (!isIndex(names[i]) || slices.Contains(c.o.Metrics, names[i]))
		}, false)
		if len(l.measures) == 0 {
			c.problem(Unreadable, at, "it has no column of a metric among "+list(names), "the columns metric and value, or a column for each metric", "name the columns, as in metric=COLUMN")
			return nil
		}
	}
	return l
}

// noColumn reports a column that a file does not have.
func (c *collector) noColumn(at place, h columns, name, role string) {
	c.problem(Unreadable, at, fmt.Sprintf("it has no column %s among %s", quote(name), list(h.names)), "a column with the "+role+" of each row", "name it, as in "+role+"=COLUMN")
}

// axisColumns finds the columns of axes: those named axis.NAME, and those that the
// options name, which must be there.
func (c *collector) axisColumns(h columns, l *layout, at place) bool {
	ok := true
	add := func(column, name string) {
		i := h.find(column)
		if i < 0 {
			c.noColumn(at, h, column, axisPrefix+name)
			ok = false
		} else if !slices.ContainsFunc(l.axes, func(a axisColumn) bool { return a.column == i }) {
			l.axes = append(l.axes, axisColumn{i, c.axis(at, name)})
		}
	}
	if l.job == nil { // a job's axes are in its configuration
		for _, role := range slices.Sorted(maps.Keys(c.o.Columns)) {
			if name, is := strings.CutPrefix(role, axisPrefix); is {
				add(c.o.Columns[role], name)
			}
		}
		for _, name := range c.o.Axes {
			add(name, name)
		}
	}
	for _, name := range h.names {
		if len(name) > len(axisPrefix) && strings.EqualFold(name[:len(axisPrefix)], axisPrefix) {
			add(name, name[len(axisPrefix):])
		}
	}
	return ok
}

// measureColumns finds the columns of metrics among those that may be one.
func (c *collector) measureColumns(h columns, l *layout, at place, may func(i int) bool, perhaps bool) {
	for i := range h.names {
		name := h.name(i)
		base, is := strings.CutSuffix(name, countSuffix)
		if is && h.find(base) >= 0 || !may(i) || slices.ContainsFunc(l.axes, func(a axisColumn) bool { return a.column == i }) {
			continue
		}
		named := slices.Contains(c.o.Metrics, name)
		if id := c.metric(at, name); id >= 0 {
			m := &measure{name: name, column: i, count: h.find(name + countSuffix), metric: id, perhaps: perhaps && !named, texts: problems{count: map[Kind]int{}}}
			if m.count < 0 {
				m.count = l.n
			}
			c.declared[id].perhaps = m.perhaps
			l.measures = append(l.measures, m)
		}
	}
}

// name is the name of a column without what an export puts before it.
func (h columns) name(i int) string {
	if h.bare != nil {
		return h.bare[i]
	}
	return h.names[i]
}

var indexName = regexp.MustCompile(`^(|Unnamed: \d+|__index_level_\d+__)$`)

// isIndex reports whether a column numbers rows or steps or names files, and measures
// nothing.
func isIndex(name string) bool {
	return indexName.MatchString(name) || slices.Contains([]string{"index", "idx", "id", "image", "image_id", "image_path", "sample_id", "file_name", "filename", "path",
		"step", "global_step", "epoch"}, strings.ToLower(name))
}

// row takes a row.
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
		n, ok := l.count(c, m.count, prompt, cells, at)
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
	if n, ok := l.count(c, l.n, prompt, cells, at); ok {
		c.put(r, id, prompt, x, n, at)
	}
}

// put adds a value to a run: a sample of a prompt, or without a prompt the value of
// the whole run.
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
		Allowed: "a decimal number up to 1e280, true, false, or an empty cell where there is no value", Do: do}, at}
}

// count is the number of samples behind a row, 0 where it is unknown.
func (l *layout) count(c *collector, column, prompt int, cells []string, at place) (int64, bool) {
	if column < 0 || cells[column] == "" {
		return 0, true
	}
	n, ok := parseCount(cells[column])
	if !ok {
		c.problem(BadValue, at, fmt.Sprintf("%q is not a number of samples", cells[column]), "a whole number from 1 to 1e9, or an empty cell", "correct the cell")
	}
	return n, ok
}

// run is the run of a row; nil where it has none. Rows of a run are spelled alike,
// so that most are found without a look at what the texts mean.
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
	r, ok := l.spelled[string(l.key)]
	if r != nil {
		return r
	}
	r = c.run(at, strings.TrimSpace(cells[l.arm]), strings.TrimSpace(cells[l.seed]), l.axisValues(cells))
	if !ok && r != nil {
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

// finish decides what columns with texts are, and notes how the file was read.
func (l *layout) finish(c *collector, file int32) {
	var texts, metrics []string
	for _, m := range l.measures {
		bad := len(m.texts.list) > 0
		switch {
		case bad && (m.perhaps || m.numbers == 0 && !slices.Contains(c.o.Metrics, m.name)):
			c.declared[m.metric].dropped = true
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
	case l.split != nil: // W&B says what it makes of its columns
	case l.shape == long && l.prompt >= 0:
		c.note("%s: %s, those with a prompt samples of it, which are summed", base, l.shape)
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

// merge adds the problems of a column.
func (p *problems) merge(o problems) {
	for _, q := range o.list {
		p.add(q)
	}
	for k, n := range o.count {
		p.count[k] += max(0, n-mostListed)
	}
}

func quote(s string) string { return strconv.Quote(s) }
