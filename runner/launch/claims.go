package launch

import (
	"fmt"
	"net"
	"sync"
)

// claims distributes the CPUs of a machine among all pools of all users, so that two runs
// with one worker each do not share a core while others are idle. A claim is a socket in
// Linux's abstract namespace, named after the CPU. Only one process at a time can have
// that name. It does not need a folder that all users may write, and the kernel frees it
// whenever and however the process ends.
type claims struct {
	all   []int
	space string // prefix of the names

	mu      sync.Mutex
	held    map[int]int // CPU by worker
	sockets []net.Listener
}

func newClaims(all []int, space string) *claims {
	return &claims{all: all, space: space, held: map[int]int{}}
}

// of returns the CPUs to which a worker is bound. When the worker starts for the first
// time, it claims one that no other pool has. If none is left, it returns all CPUs.
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
		// All errors are ignored, because a worker can compute without a claim.
		if s, err := net.Listen("unix", fmt.Sprintf("@%s/cpu/%d", c.space, cpu)); err == nil {
			c.held[worker] = cpu
			c.sockets = append(c.sockets, s)
			return []int{cpu}
		}
	}
	return c.all
}

// release frees all claims.
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
