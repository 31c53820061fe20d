package finetune

import (
	"math"
)

// Advantages returns (r - r̄)/(sd + 1e-4), where r̄ is the mean of the image's group and sd the
// population standard deviation of all scores or, if own is true, of its group
// (Flow-GRPO, arXiv 2505.05470, eq. 4; most later methods take that of all scores).
func Advantages(r []float32, group []int, own bool) []float32 {
	mean, sd, n := map[int]float64{}, map[int]float64{}, map[int]float64{}
	var all, square float64
	for i, x := range r {
		mean[group[i]] += float64(x)
		n[group[i]]++
		all += float64(x) / float64(len(r))
	}
	for g := range mean {
		mean[g] /= n[g]
	}
	for i, x := range r {
		sd[group[i]] += (float64(x) - mean[group[i]]) * (float64(x) - mean[group[i]]) / n[group[i]]
		square += (float64(x) - all) * (float64(x) - all) / float64(len(r))
	}
	a := make([]float32, len(r))
	for i, x := range r {
		spread := square
		if own {
			spread = sd[group[i]]
		}
		a[i] = float32((float64(x) - mean[group[i]]) / (math.Sqrt(spread) + 1e-4))
	}
	return a
}

// AdvantageClip is the largest advantage, in every published setting.
const AdvantageClip = 5

// Optimality returns A clipped to ±c and mapped to [0, 1]: clip(A, ±c)/2c + 1/2
// (DiffusionNFT, arXiv 2509.16117, eq. 12).
func Optimality(a []float32, c float64) []float32 {
	r := make([]float32, len(a))
	for i, x := range a {
		r[i] = float32(min(max(float64(x), -c), c)/(2*c) + .5)
	}
	return r
}

// EffectiveSampleSize is (Σ|w|)²/Σw², at most len(w) (Kish 1965).
func EffectiveSampleSize(w []float32) float64 {
	var sum, squares float64
	for _, x := range w {
		sum += math.Abs(float64(x))
		squares += float64(x) * float64(x)
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / squares
}

// clipTo clips x to ±c in place.
func clipTo(x []float32, c float32) []float32 {
	for i := range x {
		x[i] = min(max(x[i], -c), c)
	}
	return x
}

// moments returns the mean and the population standard deviation.
func moments(x []float32) (mean, sd float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		sd += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, math.Sqrt(sd)
}
