package reward

import "math"

// Pessimistic is the score of an ensemble, which lowers over-optimization: the mean
// of its members minus a penalty for their disagreement (Coste et al. 2023,
// arXiv 2310.02743, section 3, with the variance; Kim et al. 2024, arXiv
// 2404.01863, with the standard deviation), for K members' scores r_k float32[n]:
//
//	max(0, mean_k r_k - penalty · sd_k r_k)
//
// sd has the divisor K, because the members are the whole population. The score is at least
// 0, because fine-tuning uses it as a weight, and a negative weight would make an image less
// likely. It is at most the largest of the members' scores.
func Pessimistic(members [][]float32, penalty float64) []float32 {
	out := make([]float32, len(members[0]))
	k := float64(len(members))
	for i := range out {
		var mean, square float64
		for _, r := range members {
			mean += float64(r[i]) / k
		}
		for _, r := range members {
			d := float64(r[i]) - mean
			square += d * d / k
		}
		out[i] = float32(max(0, mean-penalty*math.Sqrt(square)))
	}
	return out
}
