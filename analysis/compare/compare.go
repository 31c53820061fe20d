// Package compare turns a study's tables into its ablation table: a row an arm
// and point, a cell a metric, each with the interval that its seeds allow, and
// the paired difference to a reference arm. It decides and prints nothing;
// warnings are footnotes.
package compare

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Options of an ablation table.
type Options struct {
	Reference string // the arm that others are compared with; the first arm where empty
	Resamples int    // of the bootstrap; 0 means 1,000
}

// Table is an ablation table.
type Table struct {
	Reference string   `json:"reference"` // label of the reference row
	Metrics   []Metric `json:"metrics"`
	Rows      []Row    `json:"rows"`
	Footnotes []string `json:"footnotes"`
}

// Metric is a column of the table.
type Metric struct {
	Name   string `json:"name"`
	Label  string `json:"label"`
	Unit   string `json:"unit,omitempty"`
	Better string `json:"better,omitempty"` // higher, lower or empty
	Real   string `json:"real,omitempty"`   // the metric that is this one of real against real
}

// Row is an arm, or one point of it.
type Row struct {
	Arm         string          `json:"arm"`
	Label       string          `json:"label"` // "arm" or "arm[finetune.beta=0.5]"
	Control     bool            `json:"control,omitempty"`
	Trials      []string        `json:"trials"`
	SameAs      string          `json:"sameAs,omitempty"` // label of an earlier row with the same trials
	Cells       map[string]Cell `json:"cells"`            // by metric; absent where there is no result
	Differences map[string]Cell `json:"differences,omitempty"`
}

// Interval kinds of a cell.
const (
	OverSeeds   = "seeds"
	OverPrompts = "prompts" // for these seeds only
)

// Cell is a figure. A difference is the row's value less the reference's, seed
// by seed.
type Cell struct {
	Mean     float64   `json:"mean"`
	Low      float64   `json:"low"` // of the 95% interval; equal to High where Interval is empty
	High     float64   `json:"high"`
	Interval string    `json:"interval,omitempty"` // OverSeeds, OverPrompts, or empty: none is drawn
	Seeds    []string  `json:"seeds"`
	Values   []float64 `json:"values"` // one a seed
	N        int       `json:"n"`      // independent seeds
	Images   int       `json:"images"` // the smallest number of samples that a value stands on
	Resolved bool      `json:"resolved,omitempty"`
	Notes    []int     `json:"notes,omitempty"` // indices of footnotes
}

// Shown are the metrics of the ablation table, in its order.
var Shown = []Metric{
	{Name: "alignment", Label: "alignment"},
	{Name: "alignment.seen", Label: "seen"},
	{Name: "alignment.unseen", Label: "unseen"},
	{Name: "alignment.count", Label: "count"},
	{Name: "alignment.colour", Label: "colour"},
	{Name: "alignment.background", Label: "background"},
	{Name: "alignment.combination", Label: "combination"},
	{Name: "skipped", Label: "skipped"},
	{Name: "proxy", Label: "proxy"},
	{Name: "fidelity.recall", Label: "recall", Real: "fidelity.recall.real"},
	{Name: "fidelity.frechet", Label: "Fréchet", Real: "fidelity.frechet.real"},
	{Name: "diversity", Label: "diversity", Real: "diversity.real"},
}

const level = .95

// Ablation makes the ablation table of trials.arrow and samples.arrow.
func Ablation(trials, samples *table.Table, o Options) (*Table, error) {
	if o.Resamples == 0 {
		o.Resamples = 1000
	}
	rows, err := group(trials)
	if err != nil {
		return nil, err
	}
	images, err := newImages(samples)
	if err != nil {
		return nil, err
	}
	b := &builder{t: &Table{}, trials: trials, images: images, resamples: stats.NewResamples(images.prompts, o.Resamples)}
	for _, m := range Shown {
		c := trials.Column(m.Name)
		if c == nil {
			continue
		}
		for _, name := range []string{m.Name, m.Real} {
			if c := trials.Column(name); c != nil && c.Kind != table.Float {
				return nil, fmt.Errorf("trials: column %q holds no real numbers", name)
			}
		}
		m.Unit, m.Better = c.Unit, c.Better
		b.t.Metrics = append(b.t.Metrics, m)
		if real := trials.Column(m.Real); m.Real != "" && real == nil {
			return nil, fmt.Errorf("trials: column %q has no %q beside it", m.Name, m.Real)
		}
	}
	reference := -1
	for i, r := range rows {
		if o.Reference == "" || r.arm == o.Reference {
			reference = i
			break
		}
	}
	if reference < 0 {
		return nil, fmt.Errorf("compare: there is no arm %q to compare with", o.Reference)
	}
	b.t.Reference = rows[reference].label
	for i, r := range rows {
		b.row(r, rows[reference], i != reference)
	}
	b.standing()
	return b.t, nil
}

// grouped are the views of one row.
type grouped struct {
	arm, label string
	control    bool
	views      []int // rows of trials
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

type builder struct {
	t         *Table
	trials    *table.Table
	images    *images
	resamples stats.Resamples
	fewSeeds  bool // some interval is over prompts only
	noSpread  bool // some figure has no interval at all
	absent    bool // some row has no result
}

// note adds a footnote once and returns its index.
func (b *builder) note(text string) int {
	if i := slices.Index(b.t.Footnotes, text); i >= 0 {
		return i
	}
	b.t.Footnotes = append(b.t.Footnotes, text)
	return len(b.t.Footnotes) - 1
}

func (b *builder) trial(view int) string { return b.trials.Column("trial").Strings[view] }

func (b *builder) seed(view int) stats.Seed {
	return stats.Seed{Pretraining: b.trials.Column("seed.pretraining").Ints[view], Feedback: b.trials.Column("seed.feedback").Ints[view]}
}

func seedName(s stats.Seed) string {
	if s.Pretraining == s.Feedback {
		return fmt.Sprint(s.Feedback)
	}
	return fmt.Sprintf("%d.%d", s.Pretraining, s.Feedback)
}

func (b *builder) row(r, reference *grouped, compared bool) {
	row := Row{Arm: r.arm, Label: r.label, Control: r.control, Cells: map[string]Cell{}}
	for _, v := range r.views {
		row.Trials = append(row.Trials, b.trial(v))
	}
	for _, earlier := range b.t.Rows {
		if slices.Equal(earlier.Trials, row.Trials) && earlier.SameAs == "" {
			row.SameAs = earlier.Label
		}
	}
	same := func() bool {
		for i, v := range reference.views {
			if i >= len(row.Trials) || b.trial(v) != row.Trials[i] {
				return false
			}
		}
		return len(reference.views) == len(row.Trials)
	}()
	for _, m := range b.t.Metrics {
		c, ok := b.cell(m.Name, r.views, nil)
		if !ok {
			b.absent = true
			continue
		}
		if m.Name == "proxy" && b.chosenOn(r.views) {
			c.Notes = append(c.Notes, b.note("The proxy score of a best-of-n arm was selected on: it is no evidence."))
		}
		if r.control {
			c.Notes = append(c.Notes, b.note("Control: the gold's own verdicts were the weights; no method could have them."))
		}
		row.Cells[m.Name] = c
		if m.Real != "" {
			if f, ok := b.cell(m.Real, r.views, nil); ok {
				row.Cells[m.Real] = f
			}
		}
		if !compared || same {
			continue
		}
		if d, ok := b.cell(m.Name, r.views, reference.views); ok {
			if row.Differences == nil {
				row.Differences = map[string]Cell{}
			}
			d.Resolved = d.Interval != "" && stats.Interval{Low: d.Low, High: d.High}.Excludes(0)
			row.Differences[m.Name] = d
		}
	}
	b.t.Rows = append(b.t.Rows, row)
}

// chosenOn reports whether a row's images were chosen by a learned reward.
func (b *builder) chosenOn(views []int) bool {
	c, loss := b.trials.Column("evaluate.bestOf"), b.trials.Column("reward.loss")
	if c == nil || loss == nil {
		return false
	}
	n, _ := c.Value(views[0]).(int64)
	return n > 1 && loss.Value(views[0]) != "oracle"
}

// cell is a metric over the seeds of a row that have it; with against, the
// difference to the reference over the seeds that both have.
func (b *builder) cell(metric string, views, against []int) (Cell, bool) {
	col, count := b.trials.Column(metric), b.trials.Column(metric+".n")
	var c Cell
	var seeds []stats.Seed
	var mine, theirs []stats.Clustered
	clustered := b.images.has(metric)
	missing, unjudged := false, false
	has := func(v int) bool { return col.Has(v) && !math.IsNaN(col.Floats[v]) && !math.IsInf(col.Floats[v], 0) }
	for _, v := range views {
		if !has(v) {
			missing = true
			continue
		}
		value, seed := col.Floats[v], b.seed(v)
		n := 0
		if count != nil && count.Has(v) {
			n = int(count.Ints[v])
		}
		if against != nil {
			other := slices.IndexFunc(against, func(o int) bool { return b.seed(o) == seed && has(o) })
			if other < 0 {
				missing = true
				continue
			}
			value -= col.Floats[against[other]]
			if clustered {
				theirs = append(theirs, b.images.of(b.trial(against[other]), metric))
				unjudged = unjudged || theirs[len(theirs)-1].Empty()
			}
		}
		if clustered {
			mine = append(mine, b.images.of(b.trial(v), metric))
			unjudged = unjudged || mine[len(mine)-1].Empty()
		}
		seeds = append(seeds, seed)
		c.Seeds, c.Values = append(c.Seeds, seedName(seed)), append(c.Values, value)
		if len(c.Values) == 1 || n < c.Images {
			c.Images = n
		}
	}
	if len(seeds) == 0 {
		return c, false
	}
	c.Mean, c.N = stats.Mean(c.Values), stats.Independent(seeds)
	c.Low, c.High = c.Mean, c.Mean
	if missing {
		c.Notes = append(c.Notes, b.note("Some seeds of this arm have no result yet; the figure is over those that have."))
	}
	if i, ok := stats.OverSeeds(seeds, c.Values, level); ok {
		c.Low, c.High, c.Interval = i.Low, i.High, OverSeeds
		return c, true
	}
	if !clustered {
		b.noSpread = true
		return c, true
	}
	if unjudged {
		c.Notes = append(c.Notes, b.note("The images of this figure are not in samples.arrow: no interval over prompts can be drawn."))
		return c, true
	}
	b.fewSeeds = true
	i := b.resamples.Percentile(mine, theirs, level)
	c.Low, c.High, c.Interval = i.Low, i.High, OverPrompts
	return c, true
}

// standing adds the footnotes that every reader needs.
func (b *builder) standing() {
	if b.fewSeeds {
		b.note("With fewer than three independent seeds no interval over seeds is drawn: the seeds are points, and the interval in brackets is 95% over prompts, for these seeds only. It says how the figure would vary with other prompts of this kind, not with another pretraining or other feedback.")
	}
	if b.noSpread {
		b.note("Recall, Fréchet distance and diversity are figures of whole sets: with fewer than three independent seeds they have no interval, only the seeds' values.")
	}
	if b.absent {
		b.note("– : no result. The trial has not run, or failed, or nothing there can be measured (no proxy where the base learns no reward).")
	}
	b.note("Annotator and gold share one parser; the annotator errs with the declared noise, the gold does not. Skipped images count as not aligned.")
}
