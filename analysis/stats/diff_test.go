package stats_test

import (
	"fmt"
	"testing"

	"ablate/analysis/compare"
)

// TestDiff simulates the comparison of two tables and writes its error rates into
// README.md.
func TestDiff(t *testing.T) {
	s := simulate(t, 41, 75)
	s.head("**Two tables** (`ablate diff`) whose rows do not differ: how often at least one is called significant, how often a difference of four standard deviations is found in one row, and what 95 % intervals cover, of all rows and of the one with the widest spread. A row's standard deviation over seeds is the same in both tables. Seeds of equal pretrained models have an effect, as large as a row's own, that all rows of both tables share and that pairing takes out; without it, each table has its own.",
		"rows", "seeds of A, B", "pretrained models", "spreads of the rows", "family-wise error", "found", "covers", "widest")
	for _, rows := range []int{1, 6, 20} {
		for _, n := range [][2]int{{3, 3}, {5, 5}, {3, 8}} {
			for _, paired := range []bool{true, false} {
				if paired && n[0] != n[1] {
					continue
				}
				for _, sp := range spreads[:3] {
					if rows == 1 && sp.what != "equal" {
						continue
					}
					s.sides(rows, n, paired, sp.what, func(i int) float64 { return sp.of(i, rows) })
				}
			}
		}
	}
	s.golden("diff")
}

func (s *simulation) sides(rows int, n [2]int, paired bool, what string, spread func(i int) float64) {
	wrong, found, in, widest := 0, 0, 0, 0
	for range s.runs {
		null := s.diff(rows, n, paired, spread, 0)
		any := false
		for i, r := range null.Rows {
			x := r.Values["x"].Difference
			any = any || x.Significant
			if x.Low <= 0 && 0 <= x.High {
				if in++; i == rows-1 {
					widest++
				}
			}
		}
		if any {
			wrong++
		}
		if s.diff(rows, n, paired, spread, 4).Rows[rows-1].Values["x"].Difference.Significant {
			found++
		}
	}
	share := func(k int) float64 { return float64(k) / float64(s.runs) }
	models := "the same"
	if !paired {
		models = "others"
	}
	s.row(rows, fmt.Sprintf("%d, %d", n[0], n[1]), models, what, share(wrong), share(found), share(in)/float64(rows), share(widest))
	name := fmt.Sprint("two tables, ", rows, " rows, ", n, ", paired ", paired, ", ", what)
	s.want(name, share(wrong), 0, .07)
	s.want("interval of "+name, share(in)/float64(rows), .93, 1)
}

// diff compares two tables of a metric x, of which the last row of A has an effect in standard
// deviations.
func (s *simulation) diff(rows int, n [2]int, paired bool, spread func(i int) float64, effect float64) *compare.Diff {
	model := make([]float64, 16) // the effects of the pretrained models, by seed
	draw := func() {
		for i := range model {
			model[i] = s.r.NormFloat64()
		}
	}
	draw()
	side := func(name string, n int, effect float64) compare.Side {
		models := ""
		if !paired {
			draw()
			models = name
		}
		x := study{seeds: diagonal(n), rows: names(rows)[1:], metrics: []string{"x"}, side: name, model: func(seed int) string { return fmt.Sprint(models, seed) }}
		x.value = func(row, _, seed int) float64 {
			v := 1 + model[seed] + spread(row)*s.r.NormFloat64()
			if row == rows-1 {
				v += effect * spread(row)
			}
			return v
		}
		return compare.Side{Name: name, Trials: x.trials()}
	}
	d, err := compare.NewDiff(side("A", n[0], effect), side("B", n[1], 0), compare.Options{Primary: []string{"x"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}
