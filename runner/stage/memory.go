package stage

import (
	"fmt"
	"math"

	"ablate/models/sampler"
	"ablate/runner/world"
)

// Memory returns a lower bound of the memory that a stage needs, in bytes: for the
// weights and the moments of Adam, for the data, and for one activation per block and
// image of a batch. A backend needs more, so less memory than this is certainly too
// little. If the bound overflows, Memory returns the largest int64.
func Memory(p Params) int64 {
	if p == nil {
		return 0
	}
	need := p.memory() // a float64, which does not overflow
	if need >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(need)
}

// number is the number of bytes of a float32.
const number = 4

// drawn returns the memory of drawn images, as float32 and as bytes, and of the times of
// the sampler's steps.
func drawn(images int, s sampler.Options) float64 {
	return float64(images)*(number+1)*world.Pixels + number*float64(s.Steps)
}

// addressable is the number of bytes that a process can address on today's machines.
const addressable = 1 << 47

// checkMemory returns an error if a stage needs more memory than any machine has. Whether
// this machine has enough is checked elsewhere.
func checkMemory(p Params) error {
	if need := Memory(p); need > addressable {
		return fmt.Errorf("it needs at least %.3g TB of memory, and a process has at most %.3g TB: make its model, batch or data smaller", float64(need)/1e12, addressable/1e12)
	}
	return nil
}
