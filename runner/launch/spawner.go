package launch

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts processes from one operating system thread that lives as long as the
// pool, for two reasons. The kernel kills a worker when the thread that started it ends.
// And a worker inherits the CPU binding of that thread, for all its threads and from its
// first instruction on.
type spawner struct {
	requests chan request
	stopped  sync.WaitGroup
}

type request struct {
	cmd  *exec.Cmd
	cpus []int // empty for all CPUs that the pool may use
	err  chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan request)}
	s.stopped.Go(s.loop)
	return s
}

// shared is the spawner of [Start].
var shared = sync.OnceValue(newSpawner)

// Start starts a process in a group of its own, from a thread that lives as long as this
// program: when the program dies, the kernel kills the process.
func Start(cmd *exec.Cmd) error {
	Tie(cmd)
	return shared().start(cmd, nil)
}

// start starts cmd, bound to cpus.
func (s *spawner) start(cmd *exec.Cmd, cpus []int) error {
	r := request{cmd: cmd, cpus: cpus, err: make(chan error, 1)}
	s.requests <- r
	return <-r.err
}

// close ends the thread. All processes that it started must have ended.
func (s *spawner) close() {
	close(s.requests)
	s.stopped.Wait()
}

func (s *spawner) loop() {
	// The thread is never unlocked. Its CPU binding is changed, so it must not run other
	// goroutines, and it ends with this one. (Go does not create threads from a locked
	// one.)
	runtime.LockOSThread()
	for r := range s.requests {
		var err error
		if len(r.cpus) > 0 {
			err = pinThread(r.cpus)
		}
		if err == nil {
			err = r.cmd.Start()
		}
		r.err <- err
	}
}
