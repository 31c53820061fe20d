package compare

import (
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Side is one of the two studies that a Diff compares.
type Side struct {
	Name       string
	Trials     *table.Table // columns as in trials.arrow; a baseline's have neither parameters nor artifacts
	Samples    *table.Table // columns as in samples.arrow, or as NewSums takes; nil where there are none
	Parameters []string     // columns of Trials that are parameters of trials; nil where parameters are unknown
}

// Diff compares the rows of two tables that have the same name: A minus B.
//
// Rows are paired by seed where the trials of a seed are the same trial, or start from the same
// pretrained model. Other rows are compared as independent samples (Welch 1947), because trials
// of equal seeds on different models have hardly any noise in common. Differences are otherwise
// those of the ablation table: on the metric's scale, over the sources of variation that A
// declares, corrected by Holm over rows and A's primary metrics. Standard deviations are
// moderated over rows that are paired, but not over unpaired rows: these share the noise of
// each side's pretrained models, so that they add little information on each other's standard
// deviations.
type Diff struct {
	A       string    `json:"a"`
	B       string    `json:"b"`
	Prompts string    `json:"prompts"` // Fixed or Sampled
	Metrics []Metric  `json:"metrics"` // metrics of both tables
	Rows    []DiffRow `json:"rows"`    // rows of both tables, in the order of A
	OnlyA   []string  `json:"onlyA"`   // labels of the rows that only A has
	OnlyB   []string  `json:"onlyB"`   // labels of the rows that only B has
	Family  int       `json:"family"`  // number of comparisons that are corrected together
	// Known is true where the parameters of both tables are known.
	Known bool `json:"known"`
	// Actions are the stages of common rows whose keys differ; null where keys are unknown.
	Actions []Action `json:"actions"`
	Notes   []Note   `json:"notes"`
}

// The relations between the trials of two rows of the same name.
const (
	SameTrials = "trials"     // equal seeds are the same trial
	SameModel  = "pretrained" // equal seeds start from the same pretrained model
	Nothing    = "nothing"    // no two trials are known to start from the same pretrained model
)

// DiffRow compares the rows of one name in two tables.
type DiffRow struct {
	Row     string  `json:"row"` // label
	Arm     string  `json:"arm"`
	Point   []Value `json:"point,omitempty"` // its values on the swept axes of A's arm
	Control bool    `json:"control,omitempty"`
	Shares  string  `json:"shares"` // what equal seeds share: trials, pretrained (models) or nothing; rows are paired by seed except for nothing
	// Same is true where trials, artifacts and values are the same on all seeds that both rows
	// have, so that there is nothing to test.
	Same     bool                 `json:"same"`
	SameAs   string               `json:"sameAs,omitempty"` // label of an earlier row that has the same trials on both sides
	Settings []Setting            `json:"settings,omitempty"`
	Values   map[string]DiffValue `json:"values"` // by metric
}

// Setting is a parameter in which two rows differ; a value is empty where its row does not use
// the parameter.
type Setting struct {
	Path string `json:"path"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Action is a stage of common rows whose keys differ.
type Action struct {
	Stage string   `json:"stage"`
	Rows  []string `json:"rows"`
	Only  string   `json:"only,omitempty"` // the table, A or B, whose rows alone have the stage
	// Settings are the lines of the stage's keys that differ; absent where only the stage's
	// inputs changed.
	Settings []Setting `json:"settings,omitempty"`
}

// DiffValue is a metric of two rows, over the seeds that the difference uses, so that the
// difference is the mean of A minus the mean of B.
type DiffValue struct {
	A Cell `json:"a"`
	B Cell `json:"b"`
	// Difference is null where the metric depends on the number of samples and the rows have
	// different numbers.
	Difference *Difference `json:"difference"`
}

// NewDiff compares two tables. The options are those of A; Contrasts, Reference and Damaged are
// not used. It fails where a table lacks a required column or has no rows, where no row is in
// both, or where a metric is better higher in one and lower in the other.
func NewDiff(a, b Side, o Options) (*Diff, error) {
	for _, s := range []Side{a, b} {
		if s.Trials.Rows() == 0 {
			return nil, fmt.Errorf("%s has no trials", s.Name)
		}
	}
	rowsA, err := group(a.Trials)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	rowsB, err := group(b.Trials)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	for _, r := range rowsB {
		for i := range r.views {
			r.views[i] += a.Trials.Rows()
		}
	}
	trials, err := stack(a, b)
	if err != nil {
		return nil, err
	}
	x := &differ{a: a, b: b, builder: &builder{t: &Table{Prompts: Fixed}, looks: stats.NewLooks(o.Looks), o: o, columns: map[string]*table.Column{}}}
	for _, c := range trials.Columns {
		x.columns[c.Name] = c
		if strings.HasPrefix(c.Name, "artifact.") && c.Kind == table.String {
			x.artifacts = append(x.artifacts, c.Name)
		}
	}
	if x.samples, err = stacked(a.Samples, b.Samples); err != nil {
		return nil, err
	}
	if x.axes, err = Axes(a.Trials); err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	if len(x.o.Primary) == 0 {
		x.o.Primary = Primary
	}
	if o.Sampled {
		x.t.Prompts = Sampled
	}
	if err := x.metrics(trials); err != nil {
		return nil, err
	}
	d := &Diff{A: a.Name, B: b.Name, Prompts: x.t.Prompts, Rows: []DiffRow{}, OnlyA: []string{}, OnlyB: []string{}, Known: a.Parameters != nil && b.Parameters != nil}
	byLabel, both := map[string]*grouped{}, map[string]bool{}
	for _, r := range rowsB {
		byLabel[r.label] = r
	}
	first := map[string]string{} // by the trials of a row, label of the first row that has them
	for _, r := range rowsA {
		other, ok := byLabel[r.label]
		if !ok {
			d.OnlyA = append(d.OnlyA, r.label)
			continue
		}
		both[r.label] = true
		row := x.both(r, other)
		key := x.key(r) + "|" + x.key(other)
		if row.SameAs = first[key]; row.SameAs == "" {
			first[key] = r.label
		}
		if row.SameAs == "" && (stoppedAt(a.Trials, r.views[0]) || stoppedAt(b.Trials, other.views[0]-a.Trials.Rows())) {
			x.stopped++
		}
		d.Rows = append(d.Rows, row)
	}
	for _, r := range rowsB {
		if !both[r.label] {
			d.OnlyB = append(d.OnlyB, r.label)
		}
	}
	if len(d.Rows) == 0 {
		return nil, fmt.Errorf("the tables have no row in common: %s has %s, and %s has %s", a.Name, strings.Join(d.OnlyA, ", "), b.Name, strings.Join(d.OnlyB, ", "))
	}
	d.Family = x.test(d.Rows)
	x.general()
	for i, m := range x.t.Metrics {
		var cells []Cell
		for _, r := range d.Rows {
			if v, ok := r.Values[m.Name]; ok {
				cells = append(cells, v.A, v.B)
			}
		}
		x.t.Metrics[i].Digits = m.digits(cells)
	}
	d.Metrics, d.Notes = x.t.Metrics, x.t.Notes
	return d, nil
}

// differ is a builder over the views of both sides, A's first.
type differ struct {
	*builder
	a, b      Side
	artifacts []string // names of the columns of artifacts
	stopped   int      // number of common rows that were stopped early on a side: comparisons that were not made (see Stopped)
}

// stoppedAt reports whether the row of a view was stopped early.
func stoppedAt(t *table.Table, view int) bool {
	c := t.Column(StoppedColumn)
	return c != nil && c.Kind == table.Int && c.Has(view)
}

// key returns the trials of a row as one text.
func (x *differ) key(r *grouped) string {
	var ids []string
	for _, v := range r.views {
		ids = append(ids, x.trial(v))
	}
	return strings.Join(ids, " ")
}

// id returns the trial of a view, without the prefix of its side.
func (x *differ) id(view int) string { return x.trial(view)[len(sideA):] }

// both compares two rows of the same name.
func (x *differ) both(r, o *grouped) DiffRow {
	out := DiffRow{Row: r.label, Arm: r.arm, Point: x.point(r), Control: r.control, Settings: x.settings(r, o), Values: map[string]DiffValue{}}
	a, b := *r, *o
	if a.views, b.views, out.Shares = x.paired(r, o); a.views == nil {
		a.views, b.views = r.views, o.views
	}
	out.Same = out.Shares == SameTrials && x.identical(a, b)
	x.sameImages = out.Shares != Nothing
	for _, m := range x.t.Metrics {
		va, okA := x.cell(m, &a)
		vb, okB := x.cell(m, &b)
		if !okA || !okB {
			continue
		}
		v := DiffValue{A: va, B: vb}
		if na, nb, unequal := x.unequalCounts(m, &a, &b, va, vb); unequal {
			v.A.Notes = append(v.A.Notes, x.unequal(na, nb))
			out.Values[m.Name] = v
			continue
		}
		var d Difference
		var ok bool
		if out.Shares == Nothing {
			d, ok = x.apart(m, &a, &b)
		} else {
			d, ok = x.difference(m, &a, &b)
		}
		if !ok {
			continue
		}
		d.Notes = append(d.Notes, x.caveats(m, r)...)
		if out.Shares != Nothing && !d.own {
			// Cells over the seeds of the difference, so that A − B is the difference.
			v.A, v.B = x.over(m, &a, d), x.over(m, &b, d)
		}
		if !d.own {
			v.A.Mean, v.B.Mean = d.measured.of(d.measured.base+d.measured.Mean, false), d.measured.of(d.measured.base, false)
		}
		v.Difference = &d
		out.Values[m.Name] = v
	}
	return out
}

// paired returns the views of two rows that form pairs, a[i] with b[i], and what the pairs
// share. a is nil where no trials share more than a seed.
func (x *differ) paired(r, o *grouped) (a, b []int, shares string) {
	shares = SameTrials
	for _, v := range r.views {
		for _, w := range o.views {
			if x.seed(v) != x.seed(w) {
				continue
			}
			switch {
			case x.id(v) == x.id(w):
			case x.model(v) != "" && x.model(v) == x.model(w):
				shares = SameModel
			default:
				continue
			}
			a, b = append(a, v), append(b, w)
		}
	}
	if a == nil {
		return nil, nil, Nothing
	}
	return a, b, shares
}

// Model is the name of the column of trials.arrow with the artifact of the pretrained model.
const Model = "artifact.pretrain"

// identical reports whether pairs of views have the same artifacts and values. The id of a
// trial does not depend on the code that ran it, the device, or the bytes of a checkpoint that
// it adopts. Changes of these show in the artifacts, which a baseline lacks, and in the values.
func (x *differ) identical(a, b grouped) bool {
	for k, v := range a.views {
		w := b.views[k]
		for _, name := range x.artifacts {
			if c := x.columns[name]; c.Has(v) && c.Has(w) && c.Strings[v] != c.Strings[w] {
				return false
			}
		}
		for _, m := range x.t.Metrics {
			if c := x.columns[m.Name]; has(c, v) != has(c, w) || has(c, v) && c.Floats[v] != c.Floats[w] {
				return false
			}
		}
	}
	return true
}

// settings returns the parameters in which two rows differ, nil where parameters are unknown.
func (x *differ) settings(r, o *grouped) []Setting {
	if x.a.Parameters == nil || x.b.Parameters == nil {
		return nil
	}
	text := func(s Side, name string, view int) string {
		if c := s.Trials.Column(name); c != nil && c.Has(view) {
			return valueText(c.Value(view))
		}
		return ""
	}
	names := slices.Clone(x.a.Parameters)
	for _, name := range x.b.Parameters {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var out []Setting
	for _, name := range names {
		s := Setting{name, text(x.a, name, r.views[0]), text(x.b, name, o.views[0]-x.a.Trials.Rows())}
		if s.A != s.B {
			out = append(out, s)
		}
	}
	return out
}

// over returns the cell of a row over the seeds of a difference.
func (x *differ) over(m Metric, r *grouped, d Difference) Cell {
	cut := *r
	cut.views = slices.DeleteFunc(slices.Clone(r.views), func(v int) bool { return !slices.Contains(d.measured.seeds, x.seed(v)) })
	c, _ := x.cell(m, &cut)
	return c
}

// unequalCounts returns the numbers of samples of two rows, and true where they differ and the
// metric depends on them.
func (x *differ) unequalCounts(m Metric, a, b *grouped, va, vb Cell) (mine, theirs int, differ bool) {
	if mine, theirs, differ = x.counts(m, a.views, b.views); differ {
		return mine, theirs, true
	}
	return va.Images, vb.Images, m.Depends == "n" && va.Images != vb.Images && va.Images > 0 && vb.Images > 0
}

// apart returns a metric of row a minus that of row b, whose trials share nothing: an unpaired
// difference.
func (x *differ) apart(m Metric, a, b *grouped) (Difference, bool) {
	if x.zero(m, b) {
		return x.builder.difference(m, a, b)
	}
	da, okA := x.measure(m, []term{{a, 1}}, nil)
	db, okB := x.measure(m, []term{{b, 1}}, nil)
	if !okA || !okB {
		return Difference{}, false
	}
	if n := min(da.samples, db.samples); da.scale != db.scale || da.samples != db.samples {
		// Both rows need one scale and one number of samples; otherwise equal shares would
		// differ.
		if da.scale != db.scale {
			m.Range = ""
		}
		x.least = n
		da, _ = x.measure(m, []term{{a, 1}}, nil)
		db, _ = x.measure(m, []term{{b, 1}}, nil)
		x.least = 0
	}
	d := measured{scale: da.scale, samples: da.samples, images: min(da.images, db.images), apart: true}
	d.at(db)
	switch {
	case da.tested() && db.tested():
		d.Estimate, d.level = stats.Apart(da.Estimate, db.Estimate), OverSeeds
		if d.Prompts > 0 {
			d.level = OverBoth
		}
	default:
		d.Mean, d.N, d.DF = da.Mean-db.Mean, min(da.N, db.N), normal
		if da.Floor > 0 && db.Floor > 0 {
			d.Floor, d.level = da.Floor+db.Floor, OverImages
		}
	}
	return Difference{Cell: x.show(d, true), measured: d}, true
}

// test tests all differences, with standard deviations of paired rows moderated, and corrects
// the tests of all rows and primary metrics as one family, whose size it returns. Rows with
// identical results and rows that repeat another row are left out; rows that were stopped early count.
func (x *differ) test(rows []DiffRow) int {
	var family []*Difference
	var metrics []string
	for _, m := range x.t.Metrics {
		pools := map[stats.Scale][]*measured{} // of paired rows
		var all []*Difference
		for _, r := range rows {
			d := r.Values[m.Name].Difference
			if d == nil || !d.tested() || r.Same || r.SameAs != "" {
				continue
			}
			if all = append(all, d); r.Shares != Nothing {
				pools[d.measured.scale] = append(pools[d.measured.scale], &d.measured)
			}
		}
		for _, of := range pools {
			moderate(of)
			if len(of) > 1 {
				x.note(Note{Kind: Moderated})
			}
		}
		for _, d := range all {
			if d.measured.SE() == 0 {
				d.Interval = ""
				continue
			}
			p, bounds := d.measured.P(0), d.measured.interval(Level, true)
			d.P, d.Low, d.High = &p, bounds.Low, bounds.High
			if d.N <= 5 {
				d.Notes = append(d.Notes, x.note(Note{Kind: FewPairs, N: d.N, Share: stats.SmallestSignP(d.N)}))
			}
			if m.Primary {
				family, metrics = append(family, d), append(metrics, m.Name)
			}
		}
	}
	untested := 0
	for _, m := range x.t.Metrics {
		if m.Primary {
			untested += x.stopped
		}
	}
	x.holm(family, metrics, untested)
	index := map[string]int{}
	for i, r := range rows {
		if index[r.Row] = i; r.SameAs != "" {
			r.Values = rows[index[r.SameAs]].Values
			rows[i] = r
		}
	}
	if len(family) == 0 {
		return 0
	}
	return len(family) + untested
}

// The prefixes of the trials of each side, because both sides may have the same trial.
const sideA, sideB = "a ", "b "

// stack concatenates the trials of both sides, in the columns that both have.
func stack(a, b Side) (*table.Table, error) {
	out := below(a.Trials, b.Trials)
	for _, c := range out.Columns {
		before, after := a.Trials.Column(c.Name), b.Trials.Column(c.Name)
		if before.Better != after.Better && before.Better != "" && after.Better != "" {
			return nil, fmt.Errorf("in %s %s is better %s, and in %s %s: declare the same in both", a.Name, c.Name, before.Better, b.Name, after.Better)
		}
		if after.Range == table.Mean && before.Range == table.Share { // of two golds
			c.Range = table.Mean // which holds for shares, too
		}
	}
	return out, nil
}

// stacked concatenates the samples of both sides; nil where they are of different kinds.
func stacked(a, b *table.Table) (Samples, error) {
	if a == nil || b == nil {
		return nil, nil
	}
	switch out := below(a, b); {
	case out.Column("verdict") != nil:
		return NewImages(out)
	case out.Column("sum") != nil:
		return NewSums(out)
	}
	return nil, nil
}

// below concatenates the rows of two tables in the columns that both have, and prefixes the
// trials with their sides.
func below(a, b *table.Table) *table.Table {
	out := &table.Table{}
	for _, x := range a.Columns {
		y := b.Column(x.Name)
		if y == nil || y.Kind != x.Kind {
			continue
		}
		c := *x
		c.Strings, c.Floats, c.Ints, c.Bools = slices.Concat(x.Strings, y.Strings), slices.Concat(x.Floats, y.Floats), slices.Concat(x.Ints, y.Ints), slices.Concat(x.Bools, y.Bools)
		if c.Valid = nil; x.Valid != nil || y.Valid != nil {
			for _, s := range []struct {
				c *table.Column
				n int
			}{{x, a.Rows()}, {y, b.Rows()}} {
				for i := range s.n {
					c.Valid = append(c.Valid, s.c.Has(i))
				}
			}
		}
		if c.Name == "trial" && c.Kind == table.String {
			for i := range c.Strings {
				side := sideA
				if i >= a.Rows() {
					side = sideB
				}
				c.Strings[i] = side + c.Strings[i]
			}
		}
		out.Columns = append(out.Columns, &c)
	}
	return out
}
