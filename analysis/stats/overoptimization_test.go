package stats_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestOverOptimization simulates the test of over-optimization and writes its error rates
// into README.md.
func TestOverOptimization(t *testing.T) {
	s := simulate(t, 31, 75)
	s.overOptimization()
	s.overOptimizationLooks()
	s.golden("over-optimization")
}

// overOptimization simulates fine-tunings with five probes of 256 images. The mean of a seed
// has a random offset that its probes share, and a random walk from step to step; every second
// row has three times the standard deviation.
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
					wrong += b2i(len(s.tuned(rows, n, c.proxy, c.gold, false).turns(n, nil)) > 0)
					found += b2i(slices.ContainsFunc(s.tuned(rows, n, c.proxy, c.gold, true).turns(n, nil), first))
				}
				share := func(k int) float64 { return float64(k) / float64(s.runs) }
				s.row(rows, n, c.what, share(wrong), share(found))
				s.want(fmt.Sprint("over-optimization, ", c.what, ", ", rows, " rows, ", n, " seeds"), share(wrong), 0, .065)
			}
		}
	}
}

// overOptimizationLooks simulates the same test in studies that stop as soon as the test is
// significant.
func (s *simulation) overOptimizationLooks() {
	s.head("**Over-optimization in a study that may stop early**, at 3, 5, 8 and 12 seeds, as soon as the test finds it in a row; otherwise as above.",
		"rows", "proxy and gold", "family-wise error", "tested each time", "found")
	looks := []int{3, 5, 8, 12}
	for _, rows := range []int{1, 6} {
		for _, c := range []struct {
			what        string
			proxy, gold float64
		}{{"the proxy rises, the gold does not move", .8, 0}, {"the gold falls, the proxy does not move", 0, -.8}} {
			var wrong, naive, found int
			for range s.runs {
				null, one := s.tuned(rows, 12, c.proxy, c.gold, false), s.tuned(rows, 12, c.proxy, c.gold, true)
				wrong += b2i(slices.ContainsFunc(looks, func(n int) bool { return len(null.turns(n, looks)) > 0 }))
				naive += b2i(slices.ContainsFunc(looks, func(n int) bool { return len(null.turns(n, nil)) > 0 }))
				found += b2i(slices.ContainsFunc(looks, func(n int) bool { return slices.ContainsFunc(one.turns(n, looks), first) }))
			}
			share := func(k int) float64 { return float64(k) / float64(s.runs) }
			s.row(rows, c.what, share(wrong), share(naive), share(found))
			s.want(fmt.Sprint("over-optimization with looks, ", c.what, ", ", rows, " rows"), share(wrong), 0, .06)
		}
	}
}

// first reports whether a row is the one that over-optimizes.
func first(f compare.Turn) bool { return f.Row == "0" }

// probed has simulated fine-tunings with their probes.
type probed struct {
	table   compare.Table
	courses []compare.Course
}

// turns returns the rows for which the test is significant with n seeds, in a study with looks.
func (p probed) turns(n int, looks []int) []compare.Turn {
	p.table.Looks = looks
	var courses []compare.Course
	for _, c := range p.courses {
		c.Points = slices.Clone(c.Points)
		for i, q := range c.Points {
			c.Points[i].Seeds, c.Points[i].Proxy, c.Points[i].Gold = q.Seeds[:n], q.Proxy[:n], q.Gold[:n]
		}
		courses = append(courses, c)
	}
	return compare.OverOptimized(&p.table, courses).Found
}

// tuned draws fine-tunings, of which the first over-optimizes if that is asked for.
func (s *simulation) tuned(rows, n int, proxy, gold float64, first bool) (out probed) {
	const probes, images = 5, 256
	out.table.Metrics = []compare.Metric{{Name: "alignment", Range: table.Share}, {Name: "proxy", Range: table.Unit}}
	for row := range rows {
		out.table.Rows = append(out.table.Rows, compare.Row{Label: fmt.Sprint(row)})
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
		out.courses = append(out.courses, c)
	}
	return out
}
