package resource

import (
	"fmt"
	"strings"
	"time"

	"ablate/runner/phrase"
)

// Need is what an action needs of a machine. No result depends on it.
type Need struct {
	CPUs      int           `json:"cpus,omitempty"`      // number of CPUs; 0 means 1
	GPUs      int           `json:"gpus,omitempty"`      // number of GPUs
	Memory    int64         `json:"memory,omitempty"`    // bytes of main memory; 0 means that it is not counted
	GPUMemory int64         `json:"gpuMemory,omitempty"` // bytes of each GPU; 0 means that the action has its GPUs alone
	Time      time.Duration `json:"time,omitempty"`      // longest expected time in nanoseconds; 0 means that it is not known. A task of an engine that takes longer is stopped
	Grace     time.Duration `json:"grace,omitempty"`     // time that a training of an engine has to save its state when it is asked to stop; 0 means the usual one
}

// String returns the need in words: "4 CPUs, 1 GPU with 20.0 GB, 8.0 GB of memory".
func (n Need) String() string {
	words := []string{phrase.Count(n.cpus(), "CPU")}
	if n.GPUs > 0 {
		w := phrase.Count(n.GPUs, "GPU")
		if n.GPUMemory > 0 {
			w += " with " + phrase.Bytes(n.GPUMemory)
		}
		words = append(words, w)
	}
	if n.Memory > 0 {
		words = append(words, phrase.Bytes(n.Memory)+" of memory")
	}
	return strings.Join(words, ", ")
}

func (n Need) cpus() int { return max(1, n.CPUs) }

// Max returns the need of a job in which an action of either need can run.
func (n Need) Max(m Need) Need {
	return Need{max(n.CPUs, m.CPUs), max(n.GPUs, m.GPUs), max(n.Memory, m.Memory), max(n.GPUMemory, m.GPUMemory), max(n.Time, m.Time), max(n.Grace, m.Grace)}
}

// A GPU is a GPU of this machine.
type GPU struct {
	ID     string // as CUDA_VISIBLE_DEVICES names it; empty for the only GPU of a machine on which GPUs cannot be listed
	Memory int64  // bytes; 0 if it is not known
}

// Capacity is what a process may use of a machine.
type Capacity struct {
	CPUs   int // number of CPUs at a time
	GPUs   []GPU
	Memory int64 // bytes of main memory; 0 means that it is not known, and not limited

	// Why says which limits decide, for people.
	Why Why
}

// Why says by which limit each amount of a capacity was found.
type Why struct{ CPUs, GPUs, Memory string }

// String returns the capacity in words: "16 CPUs, 2 GPUs with 80.0 GB, 128.0 GB of memory".
func (c Capacity) String() string {
	words := []string{phrase.Count(c.CPUs, "CPU")}
	gpus := phrase.Count(len(c.GPUs), "GPU")
	if len(c.GPUs) > 0 && c.least() > 0 {
		gpus += " with " + phrase.Bytes(c.least())
	}
	words = append(words, gpus)
	if c.Memory > 0 {
		words = append(words, phrase.Bytes(c.Memory)+" of memory")
	}
	return strings.Join(words, ", ")
}

// least returns the memory of the smallest GPU.
func (c Capacity) least() int64 {
	least := c.GPUs[0].Memory
	for _, g := range c.GPUs {
		least = min(least, g.Memory)
	}
	return least
}

// Misfit returns why an action of a need can never run within the capacity, in words such as
// "8 CPUs of 2"; "" if it can.
func (c Capacity) Misfit(n Need) string {
	if n.cpus() > c.CPUs {
		return fmt.Sprintf("%s of %d", phrase.Count(n.cpus(), "CPU"), c.CPUs)
	}
	if n.GPUs > len(c.GPUs) {
		return fmt.Sprintf("%s of %d", phrase.Count(n.GPUs, "GPU"), len(c.GPUs))
	}
	large := 0
	for _, g := range c.GPUs {
		if n.GPUMemory <= g.Memory || g.Memory == 0 {
			large++
		}
	}
	if n.GPUs > large {
		return fmt.Sprintf("%s of memory of a GPU with %s", phrase.Bytes(n.GPUMemory), phrase.Bytes(c.least()))
	}
	if c.Memory > 0 && n.Memory > c.Memory {
		return fmt.Sprintf("%s of memory of %s", phrase.Bytes(n.Memory), phrase.Bytes(c.Memory))
	}
	return ""
}
