package stage

import (
	"math"

	"ablate/models/shapes"
)

// Memory is what a stage needs at the least, in bytes, whatever computes it: the
// weights with what Adam keeps of each, the data that it holds, and one
// activation a block of each image of a batch. What a backend takes beside that
// is its own matter, so that too little for this is too little for certain.
func Memory(params any) int64 {
	const float = 4
	// In floating point, for a study may ask for more than 64 bits can count.
	n := func(x int) float64 { return float64(x) }
	var need float64
	switch p := params.(type) {
	case PretrainParams:
		weights := n(p.Layers) * 12 * n(p.Width) * n(p.Width)
		// weights, gradient, two moments and the running mean
		need = 5*float*weights + n(p.Data.Pairs)*shapes.Pixels + float*n(p.Batch)*n(p.Layers)*n(p.Width)*4
	case EmbedParams:
		need = n(p.Data.Pairs)*shapes.Pixels + float*n(p.Batch)*shapes.Pixels
	case SampleParams:
		need = n(p.Images) * shapes.Pixels
	case FinetuneParams:
		need = float*n(p.Recipe.Batch)*shapes.Pixels + n(p.Recipe.Fresh)*shapes.Pixels
		if p.Data.Pairs > 0 {
			need += n(p.Data.Pairs)*shapes.Pixels + float*n(p.Recipe.Batch)*p.Mix.Pretraining/2*shapes.Pixels
		}
	case EvaluateParams:
		need = (n(p.Images) + n(p.FidelityImages)) * shapes.Pixels
	}
	if need >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(need)
}
