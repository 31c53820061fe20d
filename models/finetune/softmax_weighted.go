package finetune

import (
	"math"
	"math/rand/v2"
	"slices"
)

// SoftmaxWeighted is the name of the method.
const SoftmaxWeighted = "softmax-weighted"

// softmaxWeighted is reward-weighted regression (RWR, in the code of Black et al. 2023,
// arXiv 2305.13301): the mean of w·ℓ with weights in proportion to exp(τ·r). τ multiplies
// the reward, so it is an inverse temperature, although that code has another name for it.
type softmaxWeighted struct {
	weightedLikelihood
	Tau float64 `json:"tau" key:"softmax.tau"`
}

func (softmaxWeighted) Name() string { return "softmax-weighted" }

func (m softmaxWeighted) Prepare(p *Pool, batch int) (*Plan, error) {
	all := p.Sampler(p.All())
	share := make([]float64, len(p.Scores))
	for i := range share {
		share[i] = p.mix(i)
	}
	w := Softmax(p.Scores, share, m.Tau)
	return &Plan{Weights: w, Effective: w, Draw: func(r *rand.Rand) []int { return all.DrawBatch(r, batch) }}, nil
}

// Softmax returns weights in proportion to exp(τ·r). Their mean is 1 over images that are
// drawn with probabilities in proportion to share; nil means uniformly.
func Softmax(r []float32, share []float64, tau float64) []float32 {
	w := make([]float32, len(r))
	if len(r) == 0 {
		return w
	}
	top := slices.Max(r)
	var sum, shares float64
	for i, x := range r {
		s := 1.
		if share != nil {
			s = share[i]
		}
		e := math.Exp(tau * float64(x-top))
		w[i] = float32(e)
		sum += s * e
		shares += s
	}
	for i := range w {
		w[i] *= float32(shares / sum)
	}
	return w
}
