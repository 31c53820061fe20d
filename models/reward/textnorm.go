package reward

import "math"

// TextNorm is the reward of an image under its prompt, normalized by contrasting prompts
// (Kim et al., ICLR 2024, arXiv 2404.01863). r are the scores of one image under its prompt
// z, first, and under each contrasting prompt:
//
//	exp(r(x, z)/τ) / Σ_z' exp(r(x, z')/τ)
//
// The sum is over z and the contrasting prompts. A gain of the image under every prompt at
// once cancels. The value depends on the number N of contrasting prompts: where all scores
// are equal it is 1/(1+N), and it is 1 where N is 0. The paper's rewards are unbounded and
// those here are in [0, 1], so that the paper's τ does not apply.
func TextNorm(r []float32, temperature float64) float32 {
	var sum float64
	for _, v := range r {
		sum += math.Exp(float64(v-r[0]) / temperature)
	}
	return float32(1 / sum)
}
