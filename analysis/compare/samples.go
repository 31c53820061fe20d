package compare

import (
	"errors"
	"math"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Samples has the values by prompt and by image of metrics that are means over images.
type Samples interface {
	// Has reports whether the metric has values by prompt.
	Has(metric string) bool
	// ByPrompt returns the sums and counts of a trial's metric by prompt, and false where the
	// metric is not a mean over images or the trial's images are missing.
	ByPrompt(trial, metric string) (stats.Clustered, bool)
	// Missing returns how many of a trial's images lack a value of the metric that they would
	// count for, and the number of these images.
	Missing(trial, metric string) (n, of int)
	// Strata returns the category of each prompt.
	Strata() stats.Strata
	// Paired returns the variance over images of a weighted sum of the trials' values for
	// images with the same prompt and noise, and the number of such images. It returns false
	// where the images of the trials do not correspond.
	Paired(trials []string, weights []float64, metric string) (variance float64, n int, ok bool)
}

// Images implements Samples with the judged images of samples.arrow.
type Images struct {
	samples *table.Table
	prompts []string // sorted
	strata  stats.Strata
	prompt  []int            // for each row of samples, index in prompts; -1 for an image that is not judged
	rows    map[string][]int // rows of judged images, by trial
	sums    map[key]stats.Clustered
	values  map[key][]float64
}

type key struct{ trial, metric string }

// NewImages returns the judged images of samples.arrow. It fails where a required column is
// missing.
func NewImages(samples *table.Table) (*Images, error) {
	for _, want := range []struct {
		kind  table.Kind
		names []string
	}{{table.String, []string{"trial", "set", "prompt", "category", "verdict"}}, {table.Bool, []string{"seen"}}, {table.Float, []string{"proxy"}}} {
		for _, name := range want.names {
			if c := samples.Column(name); c == nil || c.Kind != want.kind {
				return nil, errors.New("samples: the column " + name + " is needed")
			}
		}
	}
	if c := samples.Column("gold"); c != nil && c.Kind != table.Float {
		return nil, errors.New("samples: the column gold must have numbers")
	}
	x := &Images{samples: samples, rows: map[string][]int{}, sums: map[key]stats.Clustered{}, values: map[key][]float64{}}
	set, trial, category := samples.Column("set").Strings, samples.Column("trial").Strings, samples.Column("category").Strings
	codes, prompts := samples.Column("prompt").Codes()
	index := make([]int, len(prompts)) // for each prompt, its index among the judged prompts
	for i, code := range codes {
		if set[i] == "alignment" && index[code] == 0 {
			index[code] = 1
			x.prompts = append(x.prompts, prompts[code])
		}
	}
	slices.Sort(x.prompts)
	for code, p := range prompts {
		index[code], _ = slices.BinarySearch(x.prompts, p)
	}
	x.strata = make(stats.Strata, len(x.prompts))
	categories := map[string]int{}
	x.prompt = make([]int, samples.Rows())
	for i := range x.prompt {
		x.prompt[i] = -1
		if set[i] != "alignment" {
			continue
		}
		if _, ok := categories[category[i]]; !ok {
			categories[category[i]] = len(categories)
		}
		x.prompt[i] = index[codes[i]]
		x.strata[x.prompt[i]] = categories[category[i]]
		x.rows[trial[i]] = append(x.rows[trial[i]], i)
	}
	return x, nil
}

// Strata implements Samples.
func (x *Images) Strata() stats.Strata { return x.strata }

// Has implements Samples: it reports whether the metric is a mean over judged images.
func (x *Images) Has(metric string) bool {
	switch base, _, _ := strings.Cut(metric, "."); base {
	case "alignment", "skipped", "proxy":
		return true
	case "embedder", "judge":
		c := x.samples.Column(metric)
		return c != nil && c.Kind == table.Float
	}
	return false
}

// ByPrompt implements Samples.
func (x *Images) ByPrompt(trial, metric string) (stats.Clustered, bool) {
	if !x.Has(metric) || len(x.rows[trial]) == 0 {
		return stats.Clustered{}, false
	}
	k := key{trial, metric}
	if c, ok := x.sums[k]; ok {
		return c, !c.Empty()
	}
	c := stats.Clustered{Sums: make([]float64, len(x.prompts)), Counts: make([]float64, len(x.prompts))}
	value := x.value(metric)
	for _, i := range x.rows[trial] {
		if v, in := value(i); in {
			c.Sums[x.prompt[i]] += v
			c.Counts[x.prompt[i]]++
		}
	}
	x.sums[k] = c
	return c, !c.Empty()
}

// value returns a function of a row of samples that returns the image's value of the metric,
// and whether the image counts for it: a metric of a category or of seen prompts leaves other
// images out.
func (x *Images) value(metric string) func(row int) (float64, bool) {
	verdict := x.samples.Column("verdict")
	of, counts := x.gold(), x.counts(metric)
	switch base, _, _ := strings.Cut(metric, "."); base {
	case "judge":
		base = metric
		fallthrough
	case "proxy", "embedder":
		score := x.samples.Column(base)
		of = func(i int) (float64, bool) { return score.Floats[i], score.Has(i) }
	case "skipped":
		of = func(i int) (float64, bool) { return count(verdict.Strings[i] == "skip"), verdict.Has(i) }
	}
	return func(i int) (float64, bool) {
		if !counts(i) {
			return 0, false
		}
		return of(i)
	}
}

// gold returns a function of a row of samples that returns the gold's value of the image, and
// whether it has one: a number from 0 to 1, or 1 for the verdict good and 0 for others.
func (x *Images) gold() func(row int) (float64, bool) {
	verdict, number := x.samples.Column("verdict"), x.samples.Column("gold")
	if number == nil {
		return func(i int) (float64, bool) { return count(verdict.Strings[i] == "good"), verdict.Has(i) }
	}
	return func(i int) (float64, bool) {
		if number.Has(i) {
			return number.Floats[i], true
		}
		return count(verdict.Strings[i] == "good"), verdict.Has(i)
	}
}

func count(of bool) float64 {
	if of {
		return 1
	}
	return 0
}

// counts returns a function of a row of samples that reports whether the image is one of those
// of the metric, if it has a value.
func (x *Images) counts(metric string) func(row int) bool {
	category, seen := x.samples.Column("category").Strings, x.samples.Column("seen").Bools
	parts := strings.Split(metric, ".")[1:]
	if strings.HasPrefix(metric, judged) {
		parts = nil // it is the judge's name
	}
	return func(i int) bool {
		for _, p := range parts {
			if in := p == "seen" && seen[i] || p == "unseen" && !seen[i] || p == category[i]; !in {
				return false
			}
		}
		return true
	}
}

// Missing implements Samples.
func (x *Images) Missing(trial, metric string) (n, of int) {
	if !x.Has(metric) {
		return 0, 0
	}
	value, counts := x.value(metric), x.counts(metric)
	for _, i := range x.rows[trial] {
		if counts(i) {
			of++
			if _, has := value(i); !has {
				n++
			}
		}
	}
	return n, of
}

// Paired implements Samples: images with one prompt at one index of all lists start from the
// same noise.
func (x *Images) Paired(trials []string, weights []float64, metric string) (variance float64, n int, ok bool) {
	if !x.Has(metric) {
		return 0, 0, false
	}
	first := x.rows[trials[0]]
	values := make([][]float64, len(trials))
	for k, t := range trials {
		rows := x.rows[t]
		if len(rows) == 0 || !x.alike(first, rows) {
			return 0, 0, false
		}
		values[k] = x.of(t, metric)
	}
	var sum, squares float64
	for i := range first {
		var v float64
		for k, w := range weights {
			v += w * values[k][i]
		}
		if !math.IsNaN(v) {
			sum, squares, n = sum+v, squares+v*v, n+1
		}
	}
	mean := sum / float64(n)
	return max(0, squares/float64(n)-mean*mean), n, n > 0
}

// alike reports whether two lists of images have the same prompts in the same order.
func (x *Images) alike(a, b []int) bool {
	return slices.EqualFunc(a, b, func(i, j int) bool { return x.prompt[i] == x.prompt[j] })
}

// of returns the value of a metric for each image of a trial, NaN for images that do not count
// for it.
func (x *Images) of(trial, metric string) []float64 {
	k := key{trial, metric}
	if v, ok := x.values[k]; ok {
		return v
	}
	value := x.value(metric)
	out := make([]float64, len(x.rows[trial]))
	for j, i := range x.rows[trial] {
		v, in := value(i)
		if out[j] = v; !in {
			out[j] = math.NaN()
		}
	}
	x.values[k] = out
	return out
}
