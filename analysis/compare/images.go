package compare

import (
	"errors"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// images are the alignment images of samples.arrow, by trial, with their
// prompts as clusters.
type images struct {
	samples *table.Table
	prompts []string // clusters, sorted
	cluster []int    // of each row of samples; -1 for a row that is not judged
	rows    map[string][]int
	memo    map[string]stats.Clustered
}

func newImages(samples *table.Table) (*images, error) {
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
	x := &images{samples: samples, rows: map[string][]int{}, memo: map[string]stats.Clustered{}}
	set, trial := samples.Column("set").Strings, samples.Column("trial").Strings
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
	x.cluster = make([]int, samples.Rows())
	for i := range x.cluster {
		x.cluster[i] = -1
		if set[i] == "alignment" {
			x.cluster[i] = index[codes[i]]
			x.rows[trial[i]] = append(x.rows[trial[i]], i)
		}
	}
	return x, nil
}

// has reports whether a metric is a mean over judged images.
func (x *images) has(metric string) bool {
	if metric == "embedder" {
		c := x.samples.Column(metric)
		return c != nil && c.Kind == table.Float
	}
	return strings.HasPrefix(metric, "alignment") || metric == "skipped" || metric == "proxy"
}

// of sums a metric of a trial by prompt.
func (x *images) of(trial, metric string) stats.Clustered {
	key := trial + " " + metric
	if c, ok := x.memo[key]; ok {
		return c
	}
	c := stats.Clustered{Sums: make([]float64, len(x.prompts)), Counts: make([]float64, len(x.prompts))}
	verdict, category := x.samples.Column("verdict"), x.samples.Column("category")
	seen := x.samples.Column("seen")
	parts := strings.Split(metric, ".")
	for _, i := range x.rows[trial] {
		in := true
		for _, p := range parts[1:] {
			switch p {
			case "seen":
				in = in && seen.Bools[i]
			case "unseen":
				in = in && !seen.Bools[i]
			default:
				in = in && category.Strings[i] == p
			}
		}
		value := 0.
		switch parts[0] {
		case "proxy", "embedder":
			score := x.samples.Column(parts[0])
			if in = in && score.Has(i); in {
				value = score.Floats[i]
			}
		case "skipped":
			if verdict.Strings[i] == "skip" {
				value = 1
			}
		default:
			if verdict.Strings[i] == "good" {
				value = 1
			}
		}
		if in {
			c.Sums[x.cluster[i]] += value
			c.Counts[x.cluster[i]]++
		}
	}
	x.memo[key] = c
	return c
}
