package stats_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestDiff simulates the comparison of two tables and writes its error rates into
// README.md.
func TestDiff(t *testing.T) {
	s := &simulation{t: t, r: rand.New(rand.NewPCG(41, 42)), runs: 600}
	if testing.Short() {
		s.runs = 100
	}
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
	if !testing.Short() {
		golden(t, "README.md", "diff", s.out.String())
	}
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
		if !paired {
			draw()
		}
		t := &table.Table{}
		add := func(c table.Column) *table.Column { t.Columns = append(t.Columns, &c); return &c }
		arm, view, trial, start := add(table.Column{Name: "arm"}), add(table.Column{Name: "view"}), add(table.Column{Name: "trial"}), add(table.Column{Name: compare.Model})
		p, f := add(table.Column{Name: "seed.pretraining", Kind: table.Int}), add(table.Column{Name: "seed.feedback", Kind: table.Int})
		x := add(table.Column{Name: "x", Kind: table.Float, Better: "higher"})
		for row := range rows {
			for k := range n {
				label := fmt.Sprint("row ", row)
				m := fmt.Sprint("model ", k)
				if !paired {
					m = name + m
				}
				arm.Strings, view.Strings, trial.Strings, start.Strings = append(arm.Strings, label), append(view.Strings, fmt.Sprint(label, "@", k)), append(trial.Strings, fmt.Sprint(name, label, k)), append(start.Strings, m)
				p.Ints, f.Ints = append(p.Ints, int64(k)), append(f.Ints, int64(k))
				v := 1 + model[k] + spread(row)*s.r.NormFloat64()
				if row == rows-1 {
					v += effect * spread(row)
				}
				x.Floats = append(x.Floats, v)
			}
		}
		return compare.Side{Name: name, Trials: t}
	}
	d, err := compare.NewDiff(side("A", n[0], effect), side("B", n[1], 0), compare.Options{Primary: []string{"x"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}
