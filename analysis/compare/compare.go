// Package compare turns a study's tables into its ablation table: a row for each arm
// and point, a cell for each metric with the interval that its seeds allow, and
// the paired difference from a reference arm. It decides what is significant; it words
// nothing: what a reader must know beside a value is a Note.
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

// Options of an ablation table.
type Options struct {
	Reference string             // the arm that others are compared with; the first arm where empty
	Arms      []string           // the order of all arms; empty: that of the trials
	Primary   []string           // metrics whose differences are tested for significance; see Primary
	Contrasts [][2]string        // pairs of rows to compare beside those with the reference, by label: the first minus the second
	Sampled   bool               // prompts stand for other prompts; otherwise they are the question
	Detect    map[string]float64 // by metric, the size of a difference that matters
	Show      []string           // metrics that the short tables have beside their own
	Also      []string           // further metrics; those of Primary, Show and Detect need not be named
	Damaged   map[string]bool    // views whose values are damaged in the store
	Looks     []int              // numbers of seeds at which the study is tested while it runs; nil where the number is fixed
	Picks     []Pick             // arms of which one point is chosen
}

// Primary are the metrics that are primary where a study names none.
var Primary = []string{"alignment", "fidelity.recall"}

// Table is an ablation table.
type Table struct {
	Reference string `json:"reference"` // label of the reference row
	Prompts   string `json:"prompts"`   // what they are to the study: fixed or sampled
	Answer    Answer `json:"answer"`
	// Pretrained is the label of the row of the pretrained model, if the study has just one.
	Pretrained string            `json:"pretrained,omitempty"`
	Metrics    []Metric          `json:"metrics"`
	Rows       []Row             `json:"rows"`
	Contrasts  []Contrast        `json:"contrasts,omitempty"`
	Family     int               `json:"family"`  // comparisons that are corrected together, over rows and primary metrics
	Planned    int               `json:"planned"` // comparisons of primary metrics, tested or not yet; seeds needed are corrected for them
	Sweeps     []Sweep           `json:"sweeps,omitempty"`
	Front      *Front            `json:"front,omitempty"`
	Chosen     map[string]string `json:"chosen,omitempty"` // by arm of which one point is chosen, the label of that point
	// Looks are the numbers of seeds at which the study is tested while it runs: intervals
	// and p values hold over all of them.
	Looks     []int        `json:"looks,omitempty"`
	Detect    []Detect     `json:"detect,omitempty"`
	Resolving []Resolution `json:"resolving,omitempty"`
	// OverOptimization is the test of the probes of fine-tunings; nil where there are none.
	OverOptimization *OverOptimization `json:"overOptimization,omitempty"`
	Show             []string          `json:"show,omitempty"` // metrics that the short tables have beside their own
	Notes            []Note            `json:"notes"`
}

// What prompts are to a study.
const (
	Fixed   = "fixed"   // the question: intervals are over seeds
	Sampled = "sampled" // a sample of others: intervals are over seeds and prompts
)

// Row is an arm, or one point of it.
type Row struct {
	Arm         string                `json:"arm"`
	Label       string                `json:"label"`           // "arm" or "arm[finetune.beta=0.5]"
	Point       []Value               `json:"point,omitempty"` // its values on the axes of the arm
	Control     bool                  `json:"control,omitempty"`
	Candidate   bool                  `json:"candidate,omitempty"` // a point of an arm of which one is chosen, on the seeds of the choice
	Picked      *Picked               `json:"picked,omitempty"`    // how the point of this row was chosen
	Trials      []string              `json:"trials"`
	Seeds       []string              `json:"seeds"`              // of the trials
	SameAs      string                `json:"sameAs,omitempty"`   // label of an earlier row that has all its trials
	Part        bool                  `json:"part,omitempty"`     // that row has more of them, of other seeds
	Cells       map[string]Cell       `json:"cells"`              // by metric; absent where there is no result
	Collapse    *Collapse             `json:"collapse,omitempty"` // absent for the reference
	Differences map[string]Difference `json:"differences,omitempty"`

	models []string // artifacts of the pretrained models that the trials begin with; empty where they are not known
}

// Value is a value on an axis, as text.
type Value struct {
	Axis  string `json:"axis"`
	Value string `json:"value"`
}

// Name is a row's label, marked where the row is a control.
func (r Row) Name() string {
	if r.Control {
		return r.Label + " (control)"
	}
	return r.Label
}

// Model is the artifact of the pretrained model that trial i of the row begins with; empty
// where it is not known.
func (r Row) Model(i int) string {
	if i < len(r.models) {
		return r.models[i]
	}
	return ""
}

// Has reports whether a row has any value of a seed.
func (r Row) Has(seed string) bool {
	for _, c := range r.Cells {
		if _, ok := c.Of(seed); ok {
			return true
		}
	}
	return false
}

// The levels that an interval is over.
const (
	OverSeeds   = "seeds"
	OverBoth    = "seeds and prompts"
	OverPrompts = "prompts" // for these seeds only
	OverImages  = "images"  // for these seeds and prompts only
)

// Cell is an estimate of a metric.
type Cell struct {
	// Mean is the mean over seeds, taken on the metric's scale and transformed back:
	// the value of a typical seed.
	Mean     float64   `json:"mean"`
	Low      float64   `json:"low"` // of the 95% interval; equal to High where Interval is empty
	High     float64   `json:"high"`
	Interval string    `json:"interval,omitempty"` // the levels that it is over; empty: there is none
	Seeds    []string  `json:"seeds"`
	Values   []float64 `json:"values"`          // one for each seed, in the metric's units
	N        int       `json:"n"`               // independent seeds
	Images   int       `json:"images"`          // the smallest number of samples behind a value
	Notes    []int     `json:"notes,omitempty"` // indices of Table.Notes
}

// Tested reports whether the cell has an interval over seeds.
func (c Cell) Tested() bool { return c.Interval == OverSeeds || c.Interval == OverBoth }

// Of is the value of a seed.
func (c Cell) Of(seed string) (float64, bool) {
	if i := slices.Index(c.Seeds, seed); i >= 0 {
		return c.Values[i], true
	}
	return 0, false
}

// Difference is a row's value less that of another, seed by seed. It is taken on the
// metric's scale; Mean, Low and High are in the metric's units, at the value of the
// other row.
type Difference struct {
	Cell
	// P is the two-sided p value; absent without an interval over seeds.
	P *float64 `json:"p,omitempty"`
	// PCorrected is P corrected by Holm over all rows and primary metrics, and Corrected
	// the interval at the level of that correction. Both are absent where the metric is
	// not primary.
	PCorrected  *float64 `json:"pCorrected,omitempty"`
	Corrected   *Bounds  `json:"corrected,omitempty"`
	Significant bool     `json:"significant,omitempty"` // PCorrected is below .05
	// Equivalent: both corrected one-sided tests show that the difference is smaller than
	// the size that the study declares to matter (compare: detect).
	Equivalent bool `json:"equivalent,omitempty"`
	// Needs is the number of seeds that would find the declared size with 80% power at the
	// corrected level, on average over what the true standard deviation may be after the
	// seeds so far; 0 where no size is declared or no standard deviation seen, or where no
	// number of seeds is enough: MorePrompts is then by how many times the prompts must be
	// more.
	Needs       int     `json:"needs,omitempty"`
	MorePrompts float64 `json:"morePrompts,omitempty"`
	TooMany     bool    `json:"tooMany,omitempty"` // more than stats.MostSeeds are needed
	// State says, of a study that is tested while it runs, whether more seeds may settle the
	// comparison.
	State State `json:"state,omitempty"`
	// Outlier is the seed whose difference is an outlier among those of the row (Grubbs' test).
	Outlier string `json:"outlier,omitempty"`

	measured measured
	own      bool // the other row is 0 by definition: nothing is tested
}

// tested reports whether a difference is tested.
func (d Difference) tested() bool { return d.Tested() && !d.own }

// Bounds are those of an interval.
type Bounds struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Contrast is a pair of rows that the study asks to compare.
type Contrast struct {
	A           string                `json:"a"`
	B           string                `json:"b"`
	Differences map[string]Difference `json:"differences"`
}

// Ablation makes the ablation table of a study's trials. Values by prompt and by image
// come from samples; nil where there are none.
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
	if err := b.metrics(); err != nil {
		return nil, err
	}
	b.picks()
	rows = b.rows
	reference := slices.IndexFunc(rows, func(r *grouped) bool { return o.Reference == "" || r.arm == o.Reference })
	if reference < 0 {
		return nil, fmt.Errorf("compare: there is no arm %q to compare with", o.Reference)
	}
	b.t.Reference = rows[reference].label
	first := map[string]int{} // the first row of a trial
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
	least   int // where it is above 0, the number of samples that shares are taken to the scale with
	// sameImages: two rows have images of the same prompts and noise, though these may not be
	// known one by one.
	sameImages bool
	fewSeeds   string // the level of intervals that are not over seeds
	noSpread   bool   // some value has no interval at all
	absent     bool   // some row has no result
}

// grouped are the views of one row.
type grouped struct {
	arm, label string
	control    bool
	views      []int // rows of trials

	candidate bool    // a point of which one is chosen
	reported  []int   // views that it has if it is chosen
	picked    *Picked // how it was chosen, of an arm's row
}

// group collects the rows of the ablation table in the order of the study.
func group(trials *table.Table) ([]*grouped, error) {
	arm, view, trial, control := trials.Column("arm"), trials.Column("view"), trials.Column("trial"), trials.Column("control")
	for _, c := range []*table.Column{arm, view, trial} {
		if c == nil || c.Kind != table.String {
			return nil, errors.New("trials: want the columns arm, view and trial")
		}
	}
	if control != nil && control.Kind != table.Bool {
		return nil, errors.New("trials: column control is neither true nor false")
	}
	for _, name := range []string{"seed.pretraining", "seed.feedback"} {
		if c := trials.Column(name); c == nil || c.Kind != table.Int {
			return nil, fmt.Errorf("trials: want the column %s", name)
		}
	}
	var rows []*grouped
	byLabel := map[string]*grouped{}
	for i, v := range view.Strings {
		// A view is named after its row and its seed, neither of which has an @ in the place of
		// this one: it is the only name that trials.arrow has of a row.
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
		return nil, errors.New("trials: there is no trial")
	}
	return rows, nil
}

func (b *builder) trial(view int) string { return b.columns["trial"].Strings[view] }

// model is the pretrained model that a trial begins with; empty where it is not known.
func (b *builder) model(view int) string {
	if c := b.columns[Model]; c != nil && c.Kind == table.String && c.Has(view) {
		return c.Strings[view]
	}
	return ""
}

func (b *builder) seed(view int) stats.Seed {
	return stats.Seed{Pretraining: b.columns["seed.pretraining"].Ints[view], Feedback: b.columns["seed.feedback"].Ints[view]}
}

// row makes a row of the table. A row whose trials are all another's repeats that row:
// it is named after it, and no comparison is made twice.
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
	// The reference itself, on any of its seeds.
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

// same is the reason why a contrast of two rows shows nothing new: they are the same
// trials, or one repeats the reference. It is empty where there is none.
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

// contrasts makes the comparisons that the study asks for.
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
