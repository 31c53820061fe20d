package raters

import (
	"math"

	"ablate/analysis/stats"
)

// A Vote is a rater's choice between two sides on an item: 1 for the first side, 0 for the second, 1/2 for neither.
type Vote struct {
	Item, Rater int
	Value       float64
}

// A Preference is what votes say of the first side against the second.
type Preference struct {
	Wins, Ties, Losses int
	Items, Raters      int
	Share              Estimate // of votes for the first side, ties as half a vote, with its interval
}

// Prefer returns what votes say, with an interval that covers at a level what other raters would say of other items.
// Of one rater it covers what he would say of other items. It is NaN where there are no votes.
//
// Votes share items and raters, so that the variance of their mean is that of the sums over items, plus that of the sums
// over raters, less that of the votes, which both contain (Cameron, Gelbach and Miller 2011, "Robust inference with multiway
// clustering", eq. 2.8). The degrees of freedom are Satterthwaite's, since raters are few. Where all votes are
// equal, which says nothing of their variance, it is Wilson's interval of the items; of one item it is all from 0 to 1.
func Prefer(votes []Vote, level float64) (p Preference) {
	items, raters := map[int]float64{}, map[int]float64{}
	sum := 0.
	for _, v := range votes {
		sum += v.Value
		switch v.Value {
		case 1:
			p.Wins++
		case 0:
			p.Losses++
		default:
			p.Ties++
		}
	}
	n := float64(len(votes))
	mean := sum / n
	single := 0.
	for _, v := range votes {
		d := v.Value - mean
		items[v.Item] += d
		raters[v.Rater] += d
		single += d * d
	}
	p.Items, p.Raters = len(items), len(raters)
	p.Share.Value = mean
	clustered := func(of map[int]float64) (variance, df float64) {
		if len(of) < 2 {
			return 0, 1
		}
		for _, s := range of {
			variance += s * s
		}
		df = float64(len(of) - 1)
		return variance * float64(len(of)) / df / (n * n), df
	}
	byItem, itemDF := clustered(items)
	byRater, raterDF := clustered(raters)
	both := 0.
	if p.Items > 1 && p.Raters > 1 {
		both = single / (n * n)
	}
	variance := max(byItem+byRater-both, byItem, byRater)
	switch {
	case p.Items < 2: // one item says nothing of others
		p.Share.Low, p.Share.High = 0, 1
		return p
	case variance == 0:
		w := stats.Wilson(int(math.Round(mean*float64(p.Items))), p.Items, level)
		p.Share.Low, p.Share.High = w.Low, w.High
		return p
	}
	df := variance * variance / (byItem*byItem/itemDF + byRater*byRater/raterDF + both*both/(itemDF*raterDF))
	i := stats.Student(mean, math.Sqrt(variance), min(df, n-1), level)
	p.Share.Low, p.Share.High = max(0, i.Low), min(1, i.High)
	return p
}
