package page

import (
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/figure"
	"ablate/reports/format"
)

// overOptimization returns the figure of proxy and gold against distance, with its
// caption. It returns nothing if no fine-tuning was probed by both and no arm uses best
// of n.
func (r Report) overOptimization() []shown {
	tuned, best := compare.Courses(r.Table, r.Trials, r.Curves), compare.BestOf(r.Table, r.Trials)
	f, ok := figure.OverOptimization(r.Table, tuned, best)
	if !ok {
		return nil
	}
	caption := []string{"Over-optimization: proxy (hollow, dashed) and gold (filled, solid) against √KL from the pretrained model, as Gao et al. 2022 (arXiv 2210.10760) plot them."}
	if o := r.Table.OverOptimization; o != nil {
		caption = append(caption, format.OverOptimization(o))
	}
	gold := "share called good"
	if m, _ := r.Table.Metric("alignment"); m.Range == table.Mean {
		gold = "mean of its numbers"
	}
	caption = append(caption, "Proxy: mean score by the base trial's learned reward, whichever reward a row learned from. Gold: "+gold+". A panel a row; in grey, the gold of the others.")
	if len(tuned) > 0 {
		probes := "A point is a probe"
		if r.ProbeImages > 0 {
			probes += fmt.Sprintf(" of %d images a seed", r.ProbeImages)
		}
		caption = append(caption, fmt.Sprintf("%s, at the mean √KL of its seeds (%s a row).", probes, seedsOf(tuned)))
	}
	if len(best) > 0 {
		images := 0 // number of images per seed
		for _, c := range best {
			if n := r.Table.Rows[c.Row].Cells["alignment"].Images; images == 0 || n < images {
				images = n
			}
		}
		of := ""
		if images > 0 {
			of = fmt.Sprintf(", %d images a seed", images)
		}
		caption = append(caption, fmt.Sprintf("Best of n (%s a point%s; a panel an arm): images are selected by the trial's own reward. Where that reward is the proxy, the proxy of the selected images is too high.", seedsOf(best), of))
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
		caption = append(caption, "Bands (the gold's filled, the proxy's with dashed edges): 95% of the mean over seeds, for each point by itself; changes are paired by seed and may be surer; with fewer than three seeds, small points are the seeds.")
	case enough:
		caption = append(caption, "Bands (the gold's filled, the proxy's with dashed edges): 95% of the mean over seeds, for each point by itself; changes are paired by seed and may be surer.")
	default:
		caption = append(caption, "Small points: the seeds, too few for an interval over them.")
	}
	return []shown{{Name: "overoptimization", Section: "training", Caption: strings.Join(caption, " "), figure: f}}
}

// seedsOf returns in words how many independent seeds courses have.
func seedsOf(list []compare.Course) string {
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
