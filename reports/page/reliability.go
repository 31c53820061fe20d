package page

import (
	"fmt"

	"gonum.org/v1/gonum/stat"

	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/reports/figure"
)

// reliability is the figure of the learned rewards and what it says of the first:
// nothing where none was learned.
func (r Report) reliability() []shown {
	rewards := figure.Rewards(r.Table, r.Reliability)
	f, ok := figure.Reliability(r.Table, rewards)
	if !ok {
		return nil
	}
	first := rewards[0]
	row := r.Table.Rows[first.Row]
	caption := fmt.Sprintf("Reliability of the learned rewards, on images of the base model that no training saw, against the annotator's labels, noise and all (skips left out). "+
		"On the dashed diagonal a score is the share labelled good. Bars: 95%% Wilson, images taken as independent. "+
		"Reward of “%s”: expected calibration error %.3f (n %d, 10 bins).", row.Label, stats.CalibrationError(first.Bins), first.N)
	seen, nSeen := meanOf(r.Trials, row.Trials, "reward.accuracy.seen")
	unseen, nUnseen := meanOf(r.Trials, row.Trials, "reward.accuracy.unseen")
	own, n := meanOf(r.Trials, row.Trials, "embedder.accuracy.seen")
	ownUnseen, m := meanOf(r.Trials, row.Trials, "embedder.accuracy.unseen")
	if nSeen > 0 && nUnseen > 0 && n > 0 && m > 0 {
		caption += fmt.Sprintf(" It guesses %.3f of the labels of seen prompts (n %d) and %.3f of unseen ones (n %d); the study's own embedder alone %.3f and %.3f.",
			seen, nSeen, unseen, nUnseen, own, ownUnseen)
	}
	return []shown{{Name: "reliability", Section: "training", Caption: caption, figure: f}}
}

// meanOf is a metric's mean over trials and the number of samples of them all.
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
			wanted[trial] = false // another view of it is no other trial
			values, n = append(values, value.Floats[i]), n+int(count.Ints[i])
		}
	}
	return stat.Mean(values, nil), n
}
