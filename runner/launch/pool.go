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

// Options of a pool.
type Options struct {
	Workers int      // largest number of workers, at least 1
	Command []string // program and arguments; nil means this program with the argument "stages"
	Env     []string // environment variables NAME=value, added to those of this process
	Dir     string   // working directory; empty means that of this process
	Pin     bool     // bind each worker to a CPU that no other pool on this machine uses (Linux)
	Build   string   // build of this program; a worker of another build is refused

	space string // prefix of the names by which CPUs are claimed, for tests; empty means the default

	Grace   time.Duration // time between asking a worker to end and killing it; 0 means 1 s
	Saving  time.Duration // the same for a worker whose task saves its state; 0 means 60 s
	Start   time.Duration // time limit for the hello of a worker; 0 means 60 s
	Silence time.Duration // how long a worker may send nothing during a task before it is ended; 0 means no limit
}

// mostWorkers is more workers than any machine can use.
const mostWorkers = 4096

// DefaultWorkers returns how many CPUs this process may use at a time, according to its
// CPU affinity, the quota of its control group, and the allocation of its Slurm job on this
// node, which a cluster without affinity does not enforce.
func DefaultWorkers() int {
	n := runtime.GOMAXPROCS(0)
	if os.Getenv("SLURM_JOB_ID") != "" {
		if k, err := strconv.Atoi(os.Getenv("SLURM_CPUS_ON_NODE")); err == nil && k > 0 {
			n = min(n, k)
		}
	}
	return n
}

// Threads returns environment variables that limit a worker to n threads of computation.
// The Go scheduler gets one more, so that progress is sent while a library computes.
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
	freed  chan struct{} // closed and replaced whenever a slot becomes free
	closed bool
}

// slot is a place for one worker. The goroutine that has made it busy owns proc. hints
// and peak are protected by the pool's lock.
type slot struct {
	id    int
	busy  bool
	proc  *process        // the worker; nil if none is running
	hints map[string]bool // hints of the tasks that the running process has run
	peak  int64           // largest memory of a process of this slot, in bytes
}

// Reply is the reply to a task.
type Reply struct {
	Values json.RawMessage // result of the handler
	Worker int             // number of the worker, from 0
}

// NewPool returns a pool that has not started any process yet. The caller must call
// Close.
func NewPool(o Options) (*Pool, error) {
	if o.Workers < 1 {
		return nil, fmt.Errorf("pool: %d workers: must be 1 or more", o.Workers)
	}
	if o.Workers > mostWorkers {
		return nil, fmt.Errorf("pool: %d workers: must be at most %d; this process may use %d CPUs", o.Workers, mostWorkers, DefaultWorkers())
	}
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("pool: %w", err)
		}
		o.Command = []string{self, "stages"}
	}
	if o.Grace <= 0 {
		o.Grace = time.Second
	}
	if o.Saving <= 0 {
		o.Saving = time.Minute
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

// Do waits for a free worker, gives it a task and returns its reply. Tasks with the same
// hint can share what a worker has compiled: Do prefers a worker that has run a task with
// this hint, then one that is already started. progress may be nil; it is called from
// this goroutine.
//
// The error is a [*RemoteError] if the task failed, and a [*CrashError] if its worker
// died or hung; the next Do starts another worker. Do never retries a task. The caller
// may do so after ClassCrash, and after ClassStart unless the program was replaced. If
// ctx ends, the worker is stopped, by force after Options.Grace, or Options.Saving if the
// task has a State, and the error wraps context.Cause(ctx). Reply.Worker is set whenever a worker had the task.
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

// run runs a task in the slot's process, which it starts if needed.
func (p *Pool) run(ctx context.Context, s *slot, t Task, hint string, progress func(Progress)) (json.RawMessage, error) {
	if s.proc != nil && s.proc.gone() { // it died between tasks, so nothing is lost
		p.drop(s, p.o.Grace)
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
		grace := p.o.Grace
		if t.State != "" && ctx.Err() != nil {
			grace = p.o.Saving
		}
		p.drop(s, grace) // it is dead, or must not get another task
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

// choose returns the best free slot for a hint, or nil if none is free.
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

// drop ends a slot's process and removes it from the slot.
func (p *Pool) drop(s *slot, grace time.Duration) {
	s.proc.stop(grace)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.peak = max(s.peak, s.proc.peak())
	s.proc, s.hints = nil, nil
}

// PeakRSS returns the sum over workers of the largest memory that each has used, in
// bytes. This is an upper bound of the memory that they used at the same time. It is read
// at the end of each task; a process that was killed counts with its last reading. 0
// means that it is not known.
func (p *Pool) PeakRSS() (sum int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		sum += s.peak
	}
	return sum
}

// Close stops all workers and returns when they have ended. It waits for running tasks,
// so their contexts should be cancelled before.
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
			group.Go(func() { p.drop(s, p.o.Grace) })
		}
	}
	group.Wait()
	p.spawn.close()
	p.cpus.release()
	return nil
}

// own waits until a slot is free and makes it busy permanently.
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
