package stats

import (
	"cmp"
	"math"
	"slices"
)

// Accuracy returns the share of scores that are classified correctly: above the threshold where
// good, not above it where not. It is NaN without scores.
func Accuracy(scores []float64, good []bool, threshold float64) float64 {
	right := 0
	for i, s := range scores {
		if (s > threshold) == good[i] {
			right++
		}
	}
	return float64(right) / float64(len(scores))
}

// Threshold returns the threshold with the highest accuracy on these scores, the lowest if
// there are several: half-way between two neighbouring scores, or an infinity, where the same
// class for all is most accurate. Its accuracy on the same scores is biased upwards, so use the
// threshold on other scores.
func Threshold(scores []float64, good []bool) float64 {
	order := byScore(scores)
	// A threshold below every score classifies all as good.
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

// AUC returns the area under the ROC curve: the probability that a good sample scores above one
// that is not good, with ties counted as half (Mann and Whitney's U divided by the number of
// pairs, Hanley & McNeil 1982). It returns false where all samples are good or none is.
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

// Bin is a bin of a reliability diagram: scores in [Low, High); the last bin includes 1.
type Bin struct {
	Low, High float64
	N         int
	Score     float64 // mean score; 0 where N is 0
	Good      float64 // share of good samples; 0 where N is 0
}

// Reliability returns the bins, of equal width, of a reliability diagram of scores in [0, 1]
// (DeGroot & Fienberg 1983). Scores outside [0, 1] go to the nearest bin.
func Reliability(scores []float64, good []bool, bins int) []Bin {
	out := make([]Bin, bins)
	for b := range out {
		out[b].Low, out[b].High = float64(b)/float64(bins), float64(b+1)/float64(bins)
	}
	for i, s := range scores {
		// Compares with the bounds, because s·bins may round to the other side of one.
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

// CalibrationError returns the expected calibration error: the mean over scores of the absolute
// difference between mean score and share of good samples in their bin (Naeini et al. 2015; Guo
// et al. 2017, arXiv 1706.04599, eq. 3). It depends on the bins, and with few scores it is
// above 0 even for calibrated scores. It is NaN without scores.
func CalibrationError(bins []Bin) float64 {
	var sum, n float64
	for _, b := range bins {
		sum += float64(b.N) * math.Abs(b.Score-b.Good)
		n += float64(b.N)
	}
	return sum / n
}
