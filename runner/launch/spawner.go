package launch

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts processes from one thread that lives as long as the pool. Two
// things hang on the thread: the kernel tells a worker of its parent's death when
// the thread that started it ends, and a worker inherits the CPUs to which that
// thread is held, from its first instruction on and with all its threads.
type spawner struct {
	requests chan request
	stopped  sync.WaitGroup
}

type request struct {
	cmd  *exec.Cmd
	cpus []int // empty for those that the pool may use
	err  chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan request)}
	s.stopped.Go(s.loop)
	return s
}

// start starts cmd, held to cpus.
func (s *spawner) start(cmd *exec.Cmd, cpus []int) error {
	r := request{cmd: cmd, cpus: cpus, err: make(chan error, 1)}
	s.requests <- r
	return <-r.err
}

// close ends the thread. All processes that it started must be gone.
func (s *spawner) close() {
	close(s.requests)
	s.stopped.Wait()
}

func (s *spawner) loop() {
	// Never unlocked: the thread, whose CPUs are changed, serves nobody else and ends
	// with this goroutine. (Go makes no thread from one that is locked.)
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
