package page

import (
	"maps"
	"slices"
	"testing"

	"ablate/analysis/compare"
)

// TestOpen: primary metrics are open with their differences, then what the study shows,
// then usual metrics, as many as fit a window.
func TestOpen(t *testing.T) {
	metrics := func(primary int, names ...string) (list []compare.Metric) {
		for i, name := range names {
			list = append(list, compare.Metric{Name: name, Primary: i < primary})
		}
		return list
	}
	for _, c := range []struct {
		name   string
		table  compare.Table
		beside int
		want   []string
	}{
		{"usual", compare.Table{Metrics: metrics(2, "alignment", "fidelity.recall", "alignment.seen", "proxy", "fidelity.frechet", "distance.kl", "diversity")}, 0,
			[]string{"alignment", "distance.kl", "fidelity.frechet", "fidelity.recall", "proxy"}},
		{"shown first", compare.Table{Metrics: metrics(2, "alignment", "fidelity.recall", "alignment.seen", "proxy", "fidelity.frechet", "distance.kl"), Show: []string{"alignment.seen"}}, 0,
			[]string{"alignment", "alignment.seen", "distance.kl", "fidelity.frechet", "fidelity.recall"}},
		{"no room", compare.Table{Metrics: metrics(2, "alignment", "fidelity.recall", "proxy", "fidelity.frechet")}, 4,
			[]string{"alignment", "fidelity.frechet", "fidelity.recall"}},
		{"all primary", compare.Table{Metrics: metrics(6, "a", "b", "c", "d", "e", "f")}, 0, []string{"a", "b", "c", "d"}},
		{"none primary", compare.Table{Metrics: metrics(0, "x", "y")}, 0, []string{"x", "y"}},
		{"many, none primary", compare.Table{Metrics: metrics(0, "a", "b", "c", "d", "e", "f")}, 0, []string{"a", "b", "c", "d", "e"}},
	} {
		if got := slices.Sorted(maps.Keys(open(&c.table, c.beside))); !slices.Equal(got, c.want) {
			t.Errorf("%s: open are %q, want %q", c.name, got, c.want)
		}
	}
}

// TestAxes: heads are the last parts of names if these are distinct. Many axes share one
// column.
func TestAxes(t *testing.T) {
	for _, c := range []struct {
		axes, want []string
	}{
		{nil, nil},
		{[]string{"finetune.beta", "reward.lambda"}, []string{"beta", "lambda"}},
		{[]string{"finetune.batch", "reward.batch"}, []string{"finetune.batch", "reward.batch"}},
		{[]string{"a.x", "b.y", "c.z", "d.w"}, []string{"point"}},
	} {
		r := compare.Row{}
		for _, a := range c.axes {
			r.Point = append(r.Point, compare.Value{Axis: a, Value: "1"})
		}
		if _, got := axes(&compare.Table{Rows: []compare.Row{r}}); !slices.Equal(got, c.want) {
			t.Errorf("%q have the heads %q, want %q", c.axes, got, c.want)
		}
	}
}
