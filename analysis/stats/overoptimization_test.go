package stats_test

import (
	"fmt"
	"math"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestOverOptimization simulates the test of over-optimization and writes its error rates
// into README.md.
func TestOverOptimization(t *testing.T) {
	s := simulate(t, 31, 75)
	s.overOptimization()
	s.golden("over-optimization")
}

// overOptimization simulates fine-tunings with five probes of 256 images. A seed has a level,
// which all its probes share, and walks away from its mean step by step; every second row
// has three times the spread.
func (s *simulation) overOptimization() {
	s.head("**Over-optimization**: whether the proxy rose while the gold fell, from any of four probes to the last, in rows of which none does both: how often at least one is called significant. \"Found\": one row whose proxy gains 1 and whose gold loses .6 logits from its best probe to the last, among rows of which none does both.",
		"rows", "seeds", "proxy and gold", "family-wise error", "found")
	for _, rows := range []int{1, 6, 20} {
		for _, n := range []int{3, 5, 8} {
			for _, c := range []struct {
				what        string
				proxy, gold float64 // change from probe to probe, in logits
			}{{"neither moves", 0, 0}, {"the proxy rises, the gold does not move", .8, 0}, {"the gold falls, the proxy does not move", 0, -.8}, {"both rise", .8, .4}} {
				wrong, found := 0, 0
				for range s.runs {
					if len(s.turns(rows, n, c.proxy, c.gold, false)) > 0 {
						wrong++
					}
					for _, f := range s.turns(rows, n, c.proxy, c.gold, true) {
						if f.Row == "0" {
							found++
						}
					}
				}
				share := func(k int) float64 { return float64(k) / float64(s.runs) }
				s.row(rows, n, c.what, share(wrong), share(found))
				s.want(fmt.Sprint("over-optimization, ", c.what, ", ", rows, " rows, ", n, " seeds"), share(wrong), 0, .065)
			}
		}
	}
}

// turns are the rows that the test finds, of which the first over-optimizes where it is to.
func (s *simulation) turns(rows, n int, proxy, gold float64, first bool) []compare.Turn {
	const probes, images = 5, 256
	tab := &compare.Table{Metrics: []compare.Metric{{Name: "alignment", Range: table.Share}, {Name: "proxy", Range: table.Unit}}}
	var tuned []compare.Course
	for row := range rows {
		tab.Rows = append(tab.Rows, compare.Row{Label: fmt.Sprint(row)})
		up, down := func(p int) float64 { return proxy * float64(p) }, func(p int) float64 { return gold * float64(p) }
		if first && row == 0 {
			up = func(p int) float64 { return float64(p) / 2 }
			down = func(p int) float64 { return .3 * (2 - math.Abs(float64(p-2))) }
		}
		c := compare.Course{Row: row, Points: make([]compare.Passage, probes)}
		spread := .1 * float64(1+2*(row%2))
		for _, seed := range diagonal(n) {
			x, y := .3*s.r.NormFloat64(), .3*s.r.NormFloat64()
			for p := range c.Points {
				q := &c.Points[p]
				q.At, q.Images, q.Seeds = int64(p), images, append(q.Seeds, seed)
				q.Proxy = append(q.Proxy, logistic(x+up(p)))
				q.Gold = append(q.Gold, float64(s.binomial(images, logistic(y+down(p))))/images)
				x, y = x+spread*s.r.NormFloat64(), y+spread*s.r.NormFloat64()
			}
		}
		tuned = append(tuned, c)
	}
	return compare.OverOptimized(tab, tuned).Found
}
