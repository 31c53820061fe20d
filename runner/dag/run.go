package dag

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Options of running a graph. They do not change any result.
type Options struct {
	Room    Room // which Run may go on at the same time; nil means one at a time
	Lookups int  // largest number of Lookup at a time; 0 means the number of CPUs
	// Fatal reports whether the failure of a node stops the whole graph. nil means that none does.
	Fatal func(error) bool
	Limit int                 // largest number of Run in total; 0 means no limit. Further nodes stay Waiting
	Admit func(node int) bool // whether a node may run now; one that may not stays Waiting. nil admits all
	// Elsewhere reports whether a node can only run in another process. It is looked up again
	// until it has a result. nil means none.
	Elsewhere func(node int) bool

	Rest   time.Duration // time until a busy node is looked up again; 0 means 1 s
	Events func(Event)   // called for every event, one call at a time; may be nil
}

// Run runs the nodes and returns the state of each. The error is nil if all of them have ended
// or could not, failed ones too; it wraps context.Cause(ctx) if ctx ended the run.
func Run(ctx context.Context, w Work, o Options) ([]State, error) {
	if o.Lookups < 0 || o.Limit < 0 {
		return nil, fmt.Errorf("dag: %d lookups, limit %d: want 1 or more", o.Lookups, o.Limit)
	}
	if o.Room == nil {
		o.Room = Slots(1)
	}
	if o.Rest <= 0 {
		o.Rest = time.Second
	}
	if o.Lookups == 0 {
		o.Lookups = runtime.NumCPU()
	}
	g, err := newGraph(w)
	if err != nil {
		return nil, err
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{
		w: w, g: g, o: o, ctx: inner, cancel: cancel,
		pending: g.deps,
		states:  make([]State, w.Len()),
		runs:    make([]ranks, g.needs),
		ends:    make(chan end),
		looking: map[int]bool{},
		busy:    map[int]bool{},
		freed:   map[int]bool{},
	}
	r.loop()
	if ctx.Err() != nil && slices.ContainsFunc(r.states, func(s State) bool { return !s.OK() }) {
		return r.states, fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	return r.states, nil
}

// mostFreed is how many nodes may go on without their room.
const mostFreed = 256

type freeKey struct{}

// Free gives back the room of the node whose Run has the context, so that another node can
// run. The node goes on, for what needs no room, such as waiting for a disk.
func Free(ctx context.Context) {
	if free, ok := ctx.Value(freeKey{}).(func()); ok {
		free()
	}
}

// WithFree returns a context in which Free calls f: for work that a node does for another, with
// room of its own.
func WithFree(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, freeKey{}, f)
}

// ErrBusy is wrapped by the error of a Run whose node is being computed elsewhere.
var ErrBusy = errors.New("is being computed elsewhere")

// errFatal is the context's cause when a failure stops the other nodes.
var errFatal = errors.New("stopped because another step failed")

// run is the state of one call of Run. Only the goroutine in loop accesses it.
type run struct {
	w      Work
	g      *graph
	o      Options
	ctx    context.Context
	cancel context.CancelCauseFunc

	pending  []int32 // by node, number of dependencies that have not ended well
	states   []State
	finished int

	begun     int     // number of Run that were started
	lookups   ranks   // nodes that are ready to be looked up
	runs      []ranks // by number of Need, nodes that were missed and wait for room
	looking   map[int]bool
	computing int          // number of goroutines that have room
	freed     map[int]bool // nodes whose Run has given its room back
	resting   int          // number of busy nodes that wait
	busy      map[int]bool // nodes whose Run has returned ErrBusy
	ends      chan end
}

// end is what a goroutine reports when its node's Lookup or Run has returned.
type end struct {
	node   int
	lookup bool
	free   bool // the node gives its room back and goes on; it has not ended
	rested bool // the node was busy and may be looked up again; it has not ended
	hit    bool
	err    error
}

// loop starts nodes and records their ends until no node is running and none can start.
func (r *run) loop() {
	for i, n := range r.pending {
		if n == 0 {
			r.ready(i)
		}
	}
	for {
		r.start()
		if len(r.looking)+r.computing+len(r.freed)+r.resting == 0 {
			return
		}
		r.take(<-r.ends)
	}
}

// ready queues a node whose dependencies have ended well.
func (r *run) ready(i int) { heap.Push(&r.lookups, r.g.rank[i]) }

// wait queues a node that waits for room.
func (r *run) wait(i int) { heap.Push(&r.runs[r.g.need[i]], r.g.rank[i]) }

// pop takes the first node of a queue.
func (r *run) pop(queue *ranks) int { return int(r.g.best[heap.Pop(queue).(int32)]) }

// start starts all nodes that may start now.
func (r *run) start() {
	for r.ctx.Err() == nil && len(r.looking) < r.o.Lookups && len(r.lookups) > 0 {
		i := r.pop(&r.lookups)
		r.looking[i] = true
		go func() {
			hit, err := r.w.Lookup(r.ctx, i)
			r.ends <- end{node: i, lookup: true, hit: hit, err: err}
		}()
	}
	r.o.Room.Begin()
	full := map[*ranks]bool{} // queues of needs for which there is no room
	for r.ctx.Err() == nil && len(r.freed) < mostFreed && (r.o.Limit == 0 || r.begun < r.o.Limit) {
		queue := r.first(full)
		if queue == nil || r.premature((*queue)[0]) {
			return
		}
		i := int(r.g.best[(*queue)[0]])
		if r.o.Admit != nil && !r.o.Admit(i) {
			r.pop(queue)
			continue
		}
		if r.o.Elsewhere != nil && r.o.Elsewhere(i) {
			r.pop(queue)
			r.rest(i, seldom*r.o.Rest)
			continue
		}
		if !r.o.Room.Take(i) {
			full[queue] = true
			continue
		}
		r.pop(queue)
		r.computing++
		r.begun++
		r.tell(Event{Kind: EventStarted, Node: i})
		go func() {
			ctx := WithFree(r.ctx, sync.OnceFunc(func() { r.ends <- end{node: i, free: true} }))
			err := r.w.Run(ctx, i)
			r.ends <- end{node: i, hit: true, err: err}
		}()
	}
}

// first returns the queue whose first node should run next, without full ones; nil if no
// node waits in the others.
func (r *run) first(full map[*ranks]bool) (best *ranks) {
	for i := range r.runs {
		q := &r.runs[i]
		if full[q] || len(*q) == 0 {
			continue
		}
		if best == nil || (*q)[0] < (*best)[0] {
			best = q
		}
	}
	return best
}

// premature reports whether a node that goes before the one of a rank is still being looked up, or
// waits for a node that has given its room back. Then that one must wait, because it would take
// the room that the other node may need.
func (r *run) premature(rank int32) bool {
	for f := range r.freed {
		if r.g.next[f] < rank {
			return true
		}
	}
	for l := range r.looking {
		if r.g.rank[l] < rank {
			return true
		}
	}
	return len(r.lookups) > 0 && r.lookups[0] < rank
}

// take records the end of a Lookup or Run.
func (r *run) take(e end) {
	if e.rested {
		r.resting--
		r.ready(e.node)
		return
	}
	if e.free {
		r.computing--
		r.o.Room.Give(e.node)
		r.freed[e.node] = true
		return
	}
	kind, state := EventFinished, Done
	switch {
	case e.lookup:
		delete(r.looking, e.node)
		kind, state = EventHit, Hit
	case r.freed[e.node]:
		delete(r.freed, e.node)
	default:
		r.computing--
		r.o.Room.Give(e.node)
	}
	switch {
	case e.err != nil && r.stopped(e.err):
		r.settle(Interrupted, Event{Kind: EventInterrupted, Node: e.node, Err: e.err})
	case errors.Is(e.err, ErrBusy):
		r.begun--
		r.rest(e.node, r.o.Rest)
	case e.err != nil:
		r.settle(Failed, Event{Kind: EventFailed, Node: e.node, Err: e.err})
		r.skip(e.node, e.node)
		if r.o.Fatal != nil && r.o.Fatal(e.err) {
			r.cancel(errFatal)
		}
	case !e.hit:
		r.wait(e.node)
	default:
		r.settle(state, Event{Kind: kind, Node: e.node})
		for _, o := range r.g.after(e.node) {
			if r.pending[o]--; r.pending[o] == 0 {
				r.ready(int(o))
			}
		}
	}
}

// seldom is how many times longer than a busy node one rests that only others can run: there
// may be many of them.
const seldom = 10

// rest lets a busy node wait for a time.
func (r *run) rest(i int, d time.Duration) {
	if !r.busy[i] {
		r.busy[i] = true
		r.tell(Event{Kind: EventBusy, Node: i})
	}
	r.resting++
	go func() {
		select {
		case <-time.After(d):
		case <-r.ctx.Done():
		}
		r.ends <- end{node: i, rested: true}
	}()
}

// stopped reports whether err only repeats that the run was stopped.
func (r *run) stopped(err error) bool {
	return r.ctx.Err() != nil && (errors.Is(err, r.ctx.Err()) || errors.Is(err, context.Cause(r.ctx)))
}

// skip marks all nodes that depend on node i as skipped because node root failed.
func (r *run) skip(i, root int) {
	for _, o := range r.g.after(i) {
		if r.states[o] != Waiting {
			continue // already skipped by another path or because of another failure
		}
		r.settle(Skipped, Event{Kind: EventSkipped, Node: int(o), Root: root})
		r.skip(int(o), root)
	}
}

// settle sets the state of a node that has ended and sends an event.
func (r *run) settle(s State, e Event) {
	r.states[e.Node] = s
	r.finished++
	r.tell(e)
}

// tell sends an event to Options.Events.
func (r *run) tell(e Event) {
	if r.o.Events != nil {
		e.Finished = r.finished
		r.o.Events(e)
	}
}

// ranks is a heap of ranks of nodes.
type ranks []int32

func (h ranks) Len() int           { return len(h) }
func (h ranks) Less(a, b int) bool { return h[a] < h[b] }
func (h ranks) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *ranks) Push(x any)        { *h = append(*h, x.(int32)) }
func (h *ranks) Pop() any {
	s := *h
	x := s[len(s)-1]
	*h = s[:len(s)-1]
	return x
}
