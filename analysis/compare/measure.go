package compare

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// measured is the estimate of a weighted sum of rows' values of a metric, such as a difference,
// by seed on the metric's scale.
type measured struct {
	stats.Estimate
	level string // sources of variation in the estimate's error; empty: no error is known
	scale stats.Scale
	seeds []stats.Seed
	y     []float64 // the weighted sums on the scale, by seed
	raw   []float64 // the weighted sums in the metric's units, by seed
	// base is the value on the scale at which a difference is transformed to the metric's
	// units, and samples the number of samples of shares there. baseBy has base by seed and
	// baseEstimate its error; both are empty where the scale is the identity.
	base         float64
	samples      int
	baseBy       []float64
	baseEstimate stats.Estimate
	apart        bool // the difference is unpaired: base is the row that is subtracted
	images       int  // smallest number of samples of a value
	notes        []int
}

// at sets the base of a difference. On the identity scale the error of the base does not
// matter.
func (d *measured) at(base measured) {
	if d.base = base.Mean; base.level != "" && d.scale != stats.Identity {
		d.baseBy, d.baseEstimate = base.y, base.Estimate
	}
}

// of transforms a value y of the scale, either a level or a difference from base, to the
// metric's units.
func (d measured) of(y float64, difference bool) float64 {
	if !difference || d.scale == stats.Identity {
		return d.scale.From(y, d.samples)
	}
	return d.from(d.base, y)
}

// from transforms the difference y from a base to the metric's units.
func (d measured) from(base, y float64) float64 {
	return d.scale.From(base+y, d.samples) - d.scale.From(base, d.samples)
}

// interval returns the interval of the estimate at a level, in the metric's units.
func (d measured) interval(level float64, difference bool) Bounds {
	i := d.Estimate.Interval(level)
	out := Bounds{d.of(i.Low, difference), d.of(i.High, difference)}
	if !difference || d.baseBy == nil {
		return out
	}
	return d.widen(out, i, d.baseEstimate.Interval(level))
}

// widen adds the error of the base to the bounds b of a difference in the metric's units,
// because the same difference on the scale is another one in those units if the base is
// another. y is the interval on the scale, and base that of the base. The errors are combined
// as those of two correlated estimates (Zou 2007, Psychological Methods 12). The bounds keep
// their signs, so that the interval contains 0 exactly where y does.
func (d measured) widen(b Bounds, y, base stats.Interval) Bounds {
	mean := d.from(d.base, d.Mean)
	atLow, atHigh := d.from(base.Low, d.Mean), d.from(base.High, d.Mean)
	r := 1. // with fewer than three seeds the correlation is unknown, and 1 is the worst case
	if d.apart || len(d.y) >= stats.LeastSeeds {
		if r = -d.baseEstimate.SE() / d.SE(); !d.apart {
			r = stat.Correlation(d.y, d.baseBy, nil)
		}
		if atHigh < atLow {
			r = -r
		}
		if !(r > 0) { // a negative correlation would narrow the interval, so it is ignored
			r = 0
		}
	}
	sum := func(a, b float64) float64 {
		if s := math.Sqrt(a*a + b*b + 2*r*a*b); s < a+b {
			return s
		}
		return a + b
	}
	return Bounds{
		Low:  max(mean-sum(mean-b.Low, max(0, mean-min(atLow, atHigh))), min(b.Low, d.from(base.Low, y.Low), d.from(base.High, y.Low))),
		High: min(mean+sum(b.High-mean, max(0, max(atLow, atHigh)-mean)), max(b.High, d.from(base.Low, y.High), d.from(base.High, y.High))),
	}
}

// margins returns the bounds on the scale of ±size in the metric's units around a base. A bound
// outside the metric's range is infinite.
func (d measured) margins(size, base float64) (low, high float64) {
	if d.scale == stats.Identity {
		return -size, size
	}
	at := d.scale.From(base, d.samples)
	to := func(x float64, outside float64) float64 {
		if !d.scale.Fits(x) || d.scale == stats.Logit && (x <= 0 || x >= 1) {
			return outside
		}
		return d.scale.To(x, d.samples) - base
	}
	return to(at-size, math.Inf(-1)), to(at+size, math.Inf(1))
}

// narrowest returns the intersection of the margins around base and around both ends of its
// interval, so that a test against them is a test of the difference in the metric's units.
func (d measured) narrowest(size float64) (low, high float64) {
	low, high = d.margins(size, d.base)
	if d.baseBy == nil {
		return low, high
	}
	i := d.baseEstimate.Interval(1 - 2*alpha) // the tests are one-sided
	for _, base := range []float64{i.Low, i.High} {
		l, h := d.margins(size, base)
		low, high = max(low, l), min(high, h)
	}
	return low, high
}

// constant reports whether values, one line for each seed, are the same for all seeds.
func constant(values [][]float64) bool {
	return !slices.ContainsFunc(values, func(line []float64) bool { return !slices.Equal(line, values[0]) })
}

// term is a row with its weight in a sum.
type term struct {
	row    *grouped
	weight float64
}

// measure estimates a weighted sum of rows over the seeds that all of them have. Its base is
// the mean of the rows in bases, or of all rows where bases is nil. It returns false where no
// seed has a value of every row.
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
				if i >= 0 { // a row without a trial of the seed is not missing a value
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
		missing.pending, missing.undefined = false, 0 // the note Absent covers a row without any value
		missing.notes(0)
		return d, false
	}
	d.notes = missing.notes(len(d.seeds))
	if !fits {
		d.scale = stats.Identity
	}
	// All values need one number of samples; otherwise equal shares would differ.
	d.samples = sizes[0][0]
	for _, size := range sizes {
		d.samples = min(d.samples, slices.Min(size))
	}
	d.images = d.samples
	if b.least > 0 {
		d.samples = b.least
	}
	d.raw = make([]float64, len(d.seeds))
	for s, line := range values {
		for k, t := range terms {
			d.raw[s] += t.weight * line[k]
		}
	}
	b.estimate(&d, m, terms, values, sizes, views)
	if len(terms) > 1 && d.scale != stats.Identity {
		base := measured{scale: d.scale, seeds: d.seeds, samples: d.samples}
		b.estimate(&base, m, baseOf(terms, bases), values, sizes, views)
		d.at(base)
	}
	// Values that are the same for all seeds are deterministic, so that their standard
	// deviation is no estimate of an error. Differences may be equal by chance although the
	// values vary; moderation then gives them the standard deviation of other rows.
	if d.level != "" && d.SE() == 0 && constant(values) {
		d.level = ""
		d.notes = append(d.notes, b.note(Note{Kind: Constant}))
	}
	return d, true
}

// baseOf returns the terms of the mean of the rows in bases, or of all rows where bases is nil.
func baseOf(terms []term, bases []*grouped) []term {
	out := make([]term, len(terms))
	var n float64
	for k, t := range terms {
		if out[k].row = t.row; bases == nil || slices.Contains(bases, t.row) {
			out[k].weight = 1
			n++
		}
	}
	for k := range out {
		out[k].weight /= n
	}
	return out
}

// estimate sets the weighted sums of the terms' values by seed, and their mean with its error.
func (b *builder) estimate(d *measured, m Metric, terms []term, values [][]float64, sizes, views [][]int) {
	d.y = make([]float64, len(d.seeds))
	for s, line := range values {
		for k, t := range terms {
			d.y[s] += t.weight * d.scale.To(line[k], d.samples)
		}
	}
	d.Floor = b.floor(m, terms, values, sizes, views, d.scale, b.sameImages && stats.Independent(d.seeds) >= stats.LeastSeeds)
	d.Looks = b.looks
	d.estimate()
	if b.o.Sampled {
		b.sample(d, m, terms, values, sizes, views, d.level == OverSeeds)
	}
}

// floor returns the variance of the mean that the finite number of images causes: from pairs of
// images where they are known, else the binomial variance of shares, or that of the numbers, with
// independent images.
// If least is true, the two rows have the same images, which are not known one by one, and the
// smallest possible variance (stats.Discordant) is used. It returns 0 where the variance is
// unknown.
func (b *builder) floor(m Metric, terms []term, values [][]float64, sizes, views [][]int, scale stats.Scale, least bool) float64 {
	var sum float64
	for s, line := range values {
		if v, ok := b.paired(m, terms, line, sizes[s], views[s], scale); ok {
			sum += v
			continue
		}
		if least && len(terms) == 2 && terms[0].weight == -terms[1].weight && m.Range == table.Share && scale == stats.Logit && sizes[s][0] == sizes[s][1] && counted(line[0], sizes[s][0]) && counted(line[1], sizes[s][1]) {
			sum += stats.Discordant(line[0], line[1], sizes[s][0])
			continue
		}
		for k, t := range terms {
			if m.Range == table.Mean {
				v, ok := b.paired(m, terms[k:k+1], line[k:k+1], sizes[s][k:k+1], views[s][k:k+1], scale)
				if !ok {
					return 0
				}
				sum += v
				continue
			}
			if m.Range != table.Share || scale != stats.Logit || !counted(line[k], sizes[s][k]) {
				return 0
			}
			sum += t.weight * t.weight * stats.Binomial(line[k], sizes[s][k])
		}
	}
	n := float64(len(values))
	return sum / (n * n)
}

// counted reports whether x is a share of n samples that each count or do not, rather than a
// mean of scores. x may be rounded to four decimals.
func counted(x float64, n int) bool {
	k := x * float64(n)
	return n > 0 && math.Abs(k-math.Round(k)) <= 1e-6+5e-5*float64(n)
}

// paired returns the variance over images of a seed's weighted sum, and false where the rows do
// not have the same images.
func (b *builder) paired(m Metric, terms []term, line []float64, sizes, views []int, scale stats.Scale) (float64, bool) {
	if b.samples == nil || len(terms) == 1 && m.Range == table.Share {
		return 0, false // for one share the binomial variance is used, which needs no images
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
	switch m.Range {
	case table.Share:
	case table.Mean:
		if v *= float64(n) / float64(max(1, n-1)); v > 0 { // else n equal numbers, which do not show that numbers never differ
			largest = 0
		}
	default:
		largest = 0
	}
	return stats.Paired(v, largest, n), true
}

// normal is a number of degrees of freedom at which Student's t is practically normal.
const normal = 1e6

// leastPrompts is the smallest effective number of prompts with an interval over prompts.
const leastPrompts = 10

// sample adds the error of sampled prompts to an estimate. over is true where the estimate is
// over seeds.
func (b *builder) sample(d *measured, m Metric, terms []term, values [][]float64, sizes, views [][]int, over bool) {
	if b.samples == nil || !b.samples.Has(m.Name) {
		return
	}
	strata := b.samples.Strata()
	moves := make([][]float64, len(values)) // influence of each prompt on the sum, by seed
	counts := make([]float64, len(strata))  // the largest number of images of each prompt: rows of two tables may have different prompts
	for s := range values {
		moves[s] = make([]float64, len(strata))
		for k, t := range terms {
			c, ok := b.samples.ByPrompt(b.trial(views[s][k]), m.Name)
			if !ok {
				d.level = ""
				d.notes = append(d.notes, b.note(Note{Kind: NoSamples}))
				return
			}
			for p, n := range c.Counts {
				counts[p] = max(counts[p], n)
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
		// The variance over prompts contains that of the images.
		d.Prompts, d.Floor, d.level = strata.Variance(moves, counts), 0, OverPrompts
	}
}

// diverged reports whether a training of a view's trial diverged.
func (b *builder) diverged(view int) bool {
	c := b.columns["diverged"]
	return c != nil && c.Has(view) && c.Bools[view]
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

// missing collects the reasons why seeds of a row have no value of a metric.
type missing struct {
	b         *builder
	count     *table.Column
	damaged   []string
	diverged  []string
	undefined int
	pending   bool
}

func (b *builder) missing(m Metric) *missing {
	return &missing{b: b, count: b.columns[m.Name+".n"]}
}

// add records a view without a value. Its number of samples is 0 where the metric was computed
// and is undefined, and null where it was not computed.
func (x *missing) add(view int) {
	switch {
	case x.b.o.Damaged[x.b.columns["view"].Strings[view]]:
		x.damaged = append(x.damaged, SeedName(x.b.seed(view)))
	case x.b.diverged(view):
		x.diverged = append(x.diverged, SeedName(x.b.seed(view)))
	case x.count != nil && x.count.Has(view):
		x.undefined++
	default:
		x.pending = true
	}
}

// notes returns the notes on a value over n seeds.
func (x *missing) notes(n int) []int {
	var out []int
	for _, s := range x.damaged {
		out = append(out, x.b.note(Note{Kind: Damaged, Names: []string{s}}))
	}
	if len(x.diverged) > 0 {
		out = append(out, x.b.note(Note{Kind: Diverged, N: n, Of: n + len(x.diverged), Names: x.diverged}))
	}
	if x.undefined > 0 {
		out = append(out, x.b.note(Note{Kind: Undefined, N: n, Of: n + x.undefined}))
	}
	if x.pending {
		out = append(out, x.b.note(Note{Kind: Pending}))
	}
	return out
}
