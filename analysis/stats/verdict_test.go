package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"ablate/analysis/stats"
)

func TestVerdicts(t *testing.T) {
	scores := []float64{.1, .4, .4, .6, .8, .9}
	good := []bool{false, false, true, false, true, true}
	if got := stats.Accuracy(scores, good, .5); math.Abs(got-4./6) > 1e-12 {
		t.Errorf("accuracy %v, want 4/6", got)
	}
	if got := stats.Accuracy([]float64{.5}, []bool{true}, .5); got != 0 {
		t.Error("a score of the threshold itself is called good")
	}
	// Pairs of good and not good: .4 beats .1, ties .4, loses to .6; .8 and .9 beat all.
	if got, ok := stats.AUC(scores, good); !ok || math.Abs(got-(1.5+3+3)/9) > 1e-12 {
		t.Errorf("AUC %v, %t, want 7.5/9", got, ok)
	}
	for _, all := range []bool{true, false} {
		if _, ok := stats.AUC([]float64{1, 2}, []bool{all, all}); ok {
			t.Errorf("an AUC where all are %t", all)
		}
	}
	if got, _ := stats.AUC([]float64{3, 3, 3}, []bool{true, false, true}); got != .5 {
		t.Errorf("AUC of ties is %v, want 1/2", got)
	}
}

// TestAUCByPairs compares with a count of all pairs.
func TestAUCByPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 2 + r.IntN(40)
		scores, good := make([]float64, n), make([]bool, n)
		for i := range n {
			scores[i], good[i] = float64(r.IntN(8)), r.IntN(3) == 0
		}
		var sum, pairs float64
		for i := range n {
			for j := range n {
				if good[i] && !good[j] {
					pairs++
					switch {
					case scores[i] > scores[j]:
						sum++
					case scores[i] == scores[j]:
						sum += .5
					}
				}
			}
		}
		if got, ok := stats.AUC(scores, good); ok != (pairs > 0) || ok && math.Abs(got-sum/pairs) > 1e-12 {
			t.Errorf("AUC %v, %t, by pairs %v of %v", got, ok, sum, pairs)
		}
	}
}

// TestThreshold compares with the best of all thresholds.
func TestThreshold(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		n := 1 + r.IntN(30)
		scores, good := make([]float64, n), make([]bool, n)
		for i := range n {
			scores[i], good[i] = float64(r.IntN(10)), r.IntN(2) == 0
		}
		best := math.Inf(-1)
		for cut := -.5; cut < 10; cut++ {
			best = max(best, stats.Accuracy(scores, good, cut))
		}
		cut := stats.Threshold(scores, good)
		if got := stats.Accuracy(scores, good, cut); got != best {
			t.Errorf("cut at %v: accuracy %v, the best is %v", cut, got, best)
		}
		above := func(cut float64) (n int) {
			for _, s := range scores {
				if s > cut {
					n++
				}
			}
			return n
		}
		for lower := -.5; lower < 10; lower++ {
			if above(lower) > above(cut) && stats.Accuracy(scores, good, lower) == best {
				t.Errorf("%v is as good as %v, and lower", lower, cut)
			}
		}
	}
	if got := stats.Threshold([]float64{1, 3}, []bool{false, true}); got != 2 {
		t.Errorf("the cut between 1 and 3 is %v", got)
	}
	if got := stats.Threshold([]float64{1, 3}, []bool{false, false}); !math.IsInf(got, 1) {
		t.Errorf("where none is good the cut is %v", got)
	}
}

// TestReliability checks bounds, empty bins and the error by hand; .3 belongs to the bin that
// begins there, although 10·.3 may be rounded down.
func TestReliability(t *testing.T) {
	scores := []float64{0, .05, .3, .35, .7, 1, 1, 1.2, -.1}
	good := []bool{false, true, false, true, true, true, false, true, false}
	bins := stats.Reliability(scores, good, 10)
	want := map[int]stats.Bin{
		0: {N: 3, Score: -.05 / 3, Good: 1. / 3}, 3: {N: 2, Score: .325, Good: .5}, 7: {N: 1, Score: .7, Good: 1}, 9: {N: 3, Score: 3.2 / 3, Good: 2. / 3},
	}
	total := 0
	for b, got := range bins {
		w := want[b]
		if got.N != w.N || math.Abs(got.Score-w.Score) > 1e-12 || math.Abs(got.Good-w.Good) > 1e-12 || got.Low != float64(b)/10 || got.High != float64(b+1)/10 {
			t.Errorf("bin %d is %+v, want %+v", b, got, w)
		}
		total += got.N
	}
	if total != len(scores) {
		t.Errorf("%d scores of %d", total, len(scores))
	}
	ece := (3*(1./3+.05/3) + 2*.175 + 1*.3 + 3*(3.2/3-2./3)) / 9
	if got := stats.CalibrationError(bins); math.Abs(got-ece) > 1e-12 {
		t.Errorf("calibration error %v, want %v", got, ece)
	}
	if !math.IsNaN(stats.CalibrationError(stats.Reliability(nil, nil, 10))) {
		t.Error("the calibration error of nothing is a number")
	}
}
