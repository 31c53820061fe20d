package imported

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// columns finds columns by name.
type columns struct {
	names []string
	bare  []string // names without the prefix that an export adds
}

// find returns the number of the column of a name, or -1. An exact match comes before one
// that differs in case.
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

// imageColumns are usual names of columns with the paths of pictures, the first choice
// first.
var imageColumns = []string{"image", "image_path", "file_name", "filename"}

// any returns the number of the column of the first of names that exists, or -1.
func (h columns) any(names []string) int {
	for _, name := range names {
		if i := h.find(name); i >= 0 {
			return i
		}
	}
	return -1
}

// plain is the plan of a table that people or scripts write.
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
	if l.image = role("image"); l.image < 0 {
		l.image = h.any(imageColumns)
	}
	if _, is := c.o.Columns["image"]; is && l.image >= 0 && l.prompt < 0 {
		c.problem(Unreadable, at, "it has pictures and no prompts", "a column with the prompt of each picture", "name it, as in prompt=COLUMN")
		ok = false
	}
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
	if l.prompt < 0 {
		l.image = -1
	}
	taken := []int{l.arm, l.seed, l.metric, l.amount, l.n, l.prompt, l.category, l.image}
	// A column that numbers rows is not a metric, unless the options name it.
	index := func(i int) bool { return isIndex(names[i]) && !slices.Contains(c.o.Metrics, names[i]) }
	for i, name := range names {
		if (l.shape == long || index(i)) && !slices.Contains(taken, i) && !l.isAxis(i) {
			l.unused = append(l.unused, quote(name))
		}
	}
	if l.shape != long {
		c.measureColumns(h, l, at, func(i int) bool { return !slices.Contains(taken, i) && !index(i) }, false)
		if len(l.measures) == 0 {
			c.problem(Unreadable, at, "it has no column of a metric among "+list(names), "the columns metric and value, or a column for each metric", "name the columns with --columns metric=COLUMN,value=COLUMN")
			return nil
		}
	}
	return l
}

// noColumn reports that a file lacks the column of a role.
func (c *collector) noColumn(at place, h columns, name, role string) {
	c.problem(Unreadable, at, fmt.Sprintf("it has no column %s among %s", quote(name), list(h.names)), "a column with the "+role+" of each row", "name it with --columns "+role+"=COLUMN")
}

// axisColumns finds the columns of axes: those named axis.NAME, and those that the
// options name. It returns false and reports a problem if one of the latter is missing.
func (c *collector) axisColumns(h columns, l *layout, at place) bool {
	ok := true
	add := func(column, name string) {
		i := h.find(column)
		if i < 0 {
			c.noColumn(at, h, column, axisPrefix+name)
			ok = false
		} else if !l.isAxis(i) {
			l.axes = append(l.axes, axisColumn{i, c.axis(at, name)})
		}
	}
	if l.job == nil { // the axes of a job are in its configuration
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

// measureColumns finds the columns of metrics among those for which may is true. perhaps
// says that they could also be settings, as in an export of W&B.
func (c *collector) measureColumns(h columns, l *layout, at place, may func(i int) bool, perhaps bool) {
	for i := range h.names {
		name := h.name(i)
		base, is := strings.CutSuffix(name, countSuffix)
		if is && h.find(base) >= 0 || !may(i) || l.isAxis(i) {
			continue
		}
		named := slices.Contains(c.o.Metrics, name)
		if id := c.metric(at, name); id >= 0 {
			m := &measure{name: name, column: i, count: h.find(name + countSuffix), metric: id, perhaps: perhaps && !named, texts: problems{count: map[Kind]int{}}}
			if m.count < 0 {
				m.count = l.n
			}
			if c.declared[id].at == at { // no earlier file has the column
				c.declared[id].perhaps = m.perhaps
			}
			l.measures = append(l.measures, m)
		}
	}
}

// name returns the name of a column without the prefix that an export adds.
func (h columns) name(i int) string {
	if h.bare != nil {
		return h.bare[i]
	}
	return h.names[i]
}

var indexName = regexp.MustCompile(`^(|Unnamed: \d+|__index_level_\d+__)$`)

// isIndex reports whether a column numbers rows or steps, or names files. Such a column
// is not a metric.
func isIndex(name string) bool {
	return indexName.MatchString(name) || slices.Contains([]string{"index", "idx", "id", "image", "image_id", "image_path", "sample_id", "file_name", "filename", "path",
		"step", "global_step", "epoch"}, strings.ToLower(name))
}

func quote(s string) string { return strconv.Quote(s) }
