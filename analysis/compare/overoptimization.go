package compare

import (
	"cmp"
	"slices"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// OverOptimization is the test of whether fine-tunings over-optimize: whether, from an earlier
// probe to the last one, the proxy that they maximize rose while the gold fell (Gao et al.
// 2022, arXiv 2210.10760).
//
// A pair of probes shows over-optimization where both changes are significant, each one-sided:
// its p value is the larger of the two (intersection-union test, Berger 1982). Changes are
// paired by seed and estimated on the scales of the metrics, with standard deviations moderated
// over the pairs. All pairs of all rows are one family, corrected by Holm. Corrected intervals
// exclude 0 exactly where the tests reject it. They are over seeds, for the prompts of the
// probes. A row that was stopped early counts as the most pairs that another row has, without
// over-optimization.
type OverOptimization struct {
	Rows   int    `json:"rows"`   // number of rows that are tested
	Few    int    `json:"few"`    // number of rows with fewer than three independent seeds, which are not tested
	Family int    `json:"family"` // number of pairs of probes that are corrected together
	Found  []Turn `json:"found"`  // for each row that over-optimizes, its pair with the smallest p; rows in the order of p
}

// Turn is a pair of probes of a fine-tuning between which the proxy rose and the gold fell.
type Turn struct {
	Row        string     `json:"row"`  // label
	From       int64      `json:"from"` // step of the earlier probe
	To         int64      `json:"to"`   // step of the last probe
	Proxy      Difference `json:"proxy"`
	Gold       Difference `json:"gold"`
	PCorrected float64    `json:"pCorrected"` // p value of the pair, corrected by Holm
}

// OverOptimized tests the courses of fine-tunings (Courses) of a table. It returns nil where
// there are none.
func OverOptimized(t *Table, tuned []Course) *OverOptimization {
	if len(tuned) == 0 {
		return nil
	}
	type pair struct {
		row         int
		from, to    int64
		proxy, gold measured
	}
	of := func(name string) Metric { m, _ := t.Metric(name); return m }
	o, looks := &OverOptimization{Found: []Turn{}}, stats.NewLooks(t.Looks)
	var family []*pair
	pairs := 0 // the most of a row
	for _, c := range tuned {
		last := c.Points[len(c.Points)-1]
		if stats.Independent(last.Seeds) < stats.LeastSeeds {
			o.Few++
			continue
		}
		o.Rows++
		pairs = max(pairs, len(c.Points)-1)
		for _, early := range c.Points[:len(c.Points)-1] {
			n := min(early.Images, last.Images)
			family = append(family, &pair{row: c.Row, from: early.At, to: last.At,
				proxy: change(of("proxy"), looks, last.Seeds, last.Proxy, early.Proxy, n), gold: change(of("alignment"), looks, last.Seeds, last.Gold, early.Gold, n)})
		}
	}
	untested := 0
	for _, r := range t.Rows {
		if r.Stopped != nil && r.SameAs == "" {
			untested += pairs
		}
	}
	o.Family = len(family) + untested
	proxies, golds := make([]*measured, len(family)), make([]*measured, len(family))
	for i, q := range family {
		proxies[i], golds[i] = &q.proxy, &q.gold
	}
	moderate(proxies)
	moderate(golds)
	p := make([]float64, len(family))
	for i, q := range family {
		if p[i] = 1; q.proxy.SE() > 0 && q.gold.SE() > 0 {
			p[i] = max(q.proxy.Above(0), q.gold.Below(0))
		}
	}
	found := map[int]int{} // by row, the pair with the smallest p
	corrected := stats.Holm(withUntested(p, untested), alpha)[:len(family)]
	for i, c := range corrected {
		if best, ok := found[family[i].row]; c.P < alpha && (!ok || p[i] < p[best]) {
			found[family[i].row] = i
		}
	}
	order := make([]int, 0, len(found))
	for _, i := range found {
		order = append(order, i)
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(cmp.Compare(p[i], p[j]), cmp.Compare(i, j)) })
	for _, i := range order {
		q, c := family[i], corrected[i]
		o.Found = append(o.Found, Turn{Row: t.Rows[q.row].Label, From: q.from, To: q.to, Proxy: q.proxy.changed(c.Level), Gold: q.gold.changed(c.Level), PCorrected: c.P})
	}
	return o
}

// change estimates the change of a metric from before to after, over seeds that have both
// values. Each value is of the same n samples (0: unknown).
func change(m Metric, looks *stats.Looks, seeds []stats.Seed, after, before []float64, n int) measured {
	d := measured{scale: m.Scale(), seeds: seeds, samples: n, images: n}
	if !d.scale.Fits(after...) || !d.scale.Fits(before...) {
		d.scale = stats.Identity
	}
	base := measured{scale: d.scale, seeds: seeds}
	d.Looks, base.Looks = looks, looks
	k := float64(len(seeds))
	for i := range seeds {
		from := d.scale.To(before[i], n)
		d.y, d.raw, base.y = append(d.y, d.scale.To(after[i], n)-from), append(d.raw, after[i]-before[i]), append(base.y, from)
		if m.Range == table.Share && d.scale == stats.Logit && counted(after[i], n) && counted(before[i], n) {
			d.Floor += stats.Discordant(after[i], before[i], n) / (k * k)
			base.Floor += stats.Binomial(before[i], n) / (k * k)
		}
	}
	base.estimate()
	d.at(base)
	d.estimate()
	return d
}

// changed returns a change in the metric's units, with the interval of a one-sided test at a
// level.
func (d measured) changed(level float64) Difference {
	var b builder
	bounds := d.interval(2*level-1, true)
	return Difference{Cell: b.show(d, true), Corrected: &bounds, measured: d}
}
