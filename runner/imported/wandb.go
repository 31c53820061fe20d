package imported

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ablate/runner/rows"
)

// Weights & Biases exports its runs table as CSV, which does not mark whether a column is
// a setting or a result. Its public API returns runs with a name, a state, a config and a
// summary, which scripts write as JSONL.

func (s source) isWandB() bool {
	if s.dir || s.isParquet() {
		return false
	}
	if s.isJSONL() {
		has := map[string]bool{}
		w := rows.Walker{Emit: func(key []byte, _ string) {
			top, _, _ := strings.Cut(string(key), ".")
			has[top] = true
		}}
		if b, ok := rows.ValidJSON(bytes.TrimSpace(rows.FirstLine(s.head))); ok {
			w.Object(b)
		}
		return has["config"] && (has["summary"] || has["summaryMetrics"]) && (has["name"] || has["state"])
	}
	names, err := csv.NewReader(bytes.NewReader(s.head)).Read()
	return err == nil && slices.Contains(names, "Name") && slices.Contains(names, "State")
}

func (c *collector) readWandB(s source) {
	c.readRows(s, c.file(s.path), nil, (*collector).wandb)
}

// wandbOwn are the columns of the runs table that are neither settings nor results, in
// lower case.
var wandbOwn = []string{"name", "state", "notes", "user", "tags", "created", "runtime", "sweep", "id", "group", "job type", "jobtype",
	"agent", "archived", "commit", "duration", "end time", "entity", "git", "gpu count", "gpu type", "host", "hostname", "os", "path", "project",
	"python", "python version", "start time", "updated", "url", "username"}

// wandb is the plan of an export of Weights & Biases.
func (c *collector) wandb(names []string, at place, _ *run) *layout {
	h := columns{names: names}
	nested := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "config.") })
	var results, settings []string
	for _, n := range names {
		bare, is := strings.CutPrefix(strings.Replace(n, "summaryMetrics.", "summary.", 1), "summary.")
		if is {
			results = append(results, n)
		} else if bare, is = strings.CutPrefix(n, "config."); is {
			if v, is := strings.CutSuffix(bare, ".value"); is && slices.Contains(names, "config."+v+".desc") {
				bare = v // in the raw config, a setting is an object with a value and a description
			}
			settings = append(settings, bare)
		}
		h.bare = append(h.bare, bare)
	}
	candidates := names
	if nested {
		candidates = settings
	}
	choose := func(role string, wanted []string) int {
		if name, ok := c.o.Columns[role]; ok {
			return h.find(name)
		}
		if i := guessName(candidates, wanted); i >= 0 {
			return h.find(candidates[i])
		}
		return -1
	}
	l := &layout{shape: wide, prompt: -1, n: -1, category: -1, image: -1, metric: -1, amount: -1}
	l.arm, l.seed = choose("arm", armNames), choose("seed", seedNames)
	name, state, group := h.find("name"), h.find("state"), h.find("group")
	ok := c.axisColumns(h, l, at)
	for role, column := range map[string]int{"arm": l.arm, "seed": l.seed} {
		if mapped, is := c.o.Columns[role]; is && column < 0 {
			c.noColumn(at, h, mapped, role)
			ok = false
		}
	}
	if !ok {
		return nil
	}
	media := func(name string) bool { // a picture or histogram is an object with a type
		i := strings.LastIndex(name, ".")
		return i >= 0 && slices.Contains(h.bare, name[:i]+"._type")
	}
	c.measureColumns(h, l, at, func(i int) bool {
		own := strings.HasPrefix(h.bare[i], "_") || media(h.bare[i]) || !nested && slices.Contains(wandbOwn, strings.ToLower(names[i]))
		return !own && i != l.arm && i != l.seed && names[i] != "" && (!nested || slices.Contains(results, names[i])) && !isSeedName(h.bare[i])
	}, true)
	if nested { // then only the summary has results
		for _, m := range l.measures {
			c.declared[m.metric].perhaps = false
		}
	}
	cell := func(cells []string, i int) string {
		if i < 0 {
			return ""
		}
		return strings.TrimSpace(cells[i])
	}
	l.skip = func(c *collector, cells []string, at place) bool {
		s := cell(cells, state)
		if s == "" || strings.EqualFold(s, "finished") {
			return false
		}
		do := "it is left out; wait until it ends, run it again, or ask for unfinished runs"
		if c.o.Unfinished {
			do = "it is used, as the options ask"
		}
		c.problem(Unfinished, at, fmt.Sprintf("the run %s is %s", quote(cell(cells, name)), quote(s)), "finished", do)
		return !c.o.Unfinished
	}
	l.split = func(c *collector, cells []string, at place) (arm, seed string, axes []axisValue, ok bool) {
		axes = l.axisValues(cells)
		arm, seed = cell(cells, l.arm), cell(cells, l.seed)
		own := cell(cells, name)
		n, matched := parse(c.o.patterns(), own)
		if matched {
			for _, a := range n.axes {
				axes = append(axes, axisValue{c.axis(at, a[0]), a[1]})
			}
		}
		if l.arm < 0 {
			arm = cmp.Or(cell(cells, group), n.arm, own)
		}
		if l.seed < 0 {
			if seed = n.seed; seed == "" {
				c.problem(BadRow, at, fmt.Sprintf("the name %s has no seed, and no column is one of seeds", quote(own)), "a column such as seed, or names such as ARM-s3", "name the column with seed=COLUMN, or give a pattern")
				return "", "", nil, false
			}
		}
		return arm, seed, axes, true
	}
	from := func(i int, other string) string {
		if i < 0 {
			return other
		}
		return "the column " + quote(names[i])
	}
	other := "the name without its seed"
	if group >= 0 {
		other = "the group, where a run has none its name without the seed"
	}
	c.note("%s: runs of W&B; the arm is %s, the seed is %s", filepath.Base(c.files[at.file]), from(l.arm, other), from(l.seed, "in the name"))
	return l
}

// dropSettings removes the columns of a W&B table that look like settings: those that
// have the same value in all runs of an arm, for every arm. If no arm has two runs, a
// setting is a column with the same value in all runs.
func (c *collector) dropSettings() {
	var dropped []string
	for i := range c.declared {
		d := &c.declared[i]
		if d.dropped || !d.perhaps {
			continue
		}
		first, firstOf := (*float64)(nil), map[string]float64{}
		inArm, inAll, repeated, n := true, true, false, 0
		for _, r := range c.runs {
			l := r.cell(i)
			if l.at == (place{}) || !finite(l.value) {
				continue
			}
			n++
			if first == nil {
				first = &l.value
			}
			inAll = inAll && l.value == *first
			x, ok := firstOf[r.row()]
			if !ok {
				firstOf[r.row()] = l.value
				continue
			}
			repeated = true
			inArm = inArm && l.value == x
		}
		if n > 1 && (repeated && inArm || !repeated && inAll) {
			d.dropped = true
			dropped = append(dropped, c.metrics.list[i])
		}
	}
	if len(dropped) > 0 {
		slices.Sort(dropped)
		c.note("taken to be settings and not metrics, because all runs of an arm have the same value: %s; if that is wrong, name the metrics to read", list(dropped))
	}
}
