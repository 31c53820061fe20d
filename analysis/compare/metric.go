package compare

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Metric is a column of the table.
type Metric struct {
	Name    string `json:"name"`
	Label   string `json:"label"`
	Unit    string `json:"unit,omitempty"`
	Better  string `json:"better,omitempty"` // higher, lower or empty
	Range   string `json:"range,omitempty"`  // of its values: share, unit or positive; empty: any number
	Real    string `json:"real,omitempty"`   // the metric that is this one of real against real
	Primary bool   `json:"primary,omitempty"`
	// Digits are the decimals with which values are printed; 0 stands for 3. Those of the
	// metrics of Shown are declared. A share has 3; any other metric has two significant
	// digits of the median half width of its rows' intervals, at least 1 and at most 6.
	Digits int `json:"digits,omitempty"`
	// Depends is "n" where a value changes with the number of samples: rows of
	// different numbers have no difference.
	Depends string `json:"depends,omitempty"`
	// Best is the label of the row whose paired difference from every other row but
	// controls is significant and for the better; empty where the data do not single one
	// out.
	Best string `json:"best,omitempty"`
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
	{Name: "fidelity.frechet", Label: "Fréchet", Digits: 1, Real: "fidelity.frechet.real"},
	{Name: "fidelity.kid", Label: "KID", Digits: 4, Real: "fidelity.kid.real"},
	{Name: "fidelity.cmmd", Label: "CMMD", Digits: 4, Real: "fidelity.cmmd.real"},
	{Name: "diversity", Label: "diversity", Real: "diversity.real"},
	{Name: "diversity.vendi", Label: "Vendi", Real: "diversity.vendi.real"},
	{Name: "distance.kl", Label: "KL", Digits: 1},
	{Name: "distance.gap", Label: "loss gap"},
}

// metrics makes the list of the table's metrics: those of Shown and those that the options
// name, with the unit, direction and range that trials.arrow has of them.
func (b *builder) metrics() error {
	list := slices.Clone(Shown)
	for _, name := range slices.Concat(b.o.Show, b.o.Also, b.o.Primary, sorted(b.o.Detect)) {
		if !slices.ContainsFunc(list, func(m Metric) bool { return m.Name == name }) {
			list = append(list, Metric{Name: name, Label: label(name)})
		}
	}
	for _, m := range list {
		c := b.columns[m.Name]
		if c == nil {
			continue
		}
		for _, name := range []string{m.Name, m.Real} {
			if c := b.columns[name]; c != nil && c.Kind != table.Float {
				return fmt.Errorf("trials: column %q is not of real numbers", name)
			}
		}
		m.Unit, m.Better, m.Range, m.Depends = c.Unit, c.Better, c.Range, c.Depends
		m.Primary = slices.Contains(b.o.Primary, m.Name)
		if b.columns[m.Real] == nil {
			m.Real = ""
		}
		b.t.Metrics = append(b.t.Metrics, m)
	}
	return nil
}

// label names a metric that Shown does not: "count, seen", "reward accuracy, seen".
func label(name string) string {
	if of, metric, ok := strings.Cut(name, "."); ok && (of == "reward" || of == "embedder") {
		return of + " " + strings.ReplaceAll(strings.NewReplacer("auc", "AUC", "ece", "calibration error").Replace(metric), ".", ", ")
	}
	return strings.ReplaceAll(strings.TrimPrefix(name, "alignment."), ".", ", ")
}

// real is the metric of real against real.
func (m Metric) real() Metric { return Metric{Name: m.Real, Range: m.Range} }

// Scale is the scale on which values are averaged and compared.
func (m Metric) Scale() stats.Scale {
	switch m.Range {
	case table.Share, table.Unit:
		return stats.Logit
	case table.Positive:
		return stats.Log
	}
	return stats.Identity
}

// Digits are the decimals of values of which nothing else is known.
const Digits = 3

// Digits are the decimals with which values of a metric are printed; 0 stands for 3.
func (t *Table) Digits(metric string) int {
	m, _ := t.Metric(metric)
	return m.Digits
}

// digits are those of a metric that does not declare them. An interval shows which digits
// are known. Without one the values of the seeds do, and of one seed three significant
// digits are printed.
func (m Metric) digits(cells []Cell) int {
	declared := slices.ContainsFunc(Shown, func(s Metric) bool { return s.Name == m.Name })
	if m.Digits != 0 || declared || m.Range == table.Share || m.Range == table.Unit {
		return m.Digits
	}
	var widths, spreads, sizes []float64
	for _, c := range cells {
		if c.Interval != "" {
			widths = append(widths, (c.High-c.Low)/2)
		}
		if len(c.Values) > 1 {
			spreads = append(spreads, (slices.Max(c.Values)-slices.Min(c.Values))/2)
		}
		sizes = append(sizes, math.Abs(c.Mean)/10)
	}
	for _, list := range [][]float64{widths, spreads, sizes} {
		list = slices.DeleteFunc(list, func(x float64) bool { return !(x > 0) || math.IsInf(x, 0) })
		if len(list) > 0 {
			slices.Sort(list)
			return min(max(1-int(math.Floor(math.Log10(list[len(list)/2]))), 1), 6)
		}
	}
	return 0
}

// sign is 1 where higher is better, −1 where lower is, and 0 where neither is.
func (m Metric) sign() float64 { return map[string]float64{"higher": 1, "lower": -1}[m.Better] }

// Metric is the table's metric of a name.
func (t *Table) Metric(name string) (Metric, bool) {
	if i := slices.IndexFunc(t.Metrics, func(m Metric) bool { return m.Name == name }); i >= 0 {
		return t.Metrics[i], true
	}
	return Metric{}, false
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// counts returns the two numbers of samples of the first seed in which two rows differ,
// where the metric depends on them. Unknown numbers are not compared.
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

// unequal adds the note on rows of different numbers of samples.
func (b *builder) unequal(mine, theirs int) int {
	var labels []string
	for _, m := range b.t.Metrics {
		if m.Depends == "n" {
			labels = append(labels, m.Label)
		}
	}
	slices.Sort(labels)
	return b.note(Note{Kind: Unequal, N: max(mine, theirs), Of: min(mine, theirs), Names: labels})
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
			for id := range strings.SplitSeq(col.Strings[i], " + ") {
				seen[id] = true
			}
		}
	}
	return len(seen)
}
