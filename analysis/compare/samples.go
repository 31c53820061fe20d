package compare

import (
	"errors"
	"math"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Samples are the values behind metrics that are means over images.
type Samples interface {
	// Has reports whether any trial has a metric by prompt.
	Has(metric string) bool
	// ByPrompt sums a metric of a trial by prompt; false where it is not a mean over
	// images, or the trial's images are missing.
	ByPrompt(trial, metric string) (stats.Clustered, bool)
	// Strata are the categories of the prompts.
	Strata() stats.Strata
	// Paired is the variance over images of the weighted sum of what trials have for the
	// same prompt and noise, and the number of such images; false where the images of the
	// trials do not form such groups.
	Paired(trials []string, weights []float64, metric string) (variance float64, n int, ok bool)
}

// Images are the judged images of samples.arrow.
type Images struct {
	samples *table.Table
	prompts []string // sorted
	strata  stats.Strata
	prompt  []int            // of each row of samples; -1 for a row that is not judged
	rows    map[string][]int // judged ones by trial
	sums    map[key]stats.Clustered
	values  map[key][]float64
}

type key struct{ trial, metric string }

// NewImages reads samples.arrow.
func NewImages(samples *table.Table) (*Images, error) {
	for _, want := range []struct {
		kind  table.Kind
		names []string
	}{{table.String, []string{"trial", "set", "prompt", "category", "verdict"}}, {table.Bool, []string{"seen"}}, {table.Float, []string{"proxy"}}} {
		for _, name := range want.names {
			if c := samples.Column(name); c == nil || c.Kind != want.kind {
				return nil, errors.New("samples: want the column " + name)
			}
		}
	}
	x := &Images{samples: samples, rows: map[string][]int{}, sums: map[key]stats.Clustered{}, values: map[key][]float64{}}
	set, trial, category := samples.Column("set").Strings, samples.Column("trial").Strings, samples.Column("category").Strings
	codes, prompts := samples.Column("prompt").Codes()
	index := make([]int, len(prompts)) // of each prompt among the judged ones
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

// Has implements Samples: whether a metric is a mean over judged images.
func (x *Images) Has(metric string) bool {
	switch base, _, _ := strings.Cut(metric, "."); base {
	case "alignment", "skipped", "proxy":
		return true
	case "embedder":
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

// value returns the value of an image for a metric, and whether the metric is over it.
func (x *Images) value(metric string) func(row int) (float64, bool) {
	verdict, category := x.samples.Column("verdict").Strings, x.samples.Column("category").Strings
	seen := x.samples.Column("seen").Bools
	parts := strings.Split(metric, ".")
	share := func(counts bool) float64 {
		if counts {
			return 1
		}
		return 0
	}
	of := func(i int) (float64, bool) { return share(verdict[i] == "good"), true }
	switch parts[0] {
	case "proxy", "embedder":
		score := x.samples.Column(parts[0])
		of = func(i int) (float64, bool) { return score.Floats[i], score.Has(i) }
	case "skipped":
		of = func(i int) (float64, bool) { return share(verdict[i] == "skip"), true }
	}
	return func(i int) (float64, bool) {
		for _, p := range parts[1:] {
			if in := p == "seen" && seen[i] || p == "unseen" && !seen[i] || p == category[i]; !in {
				return 0, false
			}
		}
		return of(i)
	}
}

// Paired implements Samples: images of one prompt at one place of all lists begin with
// equal noise.
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

// alike reports whether two lists of images have the same prompts.
func (x *Images) alike(a, b []int) bool {
	return slices.EqualFunc(a, b, func(i, j int) bool { return x.prompt[i] == x.prompt[j] })
}

// of is the value of a metric for each image of a trial, NaN where the metric is not over
// it.
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
