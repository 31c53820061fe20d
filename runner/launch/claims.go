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

	mu   sync.Mutex
	held map[int]net.Listener // by CPU
}

func newClaims(all []int, space string) *claims {
	return &claims{all: all, space: space, held: map[int]net.Listener{}}
}

// take claims n CPUs that no worker of any pool has. If fewer are left, it claims none and
// returns nil.
func (c *claims) take(n int) (cpus []int) {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cpu := range c.all {
		if len(cpus) == n {
			break
		}
		if c.held[cpu] != nil {
			continue
		}
		// All errors are ignored, because a worker can compute without a claim.
		if s, err := net.Listen("unix", fmt.Sprintf("@%s/cpu/%d", c.space, cpu)); err == nil {
			c.held[cpu] = s
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < n {
		c.free(cpus)
		return nil
	}
	return cpus
}

// bound returns the CPUs to which a worker is bound that has claimed some, or none: then it may
// use all.
func (c *claims) bound(claimed []int) []int {
	if c == nil || len(claimed) > 0 {
		return claimed
	}
	return c.all
}

// give frees CPUs that take has claimed.
func (c *claims) give(cpus []int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free(cpus)
}

// free frees CPUs. The lock is held.
func (c *claims) free(cpus []int) {
	for _, cpu := range cpus {
		c.held[cpu].Close()
		delete(c.held, cpu)
	}
}
