package launch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"ablate/runner/resource"
)

// Options of a pool.
type Options struct {
	CPUs    int      // largest number of CPUs of all workers together, at least 1
	Command []string // program and arguments; nil means this program with the argument "stages"
	Env     []string // environment variables NAME=value, added to those of this process
	Dir     string   // working directory; empty means that of this process
	Pin     bool     // bind each worker to CPUs that no other pool on this machine uses (Linux)
	Build   string   // build of this program; a worker of another build is refused

	// Threads, if not nil, returns more environment variables for a worker with n CPUs.
	Threads func(n int) []string

	space string // prefix of the names by which CPUs are claimed, for tests; empty means the default

	Grace   time.Duration // time between asking a worker to end and killing it; 0 means 1 s
	Saving  time.Duration // the same for a worker whose task saves its state; 0 means 60 s
	Start   time.Duration // time limit for the hello of a worker; 0 means 60 s
	Silence time.Duration // how long a worker may send nothing during a task before it is ended; 0 means no limit
}

// mostCPUs is more CPUs than any machine has.
const mostCPUs = 4096

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
	slots  []*slot       // as many as were needed at the same time
	freed  chan struct{} // closed and replaced whenever a slot becomes free
	closed bool
}

// slot is a place for one worker. The goroutine that has made it busy owns proc. The other
// fields are protected by the pool's lock.
type slot struct {
	id    int
	busy  bool
	grant resource.Grant  // what the process has, or will have when it has started
	proc  *process        // the worker; nil if none is running
	cpus  []int           // CPUs to which the process is bound; nil if it is not
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
	if o.CPUs < 1 || o.CPUs > mostCPUs {
		return nil, fmt.Errorf("pool: %d CPUs: must be from 1 to %d", o.CPUs, mostCPUs)
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
	return p, nil
}

// Do gives a task to a worker that has what is granted, and returns its reply. The worker has
// as many threads as it has CPUs, and sees the GPUs of the grant and no others. Do waits until
// so many CPUs of the pool are free; that GPUs and memory are free is the caller's business.
// Tasks with the same hint can share what a worker has compiled: Do prefers a worker that has
// run a task with this hint, then one that is already started. It ends idle workers whose CPUs
// or GPUs are needed. progress may be nil; it is called from this goroutine.
//
// The error is a [*RemoteError] if the task failed, and a [*CrashError] if its worker
// died or hung; the next Do starts another worker. Do never retries a task. The caller
// may do so after ClassCrash, and after ClassStart unless the program was replaced. If
// ctx ends, the worker is stopped, by force after Options.Grace, or Options.Saving if the
// task has a State, and the error wraps context.Cause(ctx). Reply.Worker is set whenever a worker had the task.
func (p *Pool) Do(ctx context.Context, t Task, g resource.Grant, hint string, progress func(Progress)) (Reply, error) {
	if t.Stage == "" {
		return Reply{}, errors.New("pool: a task without a stage")
	}
	if g.CPUs = max(1, g.CPUs); g.CPUs > p.o.CPUs {
		return Reply{}, fmt.Errorf("pool: a task needs %d CPUs, and the pool has %d", g.CPUs, p.o.CPUs)
	}
	s, err := p.acquire(ctx, g, hint)
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
		cpus := p.cpus.take(s.grant.CPUs)
		proc, err := p.start(ctx, s.id, s.grant, cpus)
		if err != nil {
			p.cpus.give(cpus)
			return nil, err
		}
		p.mu.Lock()
		s.proc, s.cpus, s.hints = proc, cpus, map[string]bool{}
		p.mu.Unlock()
	}
	values, err := s.proc.do(ctx, t, progress)
	p.mu.Lock()
	s.peak = max(s.peak, s.proc.peak())
	s.hints[hint] = true
	p.mu.Unlock()
	var remote *RemoteError
	if err != nil && (!errors.As(err, &remote) || remote.Class == ClassProtocol || remote.Class == ClassKilled) {
		grace := p.o.Grace
		switch {
		case ctx.Err() == nil:
		case t.Patience > 0:
			grace = time.Duration(t.Patience * float64(time.Second))
		case t.State != "":
			grace = p.o.Saving
		}
		p.drop(s, grace) // it is dead, or must not get another task
	}
	return values, err
}

// acquire makes a free slot busy whose worker has a grant, or in which one can be started.
func (p *Pool) acquire(ctx context.Context, g resource.Grant, hint string) (*slot, error) {
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for a worker: %w", context.Cause(ctx))
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errors.New("pool: is closed")
		}
		if s, idle := p.choose(g, hint); s != nil {
			p.mu.Unlock()
			for _, x := range idle {
				p.drop(x, p.o.Grace)
				p.release(x)
			}
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

// choose makes the best free slot for a grant and a hint busy, and also those with idle workers
// that must end before. It returns nil if too few CPUs are free. The lock is held.
func (p *Pool) choose(g resource.Grant, hint string) (best *slot, idle []*slot) {
	busy, score := g.CPUs, -1
	for _, s := range p.slots {
		fit := -1
		switch {
		case s.busy:
			busy += s.grant.CPUs
		case s.proc == nil:
			fit = 0
		case !s.grant.Same(g):
		case s.hints[hint]:
			fit = 2
		default:
			fit = 1
		}
		if fit > score {
			best, score = s, fit
		}
	}
	if busy > p.o.CPUs {
		return nil, nil
	}
	if best == nil {
		best = &slot{id: len(p.slots)}
		p.slots = append(p.slots, best)
	}
	best.busy, best.grant = true, g
	// Idle workers keep their CPUs, so that others need not be started, and what they have
	// allocated of GPUs, which libraries do not give back.
	sum := busy
	for _, s := range p.slots {
		if s.busy || s.proc == nil {
			continue
		}
		if sum += s.grant.CPUs; sum > p.o.CPUs || p.crowded(g, s, idle) {
			s.busy = true
			idle = append(idle, s)
			sum -= s.grant.CPUs
		}
	}
	return best, idle
}

// crowded reports whether a GPU of a grant, which a busy slot has, has too little memory for all
// workers but those that end. s is idle. The lock is held.
func (p *Pool) crowded(g resource.Grant, s *slot, ending []*slot) bool {
	for _, gpu := range g.GPUs {
		if !slices.Contains(s.grant.GPUs, gpu) {
			continue
		}
		if g.GPUMemory == 0 || s.grant.GPUMemory == 0 {
			return true
		}
		var sum int64
		for _, x := range p.slots {
			if slices.Contains(x.grant.GPUs, gpu) && (x.busy || x.proc != nil) && !slices.Contains(ending, x) {
				sum += x.grant.GPUMemory
			}
		}
		if sum > gpu.Memory {
			return true
		}
	}
	return false
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
	p.cpus.give(s.cpus)
	s.proc, s.cpus, s.hints = nil, nil, nil
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
