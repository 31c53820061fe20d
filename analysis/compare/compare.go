// Package compare computes the ablation table of a study from its tables (package table): a row
// for each arm and sweep point, and for each metric the mean over seeds with its 95% confidence
// interval, the difference from a reference arm, paired by seed, and the p value of that
// difference, corrected for multiple comparisons (Holm 1979). It also estimates the effects of
// swept axes, finds the Pareto front of two metrics, tests fine-tunings for over-optimization,
// and compares two tables (Diff). Package stats has the statistics.
//
// compare decides what is significant, and writes no sentences: a caveat on a value or on the
// table is a Note, which package format of reports puts into words.
package compare

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Level is the confidence level of every interval.
const Level = .95

// Options are the choices of a study that its ablation table depends on.
type Options struct {
	Reference string             // the arm that others are compared with; empty: the first arm
	Arms      []string           // all arms, in the order of the table; empty: the order of the trials
	Primary   []string           // metrics whose differences are tested for significance; empty: the variable Primary
	Contrasts [][2]string        // further pairs of rows to compare, by label: the first minus the second
	Sampled   bool               // prompts are a sample of a population, so that intervals are over prompts too; otherwise they are fixed
	Detect    map[string]float64 // by metric, the smallest difference that matters, in the metric's units
	Show      []string           // metrics that the short tables show in addition to their own
	Also      []string           // further metrics of the table, beyond those of Primary, Show and Detect
	Marks     map[string][]Note  // notes on all values of views, by name
	Damaged   map[string]bool    // names of views (a row's trial with one seed) whose results are damaged in the store
	Looks     []int              // numbers of seeds of the interim analyses (looks) of a sequential study; nil where the number of seeds is fixed
	Picks     []Pick             // arms of which one sweep point is selected by a metric
}

// Primary are the primary metrics of a study that names none.
var Primary = []string{"alignment", "fidelity.recall"}

// Table is an ablation table.
type Table struct {
	Reference string `json:"reference"` // label of the reference row
	Prompts   string `json:"prompts"`   // fixed or sampled: whether intervals are over seeds only, or over prompts too
	Answer    Answer `json:"answer"`
	// Pretrained is the label of the row of the pretrained model; absent where no row or
	// several rows are.
	Pretrained string            `json:"pretrained,omitempty"`
	Metrics    []Metric          `json:"metrics"`
	Rows       []Row             `json:"rows"`
	Contrasts  []Contrast        `json:"contrasts,omitempty"`
	Family     int               `json:"family"`  // number of comparisons that are corrected together, over rows and primary metrics
	Planned    int               `json:"planned"` // number of comparisons of primary metrics, tested or not yet; seeds needed are corrected for them
	Sweeps     []Sweep           `json:"sweeps,omitempty"`
	Front      *Front            `json:"front,omitempty"`
	Chosen     map[string]string `json:"chosen,omitempty"` // for each arm of which one point is selected, the label of that point
	// Looks are the numbers of seeds at the interim analyses of a sequential study. Intervals
	// and p values are valid at all of them together.
	Looks     []int        `json:"looks,omitempty"`
	Detect    []Detect     `json:"detect,omitempty"`
	Resolving []Resolution `json:"resolving,omitempty"`
	// OverOptimization is the test for over-optimization, from the probes during fine-tuning;
	// absent where there are none.
	OverOptimization *OverOptimization `json:"overOptimization,omitempty"`
	Show             []string          `json:"show,omitempty"` // metrics that the short tables show in addition to their own
	Notes            []Note            `json:"notes"`
}

// The roles of prompts in a study.
const (
	Fixed   = "fixed"   // results are for these prompts: intervals are over seeds
	Sampled = "sampled" // prompts are a sample of a population: intervals are over seeds and prompts
)

// Row is an arm of the study, or one point of an arm with a sweep.
type Row struct {
	Arm         string                `json:"arm"`
	Label       string                `json:"label"`           // "arm" or "arm[finetune.beta=0.5]"
	Point       []Value               `json:"point,omitempty"` // values of the swept axes
	Control     bool                  `json:"control,omitempty"`
	Candidate   bool                  `json:"candidate,omitempty"` // a point of an arm of which one is selected, over the seeds of the selection
	Picked      *Picked               `json:"picked,omitempty"`    // how the point of this row was selected
	Stopped     *Stopped              `json:"stopped,omitempty"`   // how the row was stopped early; absent for others
	Trials      []string              `json:"trials"`
	Seeds       []string              `json:"seeds"`              // one for each trial
	SameAs      string                `json:"sameAs,omitempty"`   // label of an earlier row that has all trials of this row
	Part        bool                  `json:"part,omitempty"`     // the row of sameAs has further trials, with other seeds
	Cells       map[string]Cell       `json:"cells"`              // by metric; absent where the row has no result
	Collapse    *Collapse             `json:"collapse,omitempty"` // share of seeds that collapsed against the reference; absent for the reference
	Differences map[string]Difference `json:"differences,omitempty"`

	models []string // by trial, artifact of the pretrained model that it starts from; empty where unknown
}

// Value is the value of a swept axis, as text.
type Value struct {
	Axis  string `json:"axis"`
	Value string `json:"value"`
}

// Name returns the row's label, followed by "(control)" for a control.
func (r Row) Name() string {
	if r.Control {
		return r.Label + " (control)"
	}
	return r.Label
}

// Model returns the artifact of the pretrained model that trial i of the row starts from, or ""
// where it is unknown.
func (r Row) Model(i int) string {
	if i < len(r.models) {
		return r.models[i]
	}
	return ""
}

// Has reports whether the row has a value of any metric for the seed.
func (r Row) Has(seed string) bool {
	for _, c := range r.Cells {
		if _, ok := c.Of(seed); ok {
			return true
		}
	}
	return false
}

// The sources of variation that an interval covers.
const (
	OverSeeds   = "seeds"
	OverBoth    = "seeds and prompts"
	OverPrompts = "prompts" // for these seeds only
	OverImages  = "images"  // for these seeds and prompts only
)

// Cell is an estimate of a metric, with its 95% confidence interval.
type Cell struct {
	// Mean is the mean over seeds, computed on the metric's scale (logit for shares, log for
	// positive metrics) and transformed back: the value of a typical seed.
	Mean     float64   `json:"mean"`
	Low      float64   `json:"low"`                // lower end of the 95% interval; equal to Mean where Interval is empty
	High     float64   `json:"high"`               // upper end
	Interval string    `json:"interval,omitempty"` // the sources of variation that the interval covers; absent where there is no interval
	Seeds    []string  `json:"seeds"`
	Values   []float64 `json:"values"`          // by seed, in the metric's units
	N        int       `json:"n"`               // number of independent seeds
	Images   int       `json:"images"`          // smallest number of samples of a value
	Notes    []int     `json:"notes,omitempty"` // indices into the table's notes
}

// Tested reports whether the cell's interval is over seeds.
func (c Cell) Tested() bool { return c.Interval == OverSeeds || c.Interval == OverBoth }

// Of returns the value of a seed, and false where the cell has none.
func (c Cell) Of(seed string) (float64, bool) {
	if i := slices.Index(c.Seeds, seed); i >= 0 {
		return c.Values[i], true
	}
	return 0, false
}

// Difference is a row's value minus that of another row, paired by seed. It is estimated on the
// metric's scale; Mean, Low and High are transformed to the metric's units at the value of the
// other row.
type Difference struct {
	Cell
	// P is the two-sided p value of no difference; absent without an interval over seeds.
	P *float64 `json:"p,omitempty"`
	// PCorrected is P after Holm's correction over all rows and primary metrics, and Corrected
	// the interval at the level of that correction. Both are absent for metrics that are not
	// primary.
	PCorrected  *float64 `json:"pCorrected,omitempty"`
	Corrected   *Bounds  `json:"corrected,omitempty"`
	Significant bool     `json:"significant,omitempty"` // PCorrected is below .05
	// Equivalent is true where both corrected one-sided tests (TOST) show that the difference
	// is smaller than the size that the study declares to matter (compare: detect).
	Equivalent bool `json:"equivalent,omitempty"`
	// Needs is the number of seeds that detects the declared size with 80% power at the
	// corrected level, averaged over the uncertainty of the standard deviation. It is 0 where
	// no size is declared, where no standard deviation is known, or where no number of seeds is
	// enough; MorePrompts is then the factor by which the number of prompts must grow.
	Needs       int     `json:"needs,omitempty"`
	MorePrompts float64 `json:"morePrompts,omitempty"`
	TooMany     bool    `json:"tooMany,omitempty"` // more seeds are needed than stats.MostSeeds, the largest number that is considered
	// State is the state of the comparison in a sequential study: decided, or open to more
	// seeds.
	State State `json:"state,omitempty"`
	// Outlier is the seed whose difference from the other row is an outlier (Grubbs' test at
	// 1%).
	Outlier string `json:"outlier,omitempty"`

	measured measured
	own      bool // the other row is 0 by definition, so that nothing is tested
}

func (d Difference) tested() bool { return d.Tested() && !d.own }

// Bounds are the ends of an interval.
type Bounds struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Contrast is a comparison that the study asks for: row A minus row B.
type Contrast struct {
	A           string                `json:"a"`
	B           string                `json:"b"`
	Differences map[string]Difference `json:"differences"`
}

// Ablation returns the ablation table of a study. trials is trials.arrow; samples has values by
// prompt and by image, nil where there are none. It fails where trials lacks a required column,
// or options name an unknown arm or row.
func Ablation(trials *table.Table, samples Samples, o Options) (*Table, error) {
	columns := map[string]*table.Column{}
	for _, c := range trials.Columns {
		columns[c.Name] = c
	}
	rows, err := group(trials)
	if err != nil {
		return nil, err
	}
	if len(o.Arms) > 0 {
		slices.SortStableFunc(rows, func(a, b *grouped) int {
			return cmp.Compare(slices.Index(o.Arms, a.arm), slices.Index(o.Arms, b.arm))
		})
	}
	axes, err := Axes(trials)
	if err != nil {
		return nil, err
	}
	if len(o.Primary) == 0 {
		o.Primary = Primary
	}
	b := &builder{t: &Table{Show: o.Show, Prompts: Fixed, Looks: o.Looks}, looks: stats.NewLooks(o.Looks), o: o, columns: columns, samples: samples, rows: rows, axes: axes}
	if o.Sampled {
		b.t.Prompts = Sampled
	}
	if err := b.metrics(trials); err != nil {
		return nil, err
	}
	b.picks()
	rows = b.rows
	reference := slices.IndexFunc(rows, func(r *grouped) bool { return o.Reference == "" || r.arm == o.Reference })
	if reference < 0 {
		return nil, fmt.Errorf("compare: there is no arm %q to use as the reference", o.Reference)
	}
	b.t.Reference = rows[reference].label
	first := map[string]int{} // by trial, index of the first row that has it
	for i, r := range rows {
		b.row(r, rows[reference], i != reference, first)
	}
	if err := b.contrasts(); err != nil {
		return nil, err
	}
	b.correct()
	b.best()
	for i, m := range b.t.Metrics {
		var cells []Cell
		for _, r := range b.t.Rows {
			if c, ok := r.Cells[m.Name]; ok {
				cells = append(cells, c)
			}
		}
		b.t.Metrics[i].Digits = m.digits(cells)
	}
	b.sweeps()
	b.front("fidelity.recall", "alignment")
	b.general()
	b.answer()
	return b.t, nil
}

type builder struct {
	t       *Table
	o       Options
	columns map[string]*table.Column // of trials
	samples Samples
	rows    []*grouped
	axes    map[string][]string // by arm
	looks   *stats.Looks
	least   int // if above 0, the number of samples that transforms of shares assume
	// sameImages: the images of two rows have the same prompts and noise, though single images
	// may be unknown.
	sameImages bool
	fewSeeds   string // what intervals that are not over seeds are over
	noSpread   bool   // some value has no interval at all
	absent     bool   // some row has no result
}

// grouped is a row of the ablation table as indices of its views, which are rows of trials.
type grouped struct {
	arm, label string
	control    bool
	views      []int // indices of rows of trials

	candidate bool    // a point of an arm of which one is selected
	reported  []int   // views that are reported if the point is selected
	picked    *Picked // for the row of the selected point, how it was selected
}

// group returns the rows of the ablation table in the order of trials.
func group(trials *table.Table) ([]*grouped, error) {
	arm, view, trial, control := trials.Column("arm"), trials.Column("view"), trials.Column("trial"), trials.Column("control")
	for _, c := range []*table.Column{arm, view, trial} {
		if c == nil || c.Kind != table.String {
			return nil, errors.New("trials: the columns arm, view and trial are needed, with text")
		}
	}
	if control != nil && control.Kind != table.Bool {
		return nil, errors.New("trials: column control must have the values true and false")
	}
	for _, name := range []string{"seed.pretraining", "seed.feedback"} {
		if c := trials.Column(name); c == nil || c.Kind != table.Int {
			return nil, fmt.Errorf("trials: the column %s is needed, with whole numbers", name)
		}
	}
	var rows []*grouped
	byLabel := map[string]*grouped{}
	for i, v := range view.Strings {
		// A view is named ROW@SEED, and a seed contains no @. The name of the view is the only
		// place in trials.arrow that has the label of its row.
		label := v
		if at := strings.LastIndexByte(v, '@'); at >= 0 {
			label = v[:at]
		}
		r := byLabel[label]
		if r == nil {
			r = &grouped{arm: arm.Strings[i], label: label, control: control != nil && control.Bools[i]}
			byLabel[label] = r
			rows = append(rows, r)
		}
		r.views = append(r.views, i)
	}
	if len(rows) == 0 {
		return nil, errors.New("trials: the table has no rows")
	}
	return rows, nil
}

func (b *builder) trial(view int) string { return b.columns["trial"].Strings[view] }

// model returns the artifact of the pretrained model that a trial starts from, or "" where it
// is unknown.
func (b *builder) model(view int) string {
	if c := b.columns[Model]; c != nil && c.Kind == table.String && c.Has(view) {
		return c.Strings[view]
	}
	return ""
}

func (b *builder) seed(view int) stats.Seed {
	return stats.Seed{Pretraining: b.columns["seed.pretraining"].Ints[view], Feedback: b.columns["seed.feedback"].Ints[view]}
}

// row appends a row to the table. A row whose trials all belong to an earlier row refers to it
// by SameAs, and is not tested again.
func (b *builder) row(r, reference *grouped, compared bool, first map[string]int) {
	row := Row{Arm: r.arm, Label: r.label, Point: b.point(r), Control: r.control, Candidate: r.candidate, Picked: r.picked, Cells: map[string]Cell{}}
	for _, v := range r.views {
		row.Trials, row.Seeds = append(row.Trials, b.trial(v)), append(row.Seeds, SeedName(b.seed(v)))
		row.models = append(row.models, b.model(v))
	}
	if i, ok := first[row.Trials[0]]; ok {
		if earlier := b.t.Rows[i]; !slices.ContainsFunc(row.Trials, func(id string) bool { return !slices.Contains(earlier.Trials, id) }) {
			row.SameAs, row.Part = earlier.Label, len(row.Trials) < len(earlier.Trials)
		}
	}
	for _, id := range row.Trials {
		if _, ok := first[id]; !ok {
			first[id] = len(b.t.Rows)
		}
	}
	if row.Stopped = b.stopped(r); row.Stopped != nil {
		b.t.Rows = append(b.t.Rows, row)
		return
	}
	// The row may be the reference itself, with some of its seeds.
	same := slices.ContainsFunc(r.views, func(v int) bool {
		return slices.ContainsFunc(reference.views, func(o int) bool { return b.trial(o) == b.trial(v) })
	})
	for _, m := range b.t.Metrics {
		c, ok := b.cell(m, r)
		if !ok {
			b.absent = true
			continue
		}
		caveats := b.caveats(m, r)
		c.Notes = append(c.Notes, caveats...)
		if m.Real != "" {
			if f, ok := b.cell(m.real(), r); ok {
				row.Cells[m.Real] = f
			}
		}
		if compared && !same {
			if mine, theirs, differ := b.counts(m, r.views, reference.views); differ {
				c.Notes = append(c.Notes, b.unequal(mine, theirs))
			} else if d, ok := b.difference(m, r, reference); ok {
				if row.Differences == nil {
					row.Differences = map[string]Difference{}
				}
				d.Notes = append(d.Notes, caveats...)
				row.Differences[m.Name] = d
			}
		}
		row.Cells[m.Name] = c
	}
	if compared && !same {
		row.Collapse = b.collapse(r, reference)
	}
	b.t.Rows = append(b.t.Rows, row)
}

// same returns the reason why a contrast of two rows shows nothing new: they have the same
// trials, or one repeats the reference. It returns "" where the contrast is new.
func (b *builder) same(x, y *grouped) string {
	of := func(r *grouped) string {
		for _, row := range b.t.Rows {
			if row.Label == r.label && row.SameAs != "" {
				return row.SameAs
			}
		}
		return r.label
	}
	switch a, c := of(x), of(y); {
	case a == c:
		return "the same trials"
	case a == b.t.Reference || c == b.t.Reference:
		return "a comparison with the reference, which the table has"
	}
	return ""
}

// contrasts adds the comparisons that the study asks for.
func (b *builder) contrasts() error {
	find := func(name string) (*grouped, error) {
		for _, r := range b.rows {
			if r.label == name {
				return r, nil
			}
		}
		return nil, fmt.Errorf("compare.contrasts: there is no row %q", name)
	}
	for _, pair := range b.o.Contrasts {
		x, err := find(pair[0])
		if err != nil {
			return err
		}
		y, err := find(pair[1])
		if err != nil {
			return err
		}
		if x.label == b.t.Reference || y.label == b.t.Reference {
			return fmt.Errorf("compare.contrasts: %q is the reference, with which every row is compared anyway: leave the pair out", b.t.Reference)
		}
		if same := b.same(x, y); same != "" {
			return fmt.Errorf("compare.contrasts: %q and %q are %s: name other rows", x.label, y.label, same)
		}
		c := Contrast{A: x.label, B: y.label, Differences: map[string]Difference{}}
		for _, m := range b.t.Metrics {
			if _, _, differ := b.counts(m, x.views, y.views); differ {
				continue
			}
			if d, ok := b.difference(m, x, y); ok {
				c.Differences[m.Name] = d
			}
		}
		b.t.Contrasts = append(b.t.Contrasts, c)
	}
	return nil
}
