package stats

import (
	"cmp"
	"math"
	"slices"
)

// Accuracy is the share of scores on the right side: above the threshold where
// good, not above it where not; NaN without scores.
func Accuracy(scores []float64, good []bool, threshold float64) float64 {
	right := 0
	for i, s := range scores {
		if (s > threshold) == good[i] {
			right++
		}
	}
	return float64(right) / float64(len(scores))
}

// Threshold is the cut of highest accuracy on these scores, the lowest of
// several: half-way between two neighbouring scores, or beyond them all, an
// infinity, where one answer for all does best. The accuracy on the
// same scores is too high: use the threshold on others.
func Threshold(scores []float64, good []bool) float64 {
	order := byScore(scores)
	// Below every score all are called good.
	right := 0
	for _, g := range good {
		if g {
			right++
		}
	}
	best, cut := right, math.Inf(-1)
	for k, i := range order {
		if good[i] {
			right--
		} else {
			right++
		}
		next := math.Inf(1)
		if k+1 < len(order) {
			next = scores[order[k+1]]
		}
		if next > scores[i] && right > best {
			best, cut = right, next
			if !math.IsInf(next, 1) {
				cut = (scores[i] + next) / 2
			}
		}
	}
	return cut
}

// AUC is the probability that a good one scores above one that is not, ties
// counted half: the area under the ROC curve, Mann and Whitney's U over the
// number of pairs (Hanley & McNeil 1982). It reports false where all are good or
// none is.
func AUC(scores []float64, good []bool) (float64, bool) {
	order := byScore(scores)
	var u, below, tied, goodTied, n float64
	for k, i := range order {
		if good[i] {
			goodTied++
			n++
		} else {
			tied++
		}
		if k+1 == len(order) || scores[order[k+1]] > scores[i] {
			u += goodTied * (below + tied/2)
			below += tied
			tied, goodTied = 0, 0
		}
	}
	if n == 0 || below == 0 {
		return 0, false
	}
	return u / (n * below), true
}

func byScore(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	return order
}

// Bin is the scores from Low up to, but without, High; the last bin has 1 too.
type Bin struct {
	Low, High float64
	N         int
	Score     float64 // their mean; 0 of none
	Good      float64 // the share that is good
}

// Reliability sorts scores in [0, 1] into bins of equal width (DeGroot &
// Fienberg 1983). Scores outside go to the nearest bin.
func Reliability(scores []float64, good []bool, bins int) []Bin {
	out := make([]Bin, bins)
	for b := range out {
		out[b].Low, out[b].High = float64(b)/float64(bins), float64(b+1)/float64(bins)
	}
	for i, s := range scores {
		// By the bounds themselves: s·bins may round to the other side of one.
		b := 0
		for b < bins-1 && s >= out[b].High {
			b++
		}
		out[b].N++
		out[b].Score += s
		if good[i] {
			out[b].Good++
		}
	}
	for b := range out {
		if n := float64(out[b].N); n > 0 {
			out[b].Score /= n
			out[b].Good /= n
		}
	}
	return out
}

// CalibrationError is the expected calibration error, the mean over scores of
// the distance in their bin between mean score and share of good (Naeini et al.
// 2015; Guo et al. 2017, arXiv 1706.04599, eq. 3). It depends on the bins, and
// with few scores it is above 0 even if they are calibrated; NaN without scores.
func CalibrationError(bins []Bin) float64 {
	var sum, n float64
	for _, b := range bins {
		sum += float64(b.N) * math.Abs(b.Score-b.Good)
		n += float64(b.N)
	}
	return sum / n
}
