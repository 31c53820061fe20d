package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// grid is a table with one line per row of the study and columns of metrics. Some columns
// are open; the others belong to groups that the reader can open.
type grid struct {
	ID, Heading string   // ids of the table and of the heading that labels it
	Points      []string // heads of the columns with a row's axis values
	Columns     []column
	Groups      []group
	Lines       []line
	Floor       []cell // last line, real images against real images; nil if there is none
	Data        download
}

// group is a group of columns, which are closed at first.
type group struct {
	Name string
	N    int // number of metrics
}

// column is a column of a metric.
type column struct {
	Head, Below string
	First       string // order that puts better values first
	Group       string // group that opens the column; empty if the column is open
}

// Class returns the CSS class of the cells of a column.
func (c column) Class() string {
	if c.Group == "" {
		return ""
	}
	return "of-" + c.Group
}

// line is a row of a grid.
type line struct {
	Name   name
	Points []cell
	Cells  []cell
}

// name is the name of a row on the page.
type name struct {
	Text    string // short name
	Label   string // full name
	Href    string // link to the row's parameters, if the page has them
	Control bool
	SameAs  string // short name of an earlier row with the same trials
	Part    bool
	Notes   []int // indices of the notes about all its values
}

// cell is a value in two lines.
type cell struct {
	Value       string // value for sorting
	Text, Below string
	Marks       string
	Notes       []int
	Strong      bool
}

// groups are the groups of metrics in the order of the page, by the first part of a
// metric's name.
var groups = []struct {
	name string
	of   []string
}{
	{"alignment", []string{"alignment", "skipped", "judge"}},
	{"fidelity", []string{"fidelity", "diversity"}},
	{"distance", []string{"distance"}},
	{"reward", []string{"proxy", "embedder", "reward"}},
	{"other", nil},
}

func groupOf(metric string) string {
	first, _, _ := strings.Cut(metric, ".")
	for _, g := range groups {
		if slices.Contains(g.of, first) {
			return g.name
		}
	}
	return "other"
}

const (
	// mostPoints is the largest number of axes that have one column each. With more axes,
	// a row's values share one column.
	mostPoints = 3
	// room is the number of columns that fit beside the names in a window of 1,280
	// pixels.
	room = 9
)

// usual are the metrics that are open if there is room after those that a study declares.
var usual = []string{"fidelity.frechet", "distance.kl", "proxy", "diversity"}

// open chooses the metrics whose columns are open. beside is the number of other columns.
// Primary metrics come first and take two columns each, then the metrics that the study
// shows, then usual ones, then any.
func open(t *compare.Table, beside int) map[string]bool {
	out := map[string]bool{}
	left := room - beside
	add := func(name string) {
		m, ok := t.Metric(name)
		columns := 1
		if m.Primary {
			columns = 2
		}
		if ok && !out[name] && columns <= left {
			out[name] = true
			left -= columns
		}
	}
	for _, m := range t.Metrics {
		if m.Primary {
			add(m.Name)
		}
	}
	const metrics = 5
	next := slices.Concat(t.Show, usual)
	for _, m := range t.Metrics {
		next = append(next, m.Name)
	}
	for _, name := range next {
		if len(out) < metrics {
			add(name)
		}
	}
	return out
}

// axes returns the axes of a table's rows and the heads of their columns, which are the
// last parts of their names, or the whole names if two have the same last part. If there
// are many axes, there is only one column.
func axes(t *compare.Table) (paths, heads []string) {
	for _, r := range t.Rows {
		for _, v := range r.Point {
			if !slices.Contains(paths, v.Axis) {
				paths = append(paths, v.Axis)
			}
		}
	}
	if len(paths) > mostPoints {
		return nil, []string{"point"}
	}
	for _, path := range paths {
		head := path[strings.LastIndexByte(path, '.')+1:]
		if slices.Contains(heads, head) {
			return paths, paths
		}
		heads = append(heads, head)
	}
	return paths, heads
}

// points returns the cells of a row's axis values.
func points(r compare.Row, paths, heads []string) []cell {
	if len(heads) > len(paths) {
		r.Control = false // the row's name says that it is a control
		return []cell{{Text: format.Point(r)}}
	}
	out := make([]cell, len(paths))
	for _, v := range r.Point {
		out[slices.Index(paths, v.Axis)] = cell{Text: v.Value}
		if x, err := strconv.ParseFloat(v.Value, 64); err == nil {
			out[slices.Index(paths, v.Axis)].Value = fmt.Sprint(x)
		}
	}
	return out
}

// name returns the name of row i. If its point has its own columns, the name is only the
// arm.
func (v *view) name(i int, points bool) name {
	r := v.Table.Rows[i]
	n := name{Label: r.Label, Control: r.Control, Part: r.Part}
	r.Control = false
	n.Text = r.Arm
	if !points {
		n.Text = format.Brief(r)
	}
	if !v.Imported && i < len(v.Parameters) {
		n.Href = fmt.Sprintf("#row-%d", i)
	}
	if r.SameAs != "" {
		n.SameAs = v.Brief(r.SameAs)
	}
	if n.Control {
		if at := slices.IndexFunc(v.Table.Notes, func(n compare.Note) bool { return n.Kind == compare.Control }); at >= 0 {
			n.Notes = []int{at}
		}
	}
	return n
}

// Brief returns the short name of the row with a label.
func (v *view) Brief(label string) string {
	if i := v.index(label); i >= 0 {
		return format.Brief(v.Table.Rows[i])
	}
	return label
}

// Named returns the name of the row with a label.
func (v *view) Named(label string) name {
	if i := v.index(label); i >= 0 {
		return v.name(i, false)
	}
	return name{Text: label, Label: label}
}

func (v *view) index(label string) int {
	return slices.IndexFunc(v.Table.Rows, func(r compare.Row) bool { return r.Label == label })
}

// head returns the name of a metric and its better direction, with no line break between
// them.
func head(m compare.Metric) string {
	return strings.TrimSpace(m.Label + "\u00a0" + format.Arrow(m.Better))
}

// ordered returns metrics with the primary ones first.
func ordered(metrics []compare.Metric) []compare.Metric {
	out := slices.Clone(metrics)
	slices.SortStableFunc(out, func(a, b compare.Metric) int {
		return cmp.Compare(map[bool]int{false: 1}[a.Primary], map[bool]int{false: 1}[b.Primary])
	})
	return out
}

// first returns the order that puts better values first.
func first(better string) string {
	if better == "lower" {
		return "ascending"
	}
	return "descending"
}

// ablation returns the table of levels, with the differences of the primary metrics.
func (v *view) ablation() grid {
	t := v.Table
	g := grid{ID: "ablation", Heading: "table"}
	var paths []string
	paths, g.Points = axes(t)
	shown, metrics := open(t, len(g.Points)), ordered(t.Metrics)
	for _, m := range metrics {
		of := g.group(m, shown)
		g.Columns = append(g.Columns, column{Head: head(m), First: first(m.Better), Group: of})
		if m.Primary {
			g.Columns = append(g.Columns, column{Head: m.Label, Below: "difference", First: first(m.Better), Group: of})
		}
	}
	floor := make([]cell, 0, len(g.Columns))
	any := false
	for i, r := range t.Rows {
		l := line{Name: v.name(i, len(g.Points) > 0), Points: points(r, paths, g.Points)}
		for _, m := range metrics {
			l.Cells = append(l.Cells, v.level(m, r))
			if m.Primary {
				l.Cells = append(l.Cells, v.difference(m, r.Differences, r.Label == t.Reference || r.SameAs == t.Reference && !r.Part))
			}
		}
		g.Lines = append(g.Lines, l)
	}
	g.order()
	for _, m := range metrics {
		var c cell
		for _, r := range t.Rows {
			if f, ok := r.Cells[m.Real]; ok {
				c.Text, any = format.Number(m.Digits, f.Mean), true
				break
			}
		}
		if floor = append(floor, c); m.Primary {
			floor = append(floor, cell{})
		}
	}
	if any {
		g.Floor = floor
	}
	return g
}

// differences returns the table of differences from the reference and of contrasts.
func (v *view) differences() grid {
	t := v.Table
	g := grid{ID: "differences-table", Heading: "differences"}
	var paths []string
	paths, g.Points = axes(t)
	detect := slices.DeleteFunc(slices.Clone(t.Detect), func(d compare.Detect) bool { return d.Row == "" }) // there is no standard deviation yet
	shown := open(t, len(g.Points)+len(detect))
	tests := t.Family > 0 // otherwise there are no p values
	metrics := slices.DeleteFunc(ordered(t.Metrics), func(m compare.Metric) bool {
		of := func(d map[string]compare.Difference) bool { _, ok := d[m.Name]; return ok }
		return !slices.ContainsFunc(t.Rows, func(r compare.Row) bool { return of(r.Differences) }) &&
			!slices.ContainsFunc(t.Contrasts, func(c compare.Contrast) bool { return of(c.Differences) })
	})
	for _, m := range metrics {
		of := g.group(m, shown)
		g.Columns = append(g.Columns, column{Head: head(m), First: first(m.Better), Group: of})
		if m.Primary && tests {
			g.Columns = append(g.Columns, column{Head: "p", Below: "corrected", First: "ascending", Group: of})
		}
	}
	for _, d := range detect {
		g.Columns = append(g.Columns, column{Head: "seeds needed", Below: fmt.Sprintf("%s ±%g (have)", v.MetricLabel(d.Metric), d.Size), First: "ascending"})
	}
	g.order()
	add := func(n name, at []cell, of map[string]compare.Difference) {
		l := line{Name: n, Points: at}
		for _, m := range metrics {
			if l.Cells = append(l.Cells, v.difference(m, of, false)); m.Primary && tests {
				l.Cells = append(l.Cells, corrected(m, of))
			}
		}
		for _, d := range detect {
			l.Cells = append(l.Cells, needs(of[d.Metric]))
		}
		g.Lines = append(g.Lines, l)
	}
	for i, r := range t.Rows {
		if len(r.Differences) > 0 && r.SameAs == "" {
			add(v.name(i, len(g.Points) > 0), points(r, paths, g.Points), r.Differences)
		}
	}
	for _, c := range t.Contrasts {
		add(name{Text: v.Brief(c.A) + " − " + v.Brief(c.B), Label: c.A + " − " + c.B}, make([]cell, len(g.Points)), c.Differences)
	}
	return g
}

// group returns the group of a metric's columns, empty if they are open.
func (g *grid) group(m compare.Metric, shown map[string]bool) string {
	if shown[m.Name] {
		return ""
	}
	of := groupOf(m.Name)
	at := slices.IndexFunc(g.Groups, func(g group) bool { return g.Name == of })
	if at < 0 {
		at = len(g.Groups)
		g.Groups = append(g.Groups, group{Name: of})
	}
	g.Groups[at].N++
	return of
}

// order sorts the groups in the order of the page.
func (g *grid) order() {
	at := func(of group) int {
		for i, o := range groups {
			if o.name == of.Name {
				return i
			}
		}
		return len(groups)
	}
	slices.SortFunc(g.Groups, func(a, b group) int { return cmp.Compare(at(a), at(b)) })
}

// level returns the cell of a row's value of a metric.
func (v *view) level(m compare.Metric, r compare.Row) cell {
	c, ok := r.Cells[m.Name]
	switch {
	case r.Stopped != nil && m.Name == "proxy" && r.Stopped.Proxy != nil:
		return cell{Text: "stopped", Below: fmt.Sprintf("%s at step %d", format.Number(m.Digits, *r.Stopped.Proxy), r.Stopped.Step)}
	case r.Stopped != nil:
		return cell{Text: "stopped", Below: fmt.Sprintf("at step %d", r.Stopped.Step)}
	case !ok:
		return cell{Text: "no result"}
	}
	return cell{Value: fmt.Sprint(c.Mean), Text: format.Number(m.Digits, c.Mean), Below: format.Spread(m.Digits, c), Notes: v.particular(c.Notes), Strong: m.Best == r.Label}
}

// difference returns the cell of a row's difference in a metric.
func (v *view) difference(m compare.Metric, of map[string]compare.Difference, reference bool) cell {
	d, ok := of[m.Name]
	switch {
	case reference:
		return cell{Text: "reference"}
	case !ok:
		return cell{Text: "–"}
	}
	c := cell{Value: fmt.Sprint(d.Mean), Text: format.Signed(m.Digits, d.Mean), Below: format.ChangeSpread(m.Digits, d.Cell), Notes: v.particular(d.Notes), Strong: d.Significant}
	if d.Significant {
		c.Marks += " *"
	}
	if d.Equivalent {
		c.Marks += " ≈"
	}
	return c
}

// corrected returns the cell of the corrected test of a difference.
func corrected(m compare.Metric, of map[string]compare.Difference) cell {
	d, ok := of[m.Name]
	if !ok || d.PCorrected == nil {
		return cell{Text: "–"}
	}
	return cell{Value: fmt.Sprint(*d.PCorrected), Text: format.P(*d.PCorrected), Below: format.ChangeSpread(m.Digits, compare.Cell{Interval: d.Interval, Low: d.Corrected.Low, High: d.Corrected.High}), Strong: d.Significant}
}

// needs returns the cell of the number of seeds that a difference needs.
func needs(d compare.Difference) cell {
	c := cell{Text: format.Needs(d)}
	if d.Needs > 0 {
		c.Value = fmt.Sprint(d.Needs)
	}
	return c
}

// particular returns the notes that are about one value, and not about all values of a
// row or of a kind.
func (v *view) particular(notes []int) []int {
	return slices.DeleteFunc(slices.Clone(notes), func(i int) bool {
		n := v.Table.Notes[i]
		return n.Kind == compare.Control || !n.Single()
	})
}
