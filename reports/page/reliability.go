package page

import (
	"fmt"
	"strings"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/figure"
	"ablate/reports/format"
)

// reliability returns the figure of the learned rewards, with a caption that describes
// the first few. It returns nothing if no reward was learned. A reward is named by all
// rows that learned it.
func (r Report) reliability() []shown {
	rewards := figure.Rewards(r.Table, r.Reliability)
	f, ok := figure.Reliability(r.Table, rewards)
	if !ok {
		return nil
	}
	first := rewards[0]
	row := r.Table.Rows[first.Row]
	caption := "The share of images that the annotator labelled good, by the score of a learned reward, on images of the base model that no training used. Skipped images are left out. " +
		"A calibrated reward lies on the dashed diagonal. Bars: 95% intervals (Wilson), images taken as independent."
	for i, reward := range rewards {
		if i == mostCaptioned {
			caption += fmt.Sprintf(" %s more.", format.Count(len(rewards)-i, "reward"))
			break
		}
		caption += fmt.Sprintf(" Reward of %s: expected calibration error %s (%s, 10 bins).", rewardOf(r.Table, reward), format.Number(0, stats.CalibrationError(reward.Bins)), format.Count(reward.N, "image"))
	}
	seen, nSeen := meanOf(r.Trials, row.Trials, "reward.accuracy.seen")
	unseen, nUnseen := meanOf(r.Trials, row.Trials, "reward.accuracy.unseen")
	own, n := meanOf(r.Trials, row.Trials, "embedder.accuracy.seen")
	ownUnseen, m := meanOf(r.Trials, row.Trials, "embedder.accuracy.unseen")
	if nSeen > 0 && nUnseen > 0 && n > 0 && m > 0 {
		which := "It"
		if len(rewards) > 1 {
			which = "The first"
		}
		caption += fmt.Sprintf(" %s agrees with %s of the labels of seen prompts (%s) and %s of unseen ones (%s); the study's own embedder alone %s and %s.",
			which, format.Number(0, seen), format.Count(nSeen, "image"), format.Number(0, unseen), format.Count(nUnseen, "image"), format.Number(0, own), format.Number(0, ownUnseen))
	}
	return []shown{{Name: "reliability", Section: "training", Caption: caption, figure: f}}
}

// mostCaptioned is the largest number of rewards that a caption describes.
const mostCaptioned = 4

// rewardOf returns the name of a reward, which consists of the rows that learned it.
func rewardOf(t *compare.Table, reward figure.Reward) string {
	var names []string
	for _, i := range reward.Rows {
		names = append(names, "“"+format.Brief(t.Rows[i])+"”")
	}
	const shown = 6
	if len(names) > shown {
		names = append(names[:shown-1], fmt.Sprintf("%d more", len(names)-shown+1))
	}
	return strings.Join(names, ", ")
}

// meanOf returns a metric's mean over trials, and the number of their samples.
func meanOf(t *table.Table, trials []string, metric string) (mean float64, n int) {
	if t == nil {
		return 0, 0
	}
	id, value, count := t.Column("trial"), t.Column(metric), t.Column(metric+".n")
	if id == nil || value == nil || count == nil || value.Kind != table.Float || count.Kind != table.Int {
		return 0, 0
	}
	wanted := map[string]bool{}
	for _, trial := range trials {
		wanted[trial] = true
	}
	var values []float64
	for i, trial := range id.Strings {
		if wanted[trial] && value.Has(i) {
			wanted[trial] = false // another view of the trial must not count again
			values, n = append(values, value.Floats[i]), n+int(count.Ints[i])
		}
	}
	return stat.Mean(values, nil), n
}
