package finetune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Filtered is the name of the method, and of what engines are given of the images.
const Filtered = "filtered"

// filtered is the likelihood of the images with the highest scores: the "sparse" weights
// of RWR in the code of Black et al. 2023 (arXiv 2305.13301).
type filtered struct {
	weightedLikelihood
	Filter
}

// A Filter is a rule by which images with high scores are kept.
type Filter struct {
	By        string  `json:"by" key:"filtered.by"`               // fraction or threshold
	Fraction  float64 `json:"fraction" key:"filtered.fraction"`   // of the images that are kept
	Threshold float64 `json:"threshold" key:"filtered.threshold"` // or the least score that is kept
}

// Weights returns weight 1 for scores of images that are kept, and 0 for the rest. It returns
// ErrNothing if none is.
func (f Filter) Weights(scores []float32) (weights []float32, err error) {
	switch f.By {
	case "threshold":
		weights = Above(scores, f.Threshold)
	case "fraction":
		weights = Top(scores, f.Fraction)
	default:
		return nil, fmt.Errorf("finetune: unknown filtered.by %q: must be fraction or threshold", f.By)
	}
	if !slices.Contains(weights, 1) {
		return nil, fmt.Errorf("finetune: no image has a score of at least %v, so that filtered keeps none: %w", f.Threshold, ErrNothing)
	}
	return weights, nil
}

func (filtered) Name() string { return "filtered" }

func (m filtered) Prepare(p *Pool, batch int) (*Plan, error) {
	weights, err := m.Weights(p.Scores)
	if err != nil {
		return nil, err
	}
	// A step draws from the kept images only: in a batch drawn from all images most
	// would have weight 0.
	kept := p.Sampler(p.Where(func(i int) bool { return weights[i] > 0 }))
	if kept.Empty() {
		return nil, fmt.Errorf("finetune: the images that filtered keeps have no weight: %w", ErrNothing)
	}
	return &Plan{Weights: weights, Effective: weights, Draw: func(r *rand.Rand) []int { return kept.DrawBatch(r, batch) }}, nil
}

// Top returns weight 1 for the best fraction of scores r, all ties with the lowest of them
// included, and 0 for the rest.
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

// Above returns weight 1 for scores of at least the threshold, and 0 for the rest.
func Above(r []float32, threshold float64) []float32 {
	w := make([]float32, len(r))
	for i, x := range r {
		if float64(x) >= threshold {
			w[i] = 1
		}
	}
	return w
}
