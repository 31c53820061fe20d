package resource

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"ablate/runner/phrase"
)

// Limits are what a user allows of what there is.
type Limits struct {
	CPUs   int   // 0 means all
	GPUs   int   // used if GPUsSet
	Memory int64 // bytes; 0 means all

	GPUsSet bool // the number of GPUs was named
}

// Here returns what this process may use of this machine. cuda says that the backend computes
// on GPUs; without it there are none unless the limits name a number.
func Here(ctx context.Context, cuda bool, l Limits) (Capacity, error) {
	var c Capacity
	c.CPUs, c.Why.CPUs = cpus("/", os.Getenv)
	if l.CPUs > 0 {
		c.CPUs, c.Why.CPUs = l.CPUs, "-j"
	}
	c.Memory, c.Why.Memory = hostMemory()
	if n, why := slurmMemory(os.Getenv); n > 0 && (c.Memory == 0 || n < c.Memory) {
		c.Memory, c.Why.Memory = n, why
	}
	if l.Memory > 0 {
		c.Memory, c.Why.Memory = l.Memory, "--memory"
	}
	if !cuda && !l.GPUsSet {
		return c, nil
	}
	c.GPUs, c.Why.GPUs = jobGPUs(ctx)
	switch {
	case !l.GPUsSet && len(c.GPUs) == 0: // the backend works, so there is one
		c.GPUs, c.Why.GPUs = []GPU{{}}, "the backend"
	case !l.GPUsSet:
	case len(c.GPUs) == 0: // their names are guessed
		for i := range l.GPUs {
			c.GPUs = append(c.GPUs, GPU{ID: strconv.Itoa(i)})
		}
		c.Why.GPUs = "--gpus"
	case l.GPUs > len(c.GPUs):
		return c, fmt.Errorf("--gpus is %d, and this process may use %s (%s): name a smaller number", l.GPUs, phrase.Count(len(c.GPUs), "GPU"), c.Why.GPUs)
	default:
		c.GPUs, c.Why.GPUs = c.GPUs[:l.GPUs], "--gpus"
	}
	return c, nil
}

// Most is Here for a user who allows everything: engines may use GPUs whatever the backend is.
func Most(ctx context.Context, cuda bool) (Capacity, error) {
	c, err := Here(ctx, cuda, Limits{})
	if err == nil && !cuda {
		c.GPUs, c.Why.GPUs = jobGPUs(ctx)
	}
	return c, err
}

// ParseBytes parses a size such as 8GiB, 500MB or 1073741824.
func ParseBytes(text string) (int64, error) {
	number := strings.TrimRight(text, "BGKMTabcdefghijklmnopqrstuvwxyz ")
	unit := strings.TrimSpace(text[len(number):])
	x, err := strconv.ParseFloat(number, 64)
	scale, ok := map[string]float64{"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
	if err != nil || !ok || x*scale < 1 || x*scale > 1<<60 {
		return 0, fmt.Errorf("%q is not a size: write one such as 8GiB (units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)", text)
	}
	return int64(x * scale), nil
}
