package stats_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
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
	s.lists()
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

// diff compares two tables of a metric x, in which the last row of A has an effect in standard
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

// lists simulates comparisons of two tables with sampled prompts.
func (s *simulation) lists() {
	s.head("**Two tables with sampled prompts** whose rows do not differ: shares of 1,000 images a seed, of prompts that are normal with sd 1 logit and whose categories differ; each row of each table changes each prompt by .4. The prompts are the same in both tables, or each has its own. Pretrained models have an effect of .2 logits, as a seed has on each row. In the last lines both studies stop early, at 3, 5, 8 or 12 seeds.",
		"prompts", "rows", "seeds", "pretrained models", "prompts of A, B", "family-wise error", "95% interval covers", "worst")
	small, large := list(40), catalogue()
	for _, c := range []struct {
		what  string
		d     design
		rows  int
		looks []int // a single number is a fixed number of seeds
	}{{"40 in 2 categories", small, 2, []int{8}}, {"40 in 2 categories", small, 6, []int{3}}, {"40 in 2 categories", small, 6, []int{8}}, {"158 in 4 categories", large, 6, []int{8}}, {"40 in 2 categories", small, 6, []int{3, 5, 8, 12}}} {
		for _, b := range [][2]string{{"the same", "the same"}, {"the same", "others"}, {"others", "others"}} { // models and prompts
			wrong, in, runs := 0., make([]float64, c.rows), s.studies(s.runs/2)
			for range runs {
				star := false
				for i, r := range s.listed(c.d, c.rows, c.looks, b[0] == "the same", b[1] == "the same").Rows {
					x := r.Values["score"].Difference
					star = star || x.Significant
					in[i] += count(x.Low <= 0 && 0 <= x.High) / float64(runs)
				}
				wrong += count(star) / float64(runs)
			}
			var mean float64
			for _, x := range in {
				mean += x / float64(c.rows)
			}
			seeds := fmt.Sprint(c.looks[0])
			if len(c.looks) > 1 {
				seeds = "looks"
			}
			s.row(c.what, c.rows, seeds, b[0], b[1], wrong, mean, slices.Min(in))
			what := fmt.Sprintf("two tables with sampled prompts, %d of %s, %s seeds, %s models, %s prompts", c.rows, c.what, seeds, b[0], b[1])
			s.want(what, wrong, 0, .07)
			s.want("interval of "+what, mean, .92, 1)
		}
	}
}

// listed compares two tables with sampled prompts. A and B have the same pretrained models or
// prompts where the arguments name the same.
func (s *simulation) listed(d design, rows int, looks []int, models, prompts bool) *compare.Diff {
	n := looks[len(looks)-1]
	var list, categories []string // texts and categories of the prompts
	var difficulty, model []float64
	side := func(name string) compare.Side {
		if name == "A" || !prompts {
			list, categories, difficulty = nil, nil, nil
			for p, k := range d.strata {
				list, categories = append(list, fmt.Sprint(name, p)), append(categories, fmt.Sprint(k))
				difficulty = append(difficulty, easy(true)[k]+s.r.NormFloat64())
			}
		}
		if name == "A" || !models {
			model = nil
			for range n {
				model = append(model, .2*s.r.NormFloat64())
			}
		}
		column := func(name string, kind table.Kind) *table.Column { return &table.Column{Name: name, Kind: kind} }
		trial, prompt, category, metric := column("trial", table.String), column("prompt", table.String), column("category", table.String), column("metric", table.String)
		sum, images := column("sum", table.Float), column("n", table.Int)
		x := study{seeds: diagonal(n), rows: names(rows - 1), metrics: []string{"score"}, kind: table.Share, side: name, o: compare.Options{Sampled: true}}
		x.model = func(seed int) string { return fmt.Sprint(models || name == "A", seed) }
		values := make([][]float64, rows)
		for r := range rows {
			mine := make([]float64, len(difficulty))
			for p := range mine {
				mine[p] = difficulty[p] + .4*s.r.NormFloat64()
			}
			for k := range n {
				shift, good := model[k]+.2*s.r.NormFloat64(), 0
				id := x.trial(r, k)
				x.images = 0
				for p, w := range d.share {
					m := int(math.Round(1000 * w))
					g := s.binomial(m, logistic(mine[p]+shift))
					good, x.images = good+g, x.images+m
					trial.Strings, metric.Strings = append(trial.Strings, id), append(metric.Strings, "score")
					sum.Floats, images.Ints = append(sum.Floats, float64(g)), append(images.Ints, int64(m))
				}
				prompt.Strings, category.Strings = append(prompt.Strings, list...), append(category.Strings, categories...)
				values[r] = append(values[r], float64(good)/float64(x.images))
			}
		}
		x.value = func(r, _, k int) float64 { return values[r][k] }
		sums := &table.Table{Columns: []*table.Column{trial, prompt, category, metric, sum, images}}
		if len(looks) > 1 {
			var err error
			if x.samples, err = compare.NewSums(sums); err != nil {
				s.t.Fatal(err)
			}
			_, x.have = x.until(s.t, looks, true)
		}
		return compare.Side{Name: name, Trials: x.trials(), Samples: sums}
	}
	out, err := compare.NewDiff(side("A"), side("B"), compare.Options{Primary: []string{"score"}, Sampled: true, Looks: looks})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}
