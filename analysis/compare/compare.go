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
	"strconv"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Options of an ablation table.
type Options struct {
	Reference string             // the arm that others are compared with; the first arm where empty
	Detect    map[string]float64 // by metric, the size of a difference that matters
	Show      []string           // metrics that the short tables have beside their own
	Also      []string           // further metrics; those of Show and Detect need not be named
	Resamples int                // of the bootstrap; 0 means 1,000
	Damaged   map[string]bool    // views whose values are damaged in the store
}

// Table is an ablation table.
type Table struct {
	Reference string   `json:"reference"` // label of the reference row
	Metrics   []Metric `json:"metrics"`
	Rows      []Row    `json:"rows"`
	Sweeps    []Sweep  `json:"sweeps,omitempty"`
	Front     *Front   `json:"front,omitempty"`
	Detect    []Detect `json:"detect,omitempty"`
	Show      []string `json:"show,omitempty"` // metrics that the short tables have beside their own
	Footnotes []string `json:"footnotes"`
}

// Metric is a column of the table.
type Metric struct {
	Name   string `json:"name"`
	Label  string `json:"label"`
	Unit   string `json:"unit,omitempty"`
	Better string `json:"better,omitempty"` // higher, lower or empty
	Assume string `json:"assume,omitempty"` // what is known of its distribution over seeds: "normal" or nothing
	Real   string `json:"real,omitempty"`   // the metric that is this one of real against real
	// Depends is "n" where a value changes with the number of samples: rows of
	// different numbers have no difference.
	Depends string `json:"depends,omitempty"`
	// Best is the label of the row whose paired difference to every other row but
	// controls is resolved for the better; empty where the data do not single one out.
	Best string `json:"best,omitempty"`
}

// Row is an arm, or one point of it.
type Row struct {
	Arm         string                `json:"arm"`
	Label       string                `json:"label"` // "arm" or "arm[finetune.beta=0.5]"
	Control     bool                  `json:"control,omitempty"`
	Trials      []string              `json:"trials"`
	Seeds       []string              `json:"seeds"`            // of the trials
	SameAs      string                `json:"sameAs,omitempty"` // label of an earlier row that has all its trials
	Part        bool                  `json:"part,omitempty"`   // that row has more of them, of other seeds
	Cells       map[string]Cell       `json:"cells"`            // by metric; absent where there is no result
	Differences map[string]Difference `json:"differences,omitempty"`

	artifacts []string // of the evaluations, by trial; empty where the table does not say
}

// Name is a row's label, marked where the row is a control.
func (r Row) Name() string {
	if r.Control {
		return r.Label + " (control)"
	}
	return r.Label
}

// Has reports whether a row has any figure of a seed.
func (r Row) Has(seed string) bool {
	for _, c := range r.Cells {
		if _, ok := c.Of(seed); ok {
			return true
		}
	}
	return false
}

// Interval kinds of a cell.
const (
	OverSeeds   = "seeds"
	OverPrompts = "prompts" // for these seeds only
)

// Cell is a figure.
type Cell struct {
	Mean     float64   `json:"mean"`
	Low      float64   `json:"low"` // of the 95% interval; equal to High where Interval is empty
	High     float64   `json:"high"`
	Interval string    `json:"interval,omitempty"` // OverSeeds, OverPrompts, or empty: none is drawn
	Seeds    []string  `json:"seeds"`
	Values   []float64 `json:"values"`          // one a seed
	N        int       `json:"n"`               // independent seeds
	Images   int       `json:"images"`          // the smallest number of samples that a value stands on
	Notes    []int     `json:"notes,omitempty"` // indices of footnotes

	estimate stats.Estimate // where Interval is OverSeeds
}

// Of is the value of a seed.
func (c Cell) Of(seed string) (float64, bool) {
	if i := slices.Index(c.Seeds, seed); i >= 0 {
		return c.Values[i], true
	}
	return 0, false
}

// Difference is the row's value less the reference's, seed by seed.
type Difference struct {
	Cell
	// P is the two-sided p value over seeds, corrected by Holm over all rows that
	// are compared on this metric; Corrected is the interval at the level of that
	// correction. Both are absent with fewer than three independent seeds.
	P         float64  `json:"p,omitempty"`
	Corrected *Bounds  `json:"corrected,omitempty"`
	Resolved  bool     `json:"resolved,omitempty"` // Corrected excludes 0
	Improved  Improved `json:"improved"`
	// Equivalent: both corrected one-sided tests say that the difference is
	// smaller than what the study declares to matter (compare: detect).
	Equivalent bool `json:"equivalent,omitempty"`
	// Needs is the number of seeds that would find the declared size with 80%
	// power at the corrected level, from the spread seen so far; 0 where none is
	// declared or seen.
	Needs int `json:"needs,omitempty"`
}

// Bounds are those of an interval.
type Bounds struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Improved is the share of seeds whose difference is for the better, ties
// counted half, with its Wilson interval: the probability of improvement.
type Improved struct {
	Share float64 `json:"share"`
	Bounds
}

// Detect is a difference that the study declares to matter, and what it takes
// to find it.
type Detect struct {
	Metric string  `json:"metric"`
	Size   float64 `json:"size"`
	Have   int     `json:"have"`   // independent seeds of that row
	Needs  int     `json:"needs"`  // of that row; 0 where no spread has been seen
	AtMost int     `json:"atMost"` // needed, were the spread at its upper 80% bound
	Row    string  `json:"row"`    // that needs the most, among those that have too few if any has
	Family int     `json:"family"` // rows compared: each is tested at 5% over their number (Bonferroni)
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
	{Name: "embedder", Label: "embedder"},
	{Name: "fidelity.precision", Label: "precision", Real: "fidelity.precision.real"},
	{Name: "fidelity.recall", Label: "recall", Real: "fidelity.recall.real"},
	{Name: "fidelity.density", Label: "density", Real: "fidelity.density.real"},
	{Name: "fidelity.coverage", Label: "coverage", Real: "fidelity.coverage.real"},
	{Name: "fidelity.frechet", Label: "Fréchet", Real: "fidelity.frechet.real"},
	{Name: "fidelity.kid", Label: "KID", Real: "fidelity.kid.real"},
	{Name: "fidelity.cmmd", Label: "CMMD", Real: "fidelity.cmmd.real"},
	{Name: "diversity", Label: "diversity", Real: "diversity.real"},
	{Name: "diversity.vendi", Label: "Vendi", Real: "diversity.vendi.real"},
	{Name: "distance.kl", Label: "KL"},
	{Name: "distance.gap", Label: "loss gap"},
}

const level = .95

// metrics are those of the table: Shown, and what is asked for beside them.
func (o Options) metrics() []Metric {
	out := slices.Clone(Shown)
	for _, name := range slices.Concat(o.Show, o.Also, sorted(o.Detect)) {
		if !slices.ContainsFunc(out, func(m Metric) bool { return m.Name == name }) {
			out = append(out, Metric{Name: name, Label: label(name)})
		}
	}
	return out
}

// label names a metric that Shown does not: "count, seen", "reward accuracy, seen".
func label(name string) string {
	if of, figure, ok := strings.Cut(name, "."); ok && (of == "reward" || of == "embedder") {
		return of + " " + strings.ReplaceAll(strings.NewReplacer("auc", "AUC", "ece", "calibration error").Replace(figure), ".", ", ")
	}
	return strings.ReplaceAll(strings.TrimPrefix(name, "alignment."), ".", ", ")
}

// Ablation makes the ablation table of trials.arrow and samples.arrow.
func Ablation(trials, samples *table.Table, o Options) (*Table, error) {
	if o.Resamples == 0 {
		o.Resamples = 1000
	}
	columns := map[string]*table.Column{}
	var artifacts []string
	for _, c := range trials.Columns {
		columns[c.Name] = c
		if strings.HasPrefix(c.Name, "artifact.") && c.Kind == table.String {
			artifacts = append(artifacts, c.Name)
		}
	}
	rows, err := group(trials)
	if err != nil {
		return nil, err
	}
	images, err := newImages(samples)
	if err != nil {
		return nil, err
	}
	b := &builder{t: &Table{Show: o.Show}, o: o, columns: columns, artifacts: artifacts, images: images, rows: rows}
	for _, m := range o.metrics() {
		c := columns[m.Name]
		if c == nil {
			continue
		}
		for _, name := range []string{m.Name, m.Real} {
			if c := columns[name]; c != nil && c.Kind != table.Float {
				return nil, fmt.Errorf("trials: column %q holds no real numbers", name)
			}
		}
		m.Unit, m.Better, m.Assume, m.Depends = c.Unit, c.Better, c.Assume, c.Depends
		b.t.Metrics = append(b.t.Metrics, m)
		if m.Real != "" && columns[m.Real] == nil {
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
	first := map[string]int{} // the first row of a trial
	for i, r := range rows {
		b.row(r, rows[reference], i != reference, first)
	}
	b.correct()
	b.best()
	b.sweeps()
	b.front("fidelity.recall", "alignment")
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
	o         Options
	columns   map[string]*table.Column // of trials
	artifacts []string                 // names of the columns that have artifacts
	images    *images
	rows      []*grouped
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

func (b *builder) trial(view int) string { return b.columns["trial"].Strings[view] }

func (b *builder) seed(view int) stats.Seed {
	return stats.Seed{Pretraining: b.columns["seed.pretraining"].Ints[view], Feedback: b.columns["seed.feedback"].Ints[view]}
}

// SeedName writes a seed as views do: 3, or 1.2 for pretraining 1 and feedback 2.
func SeedName(s stats.Seed) string {
	if s.Pretraining == s.Feedback {
		return fmt.Sprint(s.Feedback)
	}
	return fmt.Sprintf("%d.%d", s.Pretraining, s.Feedback)
}

// ParseSeed reads what SeedName writes.
func ParseSeed(s string) (stats.Seed, error) {
	p, f, crossed := strings.Cut(s, ".")
	if !crossed {
		f = p
	}
	a, err := strconv.ParseUint(p, 10, 63)
	b, err2 := strconv.ParseUint(f, 10, 63)
	if err != nil || err2 != nil {
		return stats.Seed{}, fmt.Errorf("%q is not a seed: want a number below 2^63, or two of them as in 1.2", s)
	}
	return stats.Seed{Pretraining: int64(a), Feedback: int64(b)}, nil
}

// row makes a row of the table. A row whose trials are all another's says nothing
// of its own: it is named after that, and no comparison is made twice.
func (b *builder) row(r, reference *grouped, compared bool, first map[string]int) {
	row := Row{Arm: r.arm, Label: r.label, Control: r.control, Cells: map[string]Cell{}}
	for _, v := range r.views {
		row.Trials, row.Seeds = append(row.Trials, b.trial(v)), append(row.Seeds, SeedName(b.seed(v)))
		for _, name := range b.artifacts {
			if c := b.columns[name]; c.Has(v) {
				row.artifacts = append(row.artifacts, name+" "+c.Strings[v])
			}
		}
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
		c, ok := b.cell(m, r.views, nil)
		if !ok {
			b.absent = true
			continue
		}
		var caveats []int
		if b.chosenOn(m, r.views) {
			caveats = append(caveats, b.note("The proxy score of a best-of-n arm was selected on: it is no evidence."))
		}
		if r.control {
			caveats = append(caveats, b.note("Control: the gold's own verdicts were the weights; no method could have them."))
		}
		c.Notes = append(c.Notes, caveats...)
		row.Cells[m.Name] = c
		if m.Real != "" {
			if f, ok := b.cell(Metric{Name: m.Real, Assume: "normal"}, r.views, nil); ok {
				row.Cells[m.Real] = f
			}
		}
		if !compared || same {
			continue
		}
		if mine, theirs, differ := b.counts(m, r.views, reference.views); differ {
			c.Notes = append(c.Notes, b.unequal(mine, theirs))
			row.Cells[m.Name] = c
			continue
		}
		if d, ok := b.cell(m, r.views, reference.views); ok {
			if row.Differences == nil {
				row.Differences = map[string]Difference{}
			}
			d.Notes = append(d.Notes, caveats...)
			row.Differences[m.Name] = Difference{Cell: d, Improved: improved(d, m.Better)}
		}
	}
	b.t.Rows = append(b.t.Rows, row)
}

// improved orients differences so that positive is better.
func improved(d Cell, better string) Improved {
	values := d.Values
	if better == "lower" {
		values = slices.Clone(values)
		for i := range values {
			values[i] = -values[i]
		}
	}
	share, i := stats.Improvement(values, d.N, level)
	return Improved{Share: share, Bounds: Bounds{i.Low, i.High}}
}

// chosenOn reports whether a metric is the proxy of a row whose images were
// chosen by a learned reward.
func (b *builder) chosenOn(m Metric, views []int) bool {
	if m.Name != "proxy" {
		return false
	}
	c, loss := b.columns["evaluate.bestOf"], b.columns["reward.loss"]
	if c == nil || loss == nil {
		return false
	}
	n, _ := c.Value(views[0]).(int64)
	return n > 1 && loss.Value(views[0]) != "oracle"
}

// cell is a metric over the seeds of a row that have it; with against, the
// difference to the reference over the seeds that both have.
func (b *builder) cell(m Metric, views, against []int) (Cell, bool) {
	col, count := b.columns[m.Name], b.columns[m.Name+".n"]
	var c Cell
	var seeds []stats.Seed
	var mine, theirs []stats.Clustered
	clustered := b.images.has(m.Name)
	missing, unjudged := false, false
	lost := func(v int) bool {
		damaged := b.o.Damaged[b.columns["view"].Strings[v]]
		if damaged {
			c.Notes = append(c.Notes, b.note(fmt.Sprintf("The result of seed %s is damaged in the store and left out; 'ablate run' computes it again.", SeedName(b.seed(v)))))
		}
		return damaged
	}
	has := func(v int) bool { return col.Has(v) && !math.IsNaN(col.Floats[v]) && !math.IsInf(col.Floats[v], 0) }
	for _, v := range views {
		if !has(v) {
			missing = missing || !lost(v)
			continue
		}
		value, seed := col.Floats[v], b.seed(v)
		n := 0
		if count != nil && count.Has(v) {
			n = int(count.Ints[v])
		}
		if against != nil {
			other := slices.IndexFunc(against, func(o int) bool { return b.seed(o) == seed })
			if other < 0 || !has(against[other]) {
				missing = missing || other < 0 || !lost(against[other])
				continue
			}
			value -= col.Floats[against[other]]
			if clustered {
				theirs = append(theirs, b.images.of(b.trial(against[other]), m.Name))
				unjudged = unjudged || theirs[len(theirs)-1].Empty()
			}
		}
		if clustered {
			mine = append(mine, b.images.of(b.trial(v), m.Name))
			unjudged = unjudged || mine[len(mine)-1].Empty()
		}
		seeds = append(seeds, seed)
		c.Seeds, c.Values = append(c.Seeds, SeedName(seed)), append(c.Values, value)
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
	if clustered && unjudged {
		c.Notes = append(c.Notes, b.note("The images of this figure are not in samples.arrow: its interval leaves prompts out, or is not drawn."))
		mine, theirs, clustered = nil, nil, false
	}
	if e, ok := stats.OverSeeds(seeds, c.Values, influence(mine, theirs)); ok {
		if e.Error == 0 {
			c.Notes = append(c.Notes, b.note("All seeds gave the same value: their spread says nothing, and no interval is drawn."))
			return c, true
		}
		i := e.Interval(level)
		c.Low, c.High, c.Interval, c.estimate = i.Low, i.High, OverSeeds, e
		if share := stats.SkewedCoverage(c.N); against == nil && m.Assume == "" && share < .9 {
			c.Notes = append(c.Notes, b.note(fmt.Sprintf("Nothing is known of how this figure is distributed over seeds: were it as skewed as a log-normal with σ = 1, its 95%% interval over %d seeds would cover %.0f%% (simulated). Differences of pairs are not concerned.", c.N, 100*share)))
		}
		return c, true
	}
	if !clustered {
		b.noSpread = true
		return c, true
	}
	b.fewSeeds = true
	i := b.draws().Percentile(mine, theirs, level)
	if i.High-i.Low < 1e-12 { // every prompt said the same: draws of them say nothing
		share, prompts, ok := alike(mine)
		if against != nil || m.Name == "proxy" || !ok {
			c.Notes = append(c.Notes, b.note("Every prompt gave the same value: their spread says nothing, and no interval is drawn."))
			return c, true
		}
		i = stats.Wilson(int(share)*prompts, prompts, level)
		c.Notes = append(c.Notes, b.note("Every image of this figure was judged the same: its interval is Wilson's for so many prompts, an image each."))
	}
	c.Low, c.High, c.Interval = i.Low, i.High, OverPrompts
	return c, true
}

// alike is the share that all prompts have in common, 0 or 1, and the number of
// prompts; false where they differ.
func alike(of []stats.Clustered) (share float64, prompts int, ok bool) {
	judged := map[int]bool{}
	for _, c := range of {
		for p, n := range c.Counts {
			if n == 0 {
				continue
			}
			if v := c.Sums[p] / n; len(judged) == 0 {
				share = v
			} else if v != share {
				return 0, 0, false
			}
			judged[p] = true
		}
	}
	return share, len(judged), share == 0 || share == 1
}

// draws are the resamples of prompts, made when they are first needed.
func (b *builder) draws() stats.Resamples {
	if b.resamples == nil {
		b.resamples = stats.NewResamples(b.images.prompts, b.o.Resamples)
	}
	return b.resamples
}

// influence is how prompts move each seed's value, or difference.
func influence(mine, theirs []stats.Clustered) [][]float64 {
	if len(mine) == 0 {
		return nil
	}
	out := make([][]float64, len(mine))
	for s, c := range mine {
		out[s] = c.Influence()
		if theirs != nil {
			for p, u := range theirs[s].Influence() {
				out[s][p] -= u
			}
		}
	}
	return out
}

// environments counts the environments in which the trials were computed.
func (b *builder) environments() int {
	col := b.columns["environment"]
	if col == nil || col.Kind != table.String {
		return 0
	}
	seen := map[string]bool{}
	for i := range col.Strings {
		if col.Has(i) {
			for _, id := range strings.Split(col.Strings[i], " + ") {
				seen[id] = true
			}
		}
	}
	return len(seen)
}

// standing adds the footnotes that every reader needs.
func (b *builder) standing() {
	if b.fewSeeds {
		b.note("With fewer than three independent seeds no interval over seeds is drawn, and nothing is called resolved: figures show the seeds as points, and the interval in brackets is 95% over prompts, for these seeds only. It says how the figure would vary with other prompts of this kind, not with another pretraining or other feedback.")
	}
	if b.noSpread {
		b.note("Figures of fidelity and diversity are of whole sets: with fewer than three independent seeds they have no interval, only the seeds' values.")
	}
	if b.absent {
		b.note("– : no result. The trial has not run, or failed, or nothing there can be measured (no proxy where the base learns no reward).")
	}
	if n := b.environments(); n > 1 {
		b.note(fmt.Sprintf("The rows were computed in %d different environments (processor, driver, plugin or flags), so that their last digits may differ for that alone. Column environment of trials.arrow has which.", n))
	}
	b.note("Annotator and gold share one parser; the annotator errs with the declared noise, the gold does not. Skipped images count as not aligned.")
}
