package finetune

import (
	"math"
	"slices"
)

// Softmax are the weights n·softmax(τ·r) of reward-weighted regression (RWR, in
// the code of Black et al. 2023, arXiv 2305.13301); their mean is 1. τ multiplies: it is
// an inverse temperature, whatever that code calls it.
func Softmax(r []float32, tau float64) []float32 {
	w := make([]float32, len(r))
	if len(r) == 0 {
		return w
	}
	top := slices.Max(r)
	var sum float64
	for i, x := range r {
		e := math.Exp(tau * float64(x-top))
		w[i] = float32(e)
		sum += e
	}
	for i := range w {
		w[i] *= float32(float64(len(r)) / sum)
	}
	return w
}

// Top are the weights 1 of the best fraction of scores r and 0 of the rest; all
// that tie with the last of the best are among them.
func Top(r []float32, fraction float64) []float32 {
	sorted := slices.Clone(r)
	slices.Sort(sorted)
	keep := min(max(int(math.Round(fraction*float64(len(r)))), 1), len(r))
	w := make([]float32, len(r))
	for i, x := range r {
		if x >= sorted[len(r)-keep] {
			w[i] = 1
		}
	}
	return w
}

// Above are the weights 1 of scores of at least the threshold and 0 of the rest.
func Above(r []float32, threshold float64) []float32 {
	w := make([]float32, len(r))
	for i, x := range r {
		if float64(x) >= threshold {
			w[i] = 1
		}
	}
	return w
}

// Advantages are (r - r̄)/(sd + 1e-4), with r̄ the mean of the image's group and sd the
// population standard deviation of all scores, or with own of its group
// (Flow-GRPO, arXiv 2505.05470, eq. 4; most of its heirs take that of all).
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

// Optimality is A clipped to ±c and mapped to [0, 1]: clip(A, ±c)/2c + 1/2
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

// shares are the rows, float32[n·n], that average over each image's group.
func shares(group []int) []float32 {
	n := len(group)
	size := map[int]float32{}
	for _, g := range group {
		size[g]++
	}
	m := make([]float32, n*n)
	for i, g := range group {
		for j, h := range group {
			if g == h {
				m[i*n+j] = 1 / size[g]
			}
		}
	}
	return m
}
