package launch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// Options say how workers are started.
type Options struct {
	Workers int      // how many at most, 1 or more
	Command []string // program and arguments; nil means this program with the argument "worker"
	Env     []string // NAME=value, added to this process's own
	Dir     string   // working directory; empty means this process's
	Pin     bool     // keep each worker on a CPU that no other pool of this machine has taken (Linux)
	Build   string   // of this program; a worker that names another is refused

	space string // of the names that CPUs are claimed by, in tests; empty means this program's

	Grace   time.Duration // between asking a worker to end and killing it; 0 means 1 s
	Start   time.Duration // how long a worker may take to say hello; 0 means 60 s
	Silence time.Duration // how long a worker may say nothing during a task before it is ended; 0 means for ever
}

// mostWorkers is more than any machine has use for.
const mostWorkers = 4096

// DefaultWorkers is how many CPUs this process may use at a time, by its affinity
// and by the quota of its control group.
func DefaultWorkers() int { return runtime.GOMAXPROCS(0) }

// Threads returns the environment that holds a worker to n threads of computation.
// The Go scheduler gets one more, so that progress is told while a library computes.
func Threads(n int) []string {
	s := strconv.Itoa(n)
	return []string{"NPROC=" + s, "OMP_NUM_THREADS=" + s, "GOMAXPROCS=" + strconv.Itoa(n+1)}
}

// Pool is a set of workers. Its methods may be called from several goroutines.
type Pool struct {
	o     Options
	cpus  *claims
	spawn *spawner

	mu     sync.Mutex
	slots  []*slot
	freed  chan struct{} // closed, and replaced, whenever a slot becomes free
	closed bool
}

// slot is the place of one worker. Whoever has made it busy owns proc; hints and
// peak are read under the pool's lock.
type slot struct {
	id    int
	busy  bool
	proc  *process        // nil if none is running
	hints map[string]bool // what the running process has run
	peak  int64           // most memory that a process of this slot has held
}

// Reply is what became of a task.
type Reply struct {
	Values json.RawMessage // what the handler returned
	Worker int             // who did it, from 0
}

// NewPool returns a pool without any process yet. Close it.
func NewPool(o Options) (*Pool, error) {
	if o.Workers < 1 {
		return nil, fmt.Errorf("pool: %d workers: want 1 or more", o.Workers)
	}
	if o.Workers > mostWorkers {
		return nil, fmt.Errorf("pool: %d workers: want at most %d; this machine has %d CPUs to use", o.Workers, mostWorkers, DefaultWorkers())
	}
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("pool: %w", err)
		}
		o.Command = []string{self, "worker"}
	}
	if o.Grace <= 0 {
		o.Grace = time.Second
	}
	if o.Start <= 0 {
		o.Start = time.Minute
	}
	p := &Pool{o: o, spawn: newSpawner(), freed: make(chan struct{})}
	if o.Pin {
		p.cpus = newClaims(allowedCPUs(), cmp.Or(o.space, "ablate"))
	}
	for i := range o.Workers {
		p.slots = append(p.slots, &slot{id: i})
	}
	return p, nil
}

// Do gives a task to a free worker, waiting for one, and returns its reply. Tasks
// of one hint share what a worker has compiled: it prefers a worker that has run
// the same, then one that runs at all. Progress, which may be nil, is called from
// this goroutine.
//
// The error is a [*RemoteError] if the task failed, a [*CrashError] if its worker
// died or hung; the next Do starts another. Do never tries a task again: after
// ClassCrash, and after ClassStart unless the program was replaced, the caller may. If ctx ends, the worker is stopped, at most
// Options.Grace later by force, and the error wraps context.Cause(ctx).
// Reply.Worker is set whenever a worker had the task.
func (p *Pool) Do(ctx context.Context, t Task, hint string, progress func(Progress)) (Reply, error) {
	if t.Stage == "" {
		return Reply{}, errors.New("pool: a task without a stage")
	}
	s, err := p.acquire(ctx, hint)
	if err != nil {
		return Reply{}, err
	}
	defer p.release(s)
	values, err := p.run(ctx, s, t, hint, progress)
	return Reply{Values: values, Worker: s.id}, err
}

// run does a task in the slot's process, which it starts if there is none.
func (p *Pool) run(ctx context.Context, s *slot, t Task, hint string, progress func(Progress)) (json.RawMessage, error) {
	if s.proc != nil && s.proc.gone() { // it died while it had nothing to do: nothing is lost
		p.drop(s)
	}
	if s.proc == nil {
		proc, err := p.start(ctx, s.id)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		s.proc, s.hints = proc, map[string]bool{}
		p.mu.Unlock()
	}
	values, err := s.proc.do(ctx, t, progress)
	p.mu.Lock()
	s.peak = max(s.peak, s.proc.peak())
	s.hints[hint] = true
	p.mu.Unlock()
	var remote *RemoteError
	if err != nil && (!errors.As(err, &remote) || remote.Class == ClassProtocol) {
		p.drop(s) // it is dead, or cannot be trusted with another task
	}
	return values, err
}

// acquire makes a free slot busy.
func (p *Pool) acquire(ctx context.Context, hint string) (*slot, error) {
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for a worker: %w", context.Cause(ctx))
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errors.New("pool: is closed")
		}
		if s := p.choose(hint); s != nil {
			s.busy = true
			p.mu.Unlock()
			return s, nil
		}
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
	}
}

// choose returns the free slot that suits a hint best, or nil.
func (p *Pool) choose(hint string) *slot {
	var best *slot
	score := -1
	for _, s := range p.slots {
		fit := 0
		switch {
		case s.busy:
			continue
		case s.proc != nil && s.hints[hint]:
			fit = 2
		case s.proc != nil:
			fit = 1
		}
		if fit > score {
			best, score = s, fit
		}
	}
	return best
}

// release makes a slot free.
func (p *Pool) release(s *slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.busy = false
	close(p.freed)
	p.freed = make(chan struct{})
}

// drop makes sure that a slot's process is gone, and forgets it.
func (p *Pool) drop(s *slot) {
	s.proc.stop(p.o.Grace)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.peak = max(s.peak, s.proc.peak())
	s.proc, s.hints = nil, nil
}

// PeakRSS returns, in bytes, the sum over workers of the most memory that each has
// held: no less than what they ever held together. It is read when a task ends, so
// a process that was killed counts as it was before. 0 where it is not known.
func (p *Pool) PeakRSS() (sum int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		sum += s.peak
	}
	return sum
}

// Close stops all workers, and returns when they are gone. Tasks under way must
// have been cancelled: Close waits for them.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	var group sync.WaitGroup
	for _, s := range p.slots {
		p.own(s)
		if s.proc != nil {
			group.Go(func() { p.drop(s) })
		}
	}
	group.Wait()
	p.spawn.close()
	p.cpus.release()
	return nil
}

// own waits until a slot is free and makes it busy for good.
func (p *Pool) own(s *slot) {
	for {
		p.mu.Lock()
		if !s.busy {
			s.busy = true
			p.mu.Unlock()
			return
		}
		freed := p.freed
		p.mu.Unlock()
		<-freed
	}
}
