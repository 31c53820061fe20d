package page

import (
	"math"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/figure"
)

// course is a row's probes at steps 0, 50 and 100: means, and a spread that
// differs from step to step and seed to seed.
func course(row, seeds int, proxy, gold [3]float64, spread float64) figure.Course {
	c := figure.Course{Row: row}
	for s := range 3 {
		p := figure.Passage{At: int64(50 * s)}
		for k := range seeds {
			p.Seeds = append(p.Seeds, stats.Seed{Pretraining: int64(k), Feedback: int64(k)})
			p.Distance = append(p.Distance, float64(s))
			level := .2 * math.Sin(float64(k)) // of a seed: what pairing takes out
			p.Proxy = append(p.Proxy, proxy[s]+level+spread*math.Sin(float64(5*k+2*s)))
			p.Gold = append(p.Gold, gold[s]-level+spread*math.Cos(float64(3*k+4*s)))
		}
		c.Points = append(c.Points, p)
	}
	return c
}

// TestOverOptimized: what is said of proxies that rose while the gold fell, and
// no more.
func TestOverOptimized(t *testing.T) {
	tab := &compare.Table{Rows: []compare.Row{{Label: "a"}, {Label: "b"}, {Label: "c"}, {Label: "d"}, {Label: "e"}}}
	up, peak, down := [3]float64{.4, .5, .6}, [3]float64{.4, .5, .42}, [3]float64{.5, .45, .4}
	for _, c := range []struct {
		name  string
		tuned []figure.Course
		want  string
	}{
		{"two seeds", []figure.Course{course(0, 2, up, down, .001)},
			"With fewer than three seeds a row, it is not tested whether the proxy rose while the gold fell."},
		{"both rise", []figure.Course{course(0, 8, up, up, .001)},
			"In none of 1 row is it significant that the proxy rose while the gold fell from an earlier probe to the last (three seeds or more; 2 pairs of probes, paired by seed, corrected by Holm)."},
		{"both fall", []figure.Course{course(0, 8, down, down, .001), course(1, 2, up, down, .001)},
			"In none of 1 row is it significant that the proxy rose while the gold fell from an earlier probe to the last (three seeds or more; 2 pairs of probes, paired by seed, corrected by Holm)."},
		{"seeds that do not resolve it", []figure.Course{course(0, 3, up, peak, .08), course(1, 3, up, down, .08)},
			"In none of 2 rows is it significant that the proxy rose while the gold fell from an earlier probe to the last (three seeds or more; 4 pairs of probes, paired by seed, corrected by Holm)."},
		{"the gold peaks", []figure.Course{course(0, 8, up, up, .01), course(1, 8, up, peak, .01)}, "Significant, if differences are normal over seeds: the proxy rose while the gold fell from an earlier probe to the last, in 1 of 2 rows (three seeds or more; 4 pairs of probes, paired by seed, corrected by Holm). Of each the pair of probes with the smallest p, brackets 95%, not corrected: “b”, step 50 to 100: proxy +.100 [+.089, +.111], gold −.081 [−.092, −.069] (8 seeds)."},
		{"more than are listed", []figure.Course{course(0, 8, up, peak, .01), course(1, 8, up, peak, .011), course(2, 8, up, peak, .012), course(3, 8, up, peak, .013), course(4, 8, up, peak, .014)}, "Significant, if differences are normal over seeds: the proxy rose while the gold fell from an earlier probe to the last, in 5 of 5 rows (three seeds or more; 10 pairs of probes, paired by seed, corrected by Holm). Of each the pair of probes with the smallest p, brackets 95%, not corrected: “a”, step 50 to 100: proxy +.100 [+.089, +.111], gold −.081 [−.092, −.069] (8 seeds); “b”, step 50 to 100: proxy +.100 [+.087, +.112], gold −.081 [−.094, −.068] (8 seeds); “c”, step 50 to 100: proxy +.100 [+.086, +.113], gold −.081 [−.095, −.067] (8 seeds); “d”, step 50 to 100: proxy +.100 [+.085, +.114], gold −.081 [−.096, −.066] (8 seeds); and 1 more."},
	} {
		if got := overOptimized(tab, c.tuned); got != c.want {
			t.Errorf("%s: it says\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

// TestBestOfAlone: a study without fine-tunings says nothing of theirs.
func TestBestOfAlone(t *testing.T) {
	cell := compare.Cell{Mean: .5, Seeds: []string{"1", "2", "3"}, Values: []float64{.4, .5, .6}, Images: 64}
	tab := &compare.Table{Rows: []compare.Row{{Arm: "best", Label: "best", Trials: []string{"x", "y", "z"}, Seeds: cell.Seeds, Cells: map[string]compare.Cell{"alignment": cell, "proxy": cell}}}}
	r := Report{Table: tab, Trials: &table.Table{Columns: []*table.Column{{Name: "trial", Kind: table.String, Strings: []string{"x", "y", "z"}},
		{Name: "finetune.method", Kind: table.String, Strings: []string{"none", "none", "none"}}, {Name: "evaluate.bestOf", Kind: table.Int, Ints: []int64{4, 4, 4}}}}}
	list := r.overOptimization()
	if len(list) != 1 {
		t.Fatalf("%d figures", len(list))
	}
	for said, want := range map[string]bool{"(3 seeds a point, 64 images a seed; a panel an arm)": true, "not to be compared with the distance of a fine-tuning": true, "probe": false, "significant": false} {
		if strings.Contains(list[0].Caption, said) != want {
			t.Errorf("%q in the caption: %v, want %v\n%s", said, !want, want, list[0].Caption)
		}
	}
	if (Report{Table: tab}).overOptimization() != nil {
		t.Error("a figure of nothing")
	}
}
