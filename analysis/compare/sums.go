package compare

import (
	"errors"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Sums implements Samples with sums by prompt, where single images are unknown.
type Sums struct {
	prompts []Prompt // in the order of the table
	strata  stats.Strata
	sums    map[key]stats.Clustered
	metrics map[string]bool
}

// NewSums returns the sums of a table with the columns trial, prompt, category, metric, sum and
// n: the sum of a metric over the n samples of a prompt in a trial. Prompts without a category
// form one category together. It fails where a column is missing.
func NewSums(t *table.Table) (*Sums, error) {
	for _, want := range []struct {
		kind  table.Kind
		names []string
	}{{table.String, []string{"trial", "prompt", "category", "metric"}}, {table.Float, []string{"sum"}}, {table.Int, []string{"n"}}} {
		for _, name := range want.names {
			if c := t.Column(name); c == nil || c.Kind != want.kind {
				return nil, errors.New("prompts: the column " + name + " is needed")
			}
		}
	}
	codes, prompts := t.Column("prompt").Codes()
	x := &Sums{prompts: make([]Prompt, len(prompts)), strata: make(stats.Strata, len(prompts)), sums: map[key]stats.Clustered{}, metrics: map[string]bool{}}
	category, categories := t.Column("category"), map[string]int{}
	trial, metric, sum, n := t.Column("trial").Strings, t.Column("metric").Strings, t.Column("sum").Floats, t.Column("n").Ints
	for i, p := range codes {
		name := ""
		if category.Has(i) {
			name = category.Strings[i]
		}
		if _, ok := categories[name]; !ok {
			categories[name] = len(categories)
		}
		x.strata[p] = categories[name]
		x.prompts[p] = Prompt{Text: prompts[p], Category: name, Seen: true}
		x.metrics[metric[i]] = true
		k := key{trial[i], metric[i]}
		c, ok := x.sums[k]
		if !ok {
			c = stats.Clustered{Sums: make([]float64, len(prompts)), Counts: make([]float64, len(prompts))}
			x.sums[k] = c
		}
		c.Sums[p] += sum[i]
		c.Counts[p] += float64(n[i])
	}
	return x, nil
}

// Strata implements Samples.
func (x *Sums) Strata() stats.Strata { return x.strata }

// Has implements Samples.
func (x *Sums) Has(metric string) bool { return x.metrics[metric] }

// ByPrompt implements Samples.
func (x *Sums) ByPrompt(trial, metric string) (stats.Clustered, bool) {
	c, ok := x.sums[key{trial, metric}]
	return c, ok && !c.Empty()
}

// Missing implements Samples: images without a value are in no sum.
func (x *Sums) Missing(string, string) (n, of int) { return 0, 0 }

// Paired implements Samples: pairs of images are unknown, so that it returns false.
func (x *Sums) Paired([]string, []float64, string) (variance float64, n int, ok bool) {
	return 0, 0, false
}
