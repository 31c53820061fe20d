package stage

import (
	"fmt"
	"math"

	"ablate/models/sampler"
	"ablate/runner/world"
)

// Memory is what a stage needs at the least, in bytes, whatever computes it: the
// weights with what Adam keeps of each, the data that it holds, and one
// activation a block of each image of a batch. What a backend takes beside that
// is its own matter, so that too little for this is too little for certain. More
// than 64 bits can count is the largest number.
func Memory(p Params) int64 {
	if p == nil {
		return 0
	}
	need := p.memory() // in floating point, which does not overflow
	if need >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(need)
}

// number is the size of a float32 in bytes.
const number = 4

// drawn is the memory of images that are drawn, as float32 and as bytes, and of the
// times of the sampler's steps.
func drawn(images int, s sampler.Options) float64 {
	return float64(images)*(number+1)*world.Pixels + number*float64(s.Steps)
}

// addressable is what a process can address on the machines of today.
const addressable = 1 << 47

// checkMemory refuses what no machine has. What this machine has is not known here.
func checkMemory(p Params) error {
	if need := Memory(p); need > addressable {
		return fmt.Errorf("it needs at least %.3g TB of memory, and a process has at most %.3g TB: make its model, batch or data smaller", float64(need)/1e12, addressable/1e12)
	}
	return nil
}
