package stage

import (
	"ablate/models/shapes"
)

// Memory is what a stage needs at the least, in bytes, whatever computes it: the
// weights with what Adam keeps of each, the data that it holds, and one
// activation a block of each image of a batch. What a backend takes beside that
// is its own matter, so that too little for this is too little for certain.
func Memory(params any) int64 {
	const float = 4
	switch p := params.(type) {
	case PretrainParams:
		weights := int64(p.Layers) * 12 * int64(p.Width) * int64(p.Width)
		// weights, gradient, two moments and the running mean
		return 5*float*weights + int64(p.Data.Pairs)*shapes.Pixels + float*int64(p.Batch)*int64(p.Layers)*int64(p.Width)*4
	case EmbedParams:
		return int64(p.Data.Pairs)*shapes.Pixels + float*int64(p.Batch)*shapes.Pixels
	case SampleParams:
		return int64(p.Images) * shapes.Pixels
	case FinetuneParams:
		if p.Data.Pairs > 0 {
			return int64(p.Data.Pairs)*shapes.Pixels + float*int64(p.Recipe.Batch)*shapes.Pixels
		}
		return float * int64(p.Recipe.Batch) * shapes.Pixels
	case EvaluateParams:
		return int64(p.Images+p.FidelityImages) * shapes.Pixels
	}
	return 0
}
