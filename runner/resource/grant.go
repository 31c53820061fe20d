package resource

import (
	"slices"
	"strconv"
	"strings"
)

// Same reports whether a process that has one grant can do what has the other. Main memory does
// not matter, because a process gives it back.
func (g Grant) Same(h Grant) bool {
	return g.CPUs == h.CPUs && g.GPUMemory == h.GPUMemory && slices.Equal(g.GPUs, h.GPUs)
}

// ShareVariable is the environment variable with the part of each of its GPUs, from 0 to 1,
// that a process may use; it is empty for all.
const ShareVariable = "ABLATE_WORKER_GPU_SHARE"

// Environment returns the environment variables of a process that has the grant: it sees its
// GPUs and no others.
func (g Grant) Environment() []string {
	var ids []string
	share := 1.0
	for _, gpu := range g.GPUs {
		if gpu.ID == "" {
			return nil // the machine's only one
		}
		ids = append(ids, gpu.ID)
		if g.GPUMemory > 0 && gpu.Memory > 0 {
			share = min(share, float64(g.GPUMemory)/float64(gpu.Memory))
		}
	}
	env := []string{visible + "=" + strings.Join(ids, ","), ShareVariable + "="}
	if share < 1 {
		env[1] += strconv.FormatFloat(share, 'f', 4, 64)
	}
	return env
}
