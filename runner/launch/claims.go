package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// claims share the CPUs of a machine among the pools on it: two runs of one worker
// each must not meet on one core while others idle. A claim is a lock on a file,
// which the kernel gives back when this process ends, however it ends.
type claims struct {
	all []int
	dir string

	mu    sync.Mutex
	held  map[int]int // CPU by worker
	locks []*os.File
}

// claimsDir is the folder of the lock files of this user.
func claimsDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("ablate-cpus-%d", os.Getuid()))
}

func newClaims(all []int, dir string) *claims {
	return &claims{all: all, dir: dir, held: map[int]int{}}
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
		if f := lock(c.dir, cpu); f != nil {
			c.held[worker] = cpu
			c.locks = append(c.locks, f)
			return []int{cpu}
		}
	}
	return c.all
}

// lock takes a CPU, or returns nil if somebody has it. A lock that cannot be had for
// another reason is not needed to compute.
func lock(dir string, cpu int) *os.File {
	if os.MkdirAll(dir, 0o700) != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(cpu)), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil
	}
	return f
}

// release gives all CPUs back.
func (c *claims) release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.locks {
		f.Close()
	}
	c.locks, c.held = nil, map[int]int{}
}
