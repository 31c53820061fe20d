package launch

import (
	"fmt"
	"net"
	"sync"
)

// claims share the CPUs of a machine among the pools on it, whoever runs them: two
// runs of one worker each must not meet on one core while others idle. A claim is a
// socket with the CPU's name in Linux's abstract namespace. One process at a time can
// have that name; it needs no folder that all users may write to; and the kernel
// frees it when the process ends, however it ends.
type claims struct {
	all   []int
	space string // first part of the names

	mu      sync.Mutex
	held    map[int]int // CPU by worker
	sockets []net.Listener
}

func newClaims(all []int, space string) *claims {
	return &claims{all: all, space: space, held: map[int]int{}}
}

// of returns the CPUs that a worker is held to: one that no other pool has, taken
// when the worker starts for the first time; all of them where none is left.
func (c *claims) of(worker int) []int {
	if c == nil || len(c.all) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cpu, ok := c.held[worker]; ok {
		return []int{cpu}
	}
	for _, cpu := range c.all {
		// Whatever the error is: a CPU that cannot be claimed is not needed to compute.
		if s, err := net.Listen("unix", fmt.Sprintf("@%s/cpu/%d", c.space, cpu)); err == nil {
			c.held[worker] = cpu
			c.sockets = append(c.sockets, s)
			return []int{cpu}
		}
	}
	return c.all
}

// release gives all CPUs back.
func (c *claims) release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		s.Close()
	}
	c.sockets, c.held = nil, map[int]int{}
}
