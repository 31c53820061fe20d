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

// Metric describes a metric of the table: the unit, direction and range of its values.
type Metric struct {
	Name    string `json:"name"`
	Label   string `json:"label"`
	Unit    string `json:"unit,omitempty"`
	Better  string `json:"better,omitempty"` // higher or lower; absent where neither is better
	Range   string `json:"range,omitempty"`  // range of values: share, mean or unit (all within [0, 1]) or positive; absent: any number
	Real    string `json:"real,omitempty"`   // name of the metric that compares real images with real images in the same way
	Primary bool   `json:"primary,omitempty"`
	// Digits is the number of decimals of printed values; 0 stands for 3. The metrics of Shown
	// declare it. Shares have 3 decimals; other metrics have two significant digits of the
	// median half-width of their rows' intervals, at least 1 and at most 6 decimals.
	Digits int `json:"digits,omitempty"`
	// Depends is "n" where values depend on the number of samples, as the bias of a Fréchet
	// distance does: rows with different numbers of samples are not compared.
	Depends string `json:"depends,omitempty"`
	// Best is the label of the row that is significantly better than every other row, paired by
	// seed and corrected, controls left out; absent where there is no such row.
	Best string `json:"best,omitempty"`
}

// Category returns the category of the prompts that a metric is about, and false if it is about
// all, or about seen or unseen ones only.
func (m Metric) Category() (string, bool) {
	name, ok := strings.CutPrefix(m.Name, "alignment.")
	return name, ok && name != "seen" && name != "unseen" && name != "n" && !strings.Contains(name, ".")
}

// judged begins the names of the metrics of judges beside the gold.
const judged = "judge."

// Shown are the metrics that every ablation table has, in its order, beside alignment by category,
// which comes before skipped, and the metrics of judges, which come after it.
var Shown = []Metric{
	{Name: "alignment", Label: "alignment"},
	{Name: "alignment.seen", Label: "seen"},
	{Name: "alignment.unseen", Label: "unseen"},
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

// metrics sets the table's metrics: those of Shown, categories and those in the options, with the unit,
// direction and range that trials.arrow declares. Metrics without a column are left out.
func (b *builder) metrics(trials *table.Table) error {
	list := slices.Clone(Shown)
	at := slices.IndexFunc(list, func(m Metric) bool { return m.Name == "skipped" })
	for _, c := range trials.Columns {
		m := Metric{Name: c.Name, Label: label(c.Name)}
		if _, ok := m.Category(); ok && c.Kind == table.Float {
			list = slices.Insert(list, at, m)
			at++
		}
		if strings.HasPrefix(c.Name, judged) && c.Kind == table.Float {
			list = slices.Insert(list, slices.IndexFunc(list, func(m Metric) bool { return m.Name == "proxy" }), m)
		}
	}
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
				return fmt.Errorf("trials: column %q must have floating-point numbers, because it is a metric", name)
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

// label returns the label of a metric that is not in Shown, such as "count, seen" or "reward
// accuracy, seen".
func label(name string) string {
	if strings.HasPrefix(name, judged) {
		return strings.Replace(name, ".", " ", 1)
	}
	if of, metric, ok := strings.Cut(name, "."); ok && (of == "reward" || of == "embedder") {
		return of + " " + strings.ReplaceAll(strings.NewReplacer("auc", "AUC", "ece", "calibration error").Replace(metric), ".", ", ")
	}
	return strings.ReplaceAll(strings.TrimPrefix(name, "alignment."), ".", ", ")
}

// real returns the metric that compares real images with real images.
func (m Metric) real() Metric { return Metric{Name: m.Real, Range: m.Range} }

// Scale returns the scale on which values are averaged and compared: logit for shares and
// values in [0, 1], log for positive values.
func (m Metric) Scale() stats.Scale {
	switch {
	case table.Within01(m.Range):
		return stats.Logit
	case m.Range == table.Positive:
		return stats.Log
	}
	return stats.Identity
}

// Digits is the default number of decimals.
const Digits = 3

// Digits returns the number of decimals of printed values of a metric; 0 stands for 3.
func (t *Table) Digits(metric string) int {
	m, _ := t.Metric(metric)
	return m.Digits
}

// digits returns the number of decimals of a metric that does not declare it, from its cells.
// The width of intervals decides, or without intervals the range of the seeds' values. With one
// seed, values have three significant digits.
func (m Metric) digits(cells []Cell) int {
	declared := slices.ContainsFunc(Shown, func(s Metric) bool { return s.Name == m.Name })
	if m.Digits != 0 || declared || table.Within01(m.Range) {
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

// sign returns 1 where higher is better, −1 where lower is better, and 0 where neither is.
func (m Metric) sign() float64 { return map[string]float64{"higher": 1, "lower": -1}[m.Better] }

// Metric returns the table's metric of a name, and false where it has none.
func (t *Table) Metric(name string) (Metric, bool) {
	if i := slices.IndexFunc(t.Metrics, func(m Metric) bool { return m.Name == name }); i >= 0 {
		return t.Metrics[i], true
	}
	return Metric{}, false
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// counts returns the numbers of samples of the first seed for which two rows have different
// numbers, if the metric depends on them. Unknown numbers count as equal.
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

// unequal adds the note about rows with different numbers of samples, and returns its index.
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

// environments returns the number of environments in which the trials were computed.
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
