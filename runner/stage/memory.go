package stage

import (
	"fmt"
	"math"

	"ablate/models/embedder"
	"ablate/models/finetune"
	"ablate/models/reward"
	"ablate/models/sampler"
	"ablate/models/shapes"
)

// Memory is what a stage needs at the least, in bytes, whatever computes it: the
// weights with what Adam keeps of each, the data that it holds, and one
// activation a block of each image of a batch. What a backend takes beside that
// is its own matter, so that too little for this is too little for certain. More
// than 64 bits can count is the largest number.
func Memory(params any) int64 {
	// In floating point, which does not overflow.
	const float, bytes = 4, shapes.Pixels // of a number, and of an image as bytes
	n := func(x int) float64 { return float64(x) }
	drawn := func(images int, s sampler.Options) float64 { return n(images)*(float+1)*bytes + float*n(s.Steps) }
	var need float64
	switch p := params.(type) {
	case PretrainParams:
		weights := n(p.Layers) * 12 * n(p.Width) * n(p.Width)
		// weights, gradient, two moments and the running mean
		need = 5*float*weights + n(p.Data.Pairs)*bytes + float*n(p.Batch)*n(p.Layers)*n(p.Width)*4
	case EmbedParams:
		need = n(p.Data.Pairs)*bytes + float*n(p.Batch)*(bytes+n(p.Batch)) // each pair against each
	case SampleParams:
		need = drawn(p.Images, p.Sampler)
	case RewardParams:
		c := reward.Default(embedder.Default(shapes.Vocabulary()).Width)
		weights := 0
		for _, w := range c.Params() {
			weights += w.Size()
		}
		need = float * (n(p.Members)*n(weights) + n(p.Batch)*(1+n(p.Perturbations))*n(c.Embedding))
	case FinetuneParams:
		r := p.Recipe
		need = float*n(r.Batch)*bytes + float*n(r.LoRA.Rank) + drawn(r.Fresh.Images, p.Sampler) + (n(p.Probes)+1)*n(p.ProbeImages)*bytes
		if p.Data.Pairs > 0 {
			need += n(p.Data.Pairs)*bytes + float*n(r.Batch)*p.Mix.Pretraining/2*bytes
		}
		if finetune.NeedsTrajectories(r.Method.Method) {
			need += float * n(r.Roll.Images) * (n(p.Sampler.Steps) + 1) * bytes
		}
	case EvaluateParams:
		// Inner products of the real images, the generated ones, and of both.
		f := n(p.FidelityImages)
		need = drawn(p.Images, p.Sampler) + f*bytes + 3*8*f*f
	}
	if need >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(need)
}

// addressable is what a process can address on the machines of today.
const addressable = 1 << 47

// checkMemory refuses what no machine has. What this machine has is not known here.
func checkMemory(params any) error {
	if need := Memory(params); need > addressable {
		return fmt.Errorf("it needs at least %.3g TB of memory, and a process has at most %.3g TB: make its model, batch or data smaller", float64(need)/1e12, addressable/1e12)
	}
	return nil
}
