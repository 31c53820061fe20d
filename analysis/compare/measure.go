package compare

import (
	"math"
	"slices"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// measured is a weighted sum of rows' values of a metric, taken seed by seed on the
// metric's scale.
type measured struct {
	stats.Estimate
	level string // what the estimate's error is over; empty: it has none
	scale stats.Scale
	seeds []stats.Seed
	y     []float64 // the weighted sums on the scale, by seed
	raw   []float64 // those of the values themselves
	// base is the value on the scale at which a difference is shown in the metric's units,
	// and samples are what a share is of there.
	base    float64
	samples int
	images  int // the smallest number of samples behind a value
	notes   []int
}

// of is a value of the scale in the metric's units: of a level itself, or of a difference
// from base.
func (d measured) of(y float64, difference bool) float64 {
	if !difference || d.scale == stats.Identity {
		return d.scale.From(y, d.samples)
	}
	return d.scale.From(d.base+y, d.samples) - d.scale.From(d.base, d.samples)
}

// interval is one of the estimate in the metric's units.
func (d measured) interval(level float64, difference bool) Bounds {
	i := d.Estimate.Interval(level)
	return Bounds{d.of(i.Low, difference), d.of(i.High, difference)}
}

// margins are those of ±size in the metric's units around base, on the scale. One that
// lies outside the metric's range is infinite.
func (d measured) margins(size float64) (low, high float64) {
	at := d.scale.From(d.base, d.samples)
	to := func(x float64, outside float64) float64 {
		if !d.scale.Fits(x) || d.scale == stats.Logit && (x <= 0 || x >= 1) {
			return outside
		}
		return d.scale.To(x, d.samples) - d.base
	}
	if d.scale == stats.Identity {
		return -size, size
	}
	return to(at-size, math.Inf(-1)), to(at+size, math.Inf(1))
}

// constant reports whether every row has the same value for all seeds.
func constant(values [][]float64) bool {
	return !slices.ContainsFunc(values, func(line []float64) bool { return !slices.Equal(line, values[0]) })
}

// term is a row with its weight.
type term struct {
	row    *grouped
	weight float64
}

// measure takes a weighted sum of rows over the seeds that all of them have. The base is
// the mean of the rows that bases names, of all where it is nil. It reports false where
// no seed has a value.
func (b *builder) measure(m Metric, terms []term, bases []*grouped) (measured, bool) {
	col, count := b.columns[m.Name], b.columns[m.Name+".n"]
	d := measured{scale: m.Scale()}
	var values [][]float64 // by seed, of each term
	var sizes [][]int
	var views [][]int
	fits := true
	missing := b.missing(m)
	for _, v := range terms[0].row.views {
		seed := b.seed(v)
		line, size, view := make([]float64, len(terms)), make([]int, len(terms)), make([]int, len(terms))
		complete := true
		for k, t := range terms {
			i := slices.IndexFunc(t.row.views, func(o int) bool { return b.seed(o) == seed })
			if i < 0 || !has(col, t.row.views[i]) {
				complete = false
				if i >= 0 { // a row that does not have the seed at all lacks nothing
					missing.add(t.row.views[i])
				}
				break
			}
			w := t.row.views[i]
			line[k], view[k] = col.Floats[w], w
			if count != nil && count.Has(w) {
				size[k] = int(count.Ints[w])
			}
			fits = fits && d.scale.Fits(line[k])
		}
		if complete {
			d.seeds = append(d.seeds, seed)
			values, sizes, views = append(values, line), append(sizes, size), append(views, view)
		}
	}
	if len(d.seeds) == 0 {
		missing.pending, missing.undefined = false, 0 // no value at all: Absent
		missing.notes(0)
		return d, false
	}
	d.notes = missing.notes(len(d.seeds))
	if !fits {
		d.scale = stats.Identity
	}
	// One number of samples for all, or equal shares of different numbers would differ.
	d.samples = sizes[0][0]
	for _, size := range sizes {
		d.samples = min(d.samples, slices.Min(size))
	}
	d.images = d.samples
	d.y, d.raw = make([]float64, len(d.seeds)), make([]float64, len(d.seeds))
	var based float64
	for s, line := range values {
		for k, t := range terms {
			on := d.scale.To(line[k], d.samples)
			d.y[s] += t.weight * on
			d.raw[s] += t.weight * line[k]
			if bases == nil || slices.Contains(bases, t.row) {
				d.base += on
				based++
			}
		}
	}
	d.base /= based
	d.Floor = b.floor(m, terms, values, sizes, views, d.scale)
	d.estimate()
	if b.o.Sampled {
		b.sample(&d, m, terms, values, sizes, views, d.level == OverSeeds)
	}
	// Values that no seed changes were computed and not measured. Equal differences of values
	// that do change are luck, and other rows may know their spread (moderate).
	if d.level != "" && d.SE() == 0 && constant(values) {
		d.level = ""
		d.notes = append(d.notes, b.note(Note{Kind: Constant}))
	}
	return d, true
}

// floor is the variance of the mean that the images alone cause. It is known where
// images are paired, and otherwise for shares, whose images are taken for independent.
func (b *builder) floor(m Metric, terms []term, values [][]float64, sizes, views [][]int, scale stats.Scale) float64 {
	var sum float64
	for s, line := range values {
		if v, ok := b.paired(m, terms, line, sizes[s], views[s], scale); ok {
			sum += v
			continue
		}
		for k, t := range terms {
			if m.Range != table.Share || scale != stats.Logit || !counted(line[k], sizes[s][k]) {
				return 0
			}
			sum += t.weight * t.weight * stats.Binomial(line[k], sizes[s][k])
		}
	}
	n := float64(len(values))
	return sum / (n * n)
}

// counted reports whether x is a share of n samples of which each counts or does not, and
// no mean of scores; four decimals of it may be all that is known.
func counted(x float64, n int) bool {
	k := x * float64(n)
	return n > 0 && math.Abs(k-math.Round(k)) <= 1e-6+5e-5*float64(n)
}

// paired is the variance of a seed's weighted sum over its images, where all rows have the
// same.
func (b *builder) paired(m Metric, terms []term, line []float64, sizes, views []int, scale stats.Scale) (float64, bool) {
	if b.samples == nil || len(terms) == 1 && m.Range == table.Share {
		return 0, false // of one share the binomial variance is known without its images
	}
	trials, weights := make([]string, len(terms)), make([]float64, len(terms))
	var largest float64
	for k, t := range terms {
		trials[k], weights[k] = b.trial(views[k]), t.weight*scale.Slope(line[k], sizes[k])
		largest = max(largest, math.Abs(weights[k]))
	}
	v, n, ok := b.samples.Paired(trials, weights, m.Name)
	if !ok || slices.ContainsFunc(sizes, func(size int) bool { return size != n }) {
		return 0, false
	}
	if m.Range != table.Share {
		largest = 0
	}
	return stats.Paired(v, largest, n), true
}

// normal are degrees of freedom with which Student's t is the normal distribution.
const normal = 1e6

// leastPrompts is the smallest effective number of prompts with an interval over prompts.
const leastPrompts = 10

// sample adds the error of sampled prompts.
func (b *builder) sample(d *measured, m Metric, terms []term, values [][]float64, sizes, views [][]int, over bool) {
	if b.samples == nil || !b.samples.Has(m.Name) {
		return
	}
	strata := b.samples.Strata()
	moves := make([][]float64, len(values)) // how far each prompt moves the sum, by seed
	var counts []float64
	for s := range values {
		moves[s] = make([]float64, len(strata))
		for k, t := range terms {
			c, ok := b.samples.ByPrompt(b.trial(views[s][k]), m.Name)
			if !ok {
				d.level = ""
				d.notes = append(d.notes, b.note(Note{Kind: NoSamples}))
				return
			}
			if counts == nil {
				counts = c.Counts
			}
			slope := d.scale.Slope(values[s][k], sizes[s][k])
			for p, u := range strata.Influence(c) {
				moves[s][p] += t.weight * slope * u
			}
		}
	}
	effective := strata.Effective(counts)
	if effective < leastPrompts {
		d.level = ""
		d.notes = append(d.notes, b.note(Note{Kind: FewPrompts, N: int(effective)}))
		return
	}
	d.PromptDF = effective - 1
	if over {
		d.Prompts, d.level = strata.Shared(d.seeds, moves, counts), OverBoth
	} else {
		// Its variance contains that of the images.
		d.Prompts, d.Floor, d.level = strata.Variance(moves, counts), 0, OverPrompts
	}
}

func has(c *table.Column, row int) bool {
	return c.Has(row) && !math.IsNaN(c.Floats[row]) && !math.IsInf(c.Floats[row], 0)
}

func mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}

// missing collects why seeds of a row have no value of a metric.
type missing struct {
	b         *builder
	count     *table.Column
	damaged   []string
	undefined int
	pending   bool
}

func (b *builder) missing(m Metric) *missing {
	return &missing{b: b, count: b.columns[m.Name+".n"]}
}

// add counts a view without a value: its number of samples is 0 where the metric was
// measured and is not defined, and null where it was not measured.
func (x *missing) add(view int) {
	switch {
	case x.b.o.Damaged[x.b.columns["view"].Strings[view]]:
		x.damaged = append(x.damaged, SeedName(x.b.seed(view)))
	case x.count != nil && x.count.Has(view):
		x.undefined++
	default:
		x.pending = true
	}
}

// notes are those on a value over n seeds.
func (x *missing) notes(n int) []int {
	var out []int
	for _, s := range x.damaged {
		out = append(out, x.b.note(Note{Kind: Damaged, Names: []string{s}}))
	}
	if x.undefined > 0 {
		out = append(out, x.b.note(Note{Kind: Undefined, N: n, Of: n + x.undefined}))
	}
	if x.pending {
		out = append(out, x.b.note(Note{Kind: Pending}))
	}
	return out
}
