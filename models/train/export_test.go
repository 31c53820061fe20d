package train

import (
	"slices"

	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// Others returns the trained parameters, moments and average of each device but the first.
func (s *State) Others() (all [][]*tensors.Tensor) {
	_ = s.Wait() // a test reads its error
	for _, r := range s.others {
		all = append(all, slices.Concat(r.params, r.first, r.second, r.average))
	}
	return all
}

// First returns them of the first device.
func (s *State) First() []*tensors.Tensor {
	return slices.Concat(s.params, s.first, s.second, s.average)
}
