package stats_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// TestNumbers simulates a gold that gives each image a number from 0 to 1, of which alignment is
// the mean, and writes the coverage of the intervals into README.md.
func TestNumbers(t *testing.T) {
	s := simulate(t, 51, 75)
	s.numbers()
	s.golden("numbers")
}

// numbers simulates levels and paired differences.
func (s *simulation) numbers() {
	s.head("**A gold of numbers.** Each image has a number from 0 to 1, logit-normal over images, with the sd of the second column in logits: at 1 most numbers are in between, at 6 nearly all are close to 0 or 1. Seeds differ by .3 logits. A row of a difference begins with the reference's noise: half of the variance of an image's number is common to both. With one or two seeds the interval is over images, and the truth is what these seeds give with many images; with more it is over seeds, and the truth is the value of a typical seed.",
		"what", "sd", "images", "one seed covers", "two seeds cover", "3 seeds cover", "8 seeds cover")
	for _, c := range []struct{ centre, shift, sd float64 }{{0, 0, 1}, {-3, 0, 1}, {4, 0, 1}, {0, 0, 6}, {6, 0, 6}, {0, .5, 1}, {-3, .5, 1}, {0, .5, 6}} {
		for _, images := range []int{12, 50, 500} {
			what := fmt.Sprintf("a level near %.2g", expectation(c.centre, c.sd))
			if c.shift > 0 {
				what = fmt.Sprintf("%.2g less %.2g", expectation(c.centre+c.shift, c.sd), expectation(c.centre, c.sd))
			}
			cells := []any{what, c.sd, images}
			for _, n := range []int{1, 2, 3, 8} {
				rate := s.covers(func() (stats.Interval, float64) {
					row, truth := s.graded(n, images, c.centre, c.shift, c.sd)
					cell := row.Cells["alignment"]
					if c.shift > 0 {
						cell = row.Differences["alignment"].Cell
					}
					return stats.Interval{Low: cell.Low, High: cell.High}, truth
				})
				cells = append(cells, rate)
				least := .93
				switch {
				case n < stats.LeastSeeds && images < 50:
					least = .83
				case n < stats.LeastSeeds:
					least = .9
				}
				s.want(fmt.Sprint(what, ", numbers of sd ", c.sd, ", ", images, " images, ", n, " seeds"), rate, least, 1)
			}
			s.row(cells...)
		}
	}
}

// graded returns a row of a study whose gold gives numbers, and its true level, or the true difference
// from the reference where shift is above 0.
func (s *simulation) graded(seeds, images int, centre, shift, sd float64) (compare.Row, float64) {
	column := func(name string, kind table.Kind) *table.Column { return &table.Column{Name: name, Kind: kind} }
	trial, set, prompt, category, verdict := column("trial", table.String), column("set", table.String), column("prompt", table.String), column("category", table.String), column("verdict", table.String)
	seen, gold, proxy := column("seen", table.Bool), column("gold", table.Float), column("proxy", table.Float)
	x := study{seeds: diagonal(seeds), rows: names(1), metrics: []string{"alignment"}, kind: table.Mean, images: images}
	means := [2][]float64{make([]float64, seeds), make([]float64, seeds)}
	var y [2]float64 // true mean of a row on the logit scale
	for k := range seeds {
		z := .3 * s.r.NormFloat64()
		common := make([]float64, images)
		for i := range common {
			common[i] = s.r.NormFloat64()
		}
		for row, at := range [2]float64{centre, centre + shift} {
			if of := at; seeds < stats.LeastSeeds {
				y[row] += logit(expectation(of+z, sd)) / float64(seeds)
			} else {
				y[row] = logit(expectation(of, sd))
			}
			for i, w := range common {
				number := logistic(at + z + sd*math.Sqrt(.5)*(w+s.r.NormFloat64()))
				means[row][k] += number / float64(images)
				trial.Strings, set.Strings = append(trial.Strings, x.trial(row, k)), append(set.Strings, "alignment")
				prompt.Strings, category.Strings = append(prompt.Strings, strconv.Itoa(i)), append(category.Strings, "")
				verdict.Strings, verdict.Valid = append(verdict.Strings, ""), append(verdict.Valid, false)
				seen.Bools, gold.Floats, proxy.Floats = append(seen.Bools, false), append(gold.Floats, number), append(proxy.Floats, 0)
			}
		}
	}
	x.value = func(row, _, k int) float64 { return means[row][k] }
	var err error
	if x.samples, err = compare.NewImages(&table.Table{Columns: []*table.Column{trial, set, prompt, category, verdict, seen, gold, proxy}}); err != nil {
		s.t.Fatal(err)
	}
	truth := logistic(y[1])
	if shift > 0 {
		truth -= logistic(y[0])
	}
	return x.table(s.t).Rows[1], truth
}
