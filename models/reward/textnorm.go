package reward

import "math"

// TextNorm is the reward of an image among contrasting prompts (Kim et al., ICLR
// 2024, arXiv 2404.01863), for the scores r of one image under its prompt z,
// first, and under each contrasting prompt:
//
//	exp(r(x, z)/τ) / Σ_z' exp(r(x, z')/τ)
//
// The sum is over z and the contrasting prompts. What a picture gains under
// every prompt at once, by looking good in general, cancels. It depends on their
// number: with N that score as z does it is 1/(1+N), and 1 with none. The
// paper's rewards are unbounded and those here in [0, 1], so its τ is not ours.
func TextNorm(r []float32, temperature float64) float32 {
	var sum float64
	for _, v := range r {
		sum += math.Exp(float64(v-r[0]) / temperature)
	}
	return float32(1 / sum)
}
