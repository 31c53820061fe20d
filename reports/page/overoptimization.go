package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/reports/figure"
	"ablate/reports/format"
)

// overOptimization is the figure of proxy and gold against distance and what it
// says: nothing where no fine-tuning was probed by both and no arm keeps the best of n.
func (r Report) overOptimization() []shown {
	tuned, best := figure.Courses(r.Table, r.Curves), figure.BestOf(r.Table, r.Trials)
	f, ok := figure.OverOptimization(tuned, best)
	if !ok {
		return nil
	}
	caption := []string{"Over-optimization: proxy (hollow, dashed) and gold (filled, solid) against √KL from the pretrained model, as Gao et al. 2022 (arXiv 2210.10760) plot them."}
	if len(tuned) > 0 {
		caption = append(caption, overOptimized(r.Table, tuned))
	}
	caption = append(caption, "Proxy: mean score by the base trial's learned reward, whichever reward a row learned from. Gold: share called good. A panel a row; in grey, the gold of the others.")
	if len(tuned) > 0 {
		probes := "A point is a probe"
		if r.ProbeImages > 0 {
			probes += fmt.Sprintf(" of %d images a seed", r.ProbeImages)
		}
		caption = append(caption, fmt.Sprintf("%s, at the mean √KL of its seeds (%s a row).", probes, seedsOf(tuned)))
	}
	if len(best) > 0 {
		images := 0 // of a seed
		for _, c := range best {
			if n := r.Table.Rows[c.Row].Cells["alignment"].Images; images == 0 || n < images {
				images = n
			}
		}
		of := ""
		if images > 0 {
			of = fmt.Sprintf(", %d images a seed", images)
		}
		caption = append(caption, fmt.Sprintf("Best of n (%s a point%s; a panel an arm): draws are chosen by the trial's own reward, and where that is the proxy, it flatters what it chose.", seedsOf(best), of))
	}
	if len(tuned) > 0 && len(best) > 0 {
		caption = append(caption, "Its KL is the formula log n − (n−1)/n, that of fine-tuning an estimate along the path of denoising: two different estimators, so distances are not to be compared between the two.")
	} else if len(best) > 0 {
		caption = append(caption, "KL is the formula log n − (n−1)/n, computed and not measured; it is not to be compared with the distance of a fine-tuning.")
	}
	enough, few := false, false
	for _, c := range slices.Concat(tuned, best) {
		if stats.Independent(c.Points[0].Seeds) >= 3 {
			enough = true
		} else {
			few = true
		}
	}
	switch {
	case enough && few:
		caption = append(caption, "Bands (the gold's filled, the proxy's with dashed edges): 95% of the mean over seeds, of its level; changes are paired by seed and may be surer; with fewer than three seeds, small points are the seeds.")
	case enough:
		caption = append(caption, "Bands (the gold's filled, the proxy's with dashed edges): 95% of the mean over seeds, of its level; changes are paired by seed and may be surer.")
	default:
		caption = append(caption, "Small points: the seeds, too few for an interval over them.")
	}
	return []shown{{Name: "overoptimization", Section: "training", Caption: strings.Join(caption, " "), figure: f}}
}

// seedsOf is how many independent seeds courses have.
func seedsOf(list []figure.Course) string {
	least, most := 0, 0
	for i, c := range list {
		for _, p := range c.Points {
			n := stats.Independent(p.Seeds)
			if most = max(most, n); least == 0 && i == 0 || n < least {
				least = n
			}
		}
	}
	if least < most {
		return fmt.Sprintf("%d to %d seeds", least, most)
	}
	return format.Count(least, "seed")
}

// overOptimized says for which rows the proxy rose while the gold fell from an
// earlier probe to the last. Both must: the p value of a pair of probes is the
// larger of the two (an intersection-union test), and all pairs of all rows are
// one family, corrected by Holm.
func overOptimized(t *compare.Table, tuned []figure.Course) string {
	type pair struct {
		row         int
		from, to    int64
		n           int
		proxy, gold compare.Cell
		p           float64
	}
	var family []pair
	var p []float64
	var tested []figure.Course
	for _, c := range tuned {
		last := c.Points[len(c.Points)-1]
		if stats.Independent(last.Seeds) < 3 {
			continue
		}
		tested = append(tested, c)
		for _, early := range c.Points[:len(c.Points)-1] {
			q := pair{row: c.Row, from: early.At, to: last.At, n: stats.Independent(last.Seeds), p: 1}
			proxy, ok := stats.OverSeeds(last.Seeds, less(last.Proxy, early.Proxy))
			gold, ok2 := stats.OverSeeds(last.Seeds, less(last.Gold, early.Gold))
			if ok && ok2 && proxy.SD > 0 && gold.SD > 0 {
				q.proxy, q.gold = overSeeds(proxy), overSeeds(gold)
				if proxy.Mean > 0 && gold.Mean < 0 {
					q.p = max(proxy.P(0), gold.P(0))
				}
			}
			family, p = append(family, q), append(p, q.p)
		}
	}
	if len(tested) == 0 {
		return "With fewer than three seeds a row, it is not tested whether the proxy rose while the gold fell."
	}
	found := map[int]pair{} // the plainest pair of each row
	for i, c := range stats.Holm(p, .05) {
		if old, ok := found[family[i].row]; c.P < .05 && (!ok || family[i].p < old.p) {
			found[family[i].row] = family[i]
		}
	}
	const rose = "the proxy rose while the gold fell from an earlier probe to the last"
	size := fmt.Sprintf("three seeds or more; %s of probes, paired by seed, corrected by Holm", format.Count(len(family), "pair"))
	if len(found) == 0 {
		return fmt.Sprintf("In none of %s is it significant that %s (%s).", format.Count(len(tested), "row"), rose, size)
	}
	list := make([]pair, 0, len(found))
	for _, q := range found {
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b pair) int { return cmp.Or(cmp.Compare(a.p, b.p), cmp.Compare(a.row, b.row)) })
	var say []string
	const most = 4
	for _, q := range list[:min(len(list), most)] {
		say = append(say, fmt.Sprintf("“%s”, step %d to %d: proxy %s, gold %s (%d seeds)", t.Rows[q.row].Label, q.from, q.to, format.Change("proxy", q.proxy), format.Change("alignment", q.gold), q.n))
	}
	if len(list) > most {
		say = append(say, fmt.Sprintf("and %d more", len(list)-most))
	}
	return fmt.Sprintf("Significant, if differences are normal over seeds: %s, in %d of %s (%s). Of each the pair of probes with the smallest p, brackets 95%%, not corrected: %s.",
		rose, len(found), format.Count(len(tested), "row"), size, strings.Join(say, "; "))
}

func less(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

// overSeeds is an estimate with its 95% interval.
func overSeeds(e stats.Estimate) compare.Cell {
	i := e.Interval(compare.Level)
	return compare.Cell{Mean: e.Mean, Low: i.Low, High: i.High, Interval: compare.OverSeeds}
}
