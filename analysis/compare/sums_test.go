package compare_test

import (
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestSums checks that values by prompt widen the interval where prompts are sampled.
func TestSums(t *testing.T) {
	trials, samples := study(map[string][]float64{"base": {.5, .52, .54}, "b": {.6, .62, .61}}, []string{"base", "b"}, diagonal(3))
	str := func(name string) *table.Column { return &table.Column{Name: name, Kind: table.String} }
	trial, prompt, category, metric := str("trial"), str("prompt"), str("category"), str("metric")
	sum, n := &table.Column{Name: "sum", Kind: table.Float}, &table.Column{Name: "n", Kind: table.Int}
	for i, id := range samples.Column("trial").Strings { // one row for each image, which NewSums adds up by prompt
		good := 0.
		if samples.Column("verdict").Strings[i] == "good" {
			good = 1
		}
		trial.Strings, prompt.Strings = append(trial.Strings, id), append(prompt.Strings, samples.Column("prompt").Strings[i])
		category.Strings, metric.Strings = append(category.Strings, "count"), append(metric.Strings, "alignment")
		sum.Floats, n.Ints = append(sum.Floats, good), append(n.Ints, 1)
	}
	sums, err := compare.NewSums(&table.Table{Columns: []*table.Column{trial, prompt, category, metric, sum, n}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := compare.Ablation(trials, sums, compare.Options{Sampled: true})
	if err != nil {
		t.Fatal(err)
	}
	want := made(t, trials, samples, compare.Options{Sampled: true}).Rows[0].Cells["alignment"]
	if c := got.Rows[0].Cells["alignment"]; c.Interval != compare.OverBoth || c.Low != want.Low || c.High != want.High {
		t.Errorf("by prompt %+v, by image %+v", c, want)
	}
	x := sums.Exchanges(got)
	if x == nil || x.Metric != "alignment" || len(x.Prompts) == 0 || len(x.Rows) != 1 || x.Rows[0].Row != 1 {
		t.Fatalf("exchanges %+v", x)
	}
	// Arm b is better on a prompt for a seed where more of its images are good.
	good := map[string]float64{}
	for i, id := range trial.Strings {
		good[id+prompt.Strings[i]] += sum.Floats[i]
	}
	for i, c := range x.Rows[0].Counts {
		var want compare.Count
		for k := range got.Rows[0].Seeds {
			p := x.Prompts[i].Text
			want.Pairs++
			switch a, b := good[got.Rows[0].Trials[k]+p], good[got.Rows[1].Trials[k]+p]; {
			case b > a:
				want.Won, want.Better = want.Won+1, want.Better+1
			case b < a:
				want.Lost, want.Worse = want.Lost+1, want.Worse+1
			}
		}
		if c != want {
			t.Errorf("%s: %+v, want %+v", x.Prompts[i].Text, c, want)
		}
	}
	if x := (*compare.Sums)(nil).Exchanges(got); x != nil {
		t.Errorf("exchanges of nothing: %+v", x)
	}
	if _, err := compare.NewSums(&table.Table{Columns: []*table.Column{trial}}); err == nil {
		t.Error("a table without prompts is accepted")
	}
}
