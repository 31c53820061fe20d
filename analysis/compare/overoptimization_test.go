package compare_test

import (
	"math"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// course returns a row's probes at steps 0, 50 and 100, with the given means and a standard
// deviation that differs from step to step and seed to seed.
func course(row, seeds int, proxy, gold [3]float64, spread float64) compare.Course {
	c := compare.Course{Row: row}
	for s := range 3 {
		p := compare.Passage{At: int64(50 * s), Images: 1000}
		for k := range seeds {
			p.Seeds = append(p.Seeds, stats.Seed{Pretraining: int64(k), Feedback: int64(k)})
			p.Distance = append(p.Distance, float64(s))
			level := .2 * math.Sin(float64(k)) // effect of the seed, which pairing removes
			p.Proxy = append(p.Proxy, proxy[s]+level+spread*math.Sin(float64(5*k+2*s)))
			p.Gold = append(p.Gold, gold[s]-level+spread*math.Cos(float64(3*k+4*s)))
		}
		c.Points = append(c.Points, p)
	}
	return c
}

// TestOverOptimized checks that a row over-optimizes where the proxy rose and the gold fell,
// both significantly, in one pair of probes.
func TestOverOptimized(t *testing.T) {
	tab := &compare.Table{Metrics: []compare.Metric{{Name: "alignment", Range: table.Share}, {Name: "proxy", Range: table.Unit}},
		Rows: []compare.Row{{Label: "a"}, {Label: "b"}, {Label: "c"}}}
	up, peak, down := [3]float64{.4, .5, .6}, [3]float64{.4, .5, .42}, [3]float64{.5, .45, .4}
	if compare.OverOptimized(tab, nil) != nil {
		t.Error("a test of nothing")
	}
	for _, c := range []struct {
		name              string
		tuned             []compare.Course
		rows, few, family int
		found             []string
		from              int64
	}{
		{"two seeds", []compare.Course{course(0, 2, up, down, .001)}, 0, 1, 0, nil, 0},
		{"both rise", []compare.Course{course(0, 8, up, up, .001)}, 1, 0, 2, nil, 0},
		{"both fall", []compare.Course{course(0, 8, down, down, .001), course(1, 2, up, down, .001)}, 1, 1, 2, nil, 0},
		{"the proxy falls, the gold rises", []compare.Course{course(0, 8, down, up, .001)}, 1, 0, 2, nil, 0},
		{"too much noise", []compare.Course{course(0, 3, up, peak, .08), course(1, 3, up, down, .08)}, 2, 0, 4, nil, 0},
		{"the gold peaks", []compare.Course{course(0, 8, up, up, .01), course(1, 8, up, peak, .01)}, 2, 0, 4, []string{"b"}, 50},
		{"the surest first", []compare.Course{course(0, 8, up, peak, .02), course(2, 8, up, peak, .01)}, 2, 0, 4, []string{"c", "a"}, 50},
	} {
		o := compare.OverOptimized(tab, c.tuned)
		var found []string
		for _, f := range o.Found {
			found = append(found, f.Row)
			if f.From != c.from || f.To != 100 || f.PCorrected >= .05 || f.Proxy.Corrected.Low <= 0 || f.Gold.Corrected.High >= 0 {
				t.Errorf("%s: found %+v", c.name, f)
			}
		}
		if o.Rows != c.rows || o.Few != c.few || o.Family != c.family || len(found) != len(c.found) {
			t.Errorf("%s: %+v", c.name, o)
			continue
		}
		for i := range found {
			if found[i] != c.found[i] {
				t.Errorf("%s: found %v, want %v", c.name, found, c.found)
			}
		}
	}

	// A row that was stopped early counts as the two pairs that it would have had.
	one := compare.OverOptimized(tab, []compare.Course{course(0, 8, up, peak, .01)})
	tab.Rows[1].Stopped = &compare.Stopped{Step: 50}
	both := compare.OverOptimized(tab, []compare.Course{course(0, 8, up, peak, .01)})
	if one.Family != 2 || both.Family != 4 || math.Abs(both.Found[0].PCorrected-2*one.Found[0].PCorrected) > 1e-15 {
		t.Errorf("a family of %d and p %v, with a row that was stopped %d and %v", one.Family, one.Found[0].PCorrected, both.Family, both.Found[0].PCorrected)
	}
}
