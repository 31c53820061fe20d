package compare

import (
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/stats"
)

// counts compares the numbers of samples of two rows, seed by seed, where the
// metric depends on them: the first seed whose numbers differ. A number that is
// not known is not compared.
func (b *builder) counts(m Metric, views, against []int) (mine, theirs int, differ bool) {
	n := b.columns[m.Name+".n"]
	if m.Depends != "n" || n == nil {
		return 0, 0, false
	}
	other := map[stats.Seed]int64{}
	for _, o := range against {
		if n.Has(o) {
			other[b.seed(o)] = n.Ints[o]
		}
	}
	for _, v := range views {
		if there, ok := other[b.seed(v)]; ok && n.Has(v) && n.Ints[v] != there {
			return int(n.Ints[v]), int(there), true
		}
	}
	return 0, 0, false
}

// unequal adds the footnote on rows that stand on different numbers of samples.
func (b *builder) unequal(mine, theirs int) int {
	var labels []string
	for _, m := range b.t.Metrics {
		if m.Depends == "n" {
			labels = append(labels, m.Label)
		}
	}
	slices.Sort(labels)
	return b.note(fmt.Sprintf("The value of %s changes with the number of samples: no difference is taken between rows that stand on %d and %d.", strings.Join(labels, ", "), max(mine, theirs), min(mine, theirs)))
}

// apart reports whether two rows stand on different numbers of samples in any
// of the metrics that depend on them, and adds the footnote.
func (b *builder) apart(first, i int, metrics ...string) bool {
	for _, m := range b.t.Metrics {
		if first < 0 || !slices.Contains(metrics, m.Name) {
			continue
		}
		if mine, theirs, differ := b.counts(m, b.rows[i].views, b.rows[first].views); differ {
			b.unequal(mine, theirs)
			return true
		}
	}
	return false
}
