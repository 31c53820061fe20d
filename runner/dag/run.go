package dag

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Options of running a graph. They do not change any result.
type Options struct {
	Room     Room                   // which Run may go on at the same time; nil means one at a time
	Lookups  int                    // largest number of Lookup at a time; 0 means the number of CPUs
	FailFast bool                   // stop the whole graph at the first failure
	Limit    int                    // largest number of Run in total; 0 means no limit. Further nodes stay Waiting
	Admit    func(name string) bool // whether a node may run now; one that may not stays Waiting. nil admits all
	// Elsewhere reports whether a node can only run in another process. It is looked up again
	// until it has a result. nil means none.
	Elsewhere func(name string) bool

	Rest   time.Duration // time until a busy node is looked up again; 0 means 1 s
	Events func(Event)   // called for every event, one call at a time; may be nil
}

// Run runs the graph and returns the outcome of every node. The error is nil if no node
// failed, wraps context.Cause(ctx) if ctx ended the run, and is otherwise a
// [*FailedError].
func (g *Graph[R]) Run(ctx context.Context, o Options) (Outcome[R], error) {
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
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run[R]{
		g: g, o: o, ctx: inner, cancel: cancel,
		pending: make([]int, len(g.nodes)),
		status:  make([]Status[R], len(g.nodes)),
		lookups: ranked{rank: g.rank},
		runs:    map[string]*ranked{},
		ends:    make(chan end[R]),
		looking: map[int]bool{},
		busy:    map[int]bool{},
		freed:   map[int]bool{},
	}
	r.loop()
	return r.outcome(ctx)
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

// errFailFast is the context's cause when a failure stops the other nodes.
var errFailFast = errors.New("stopped because another step failed")

// run is the state of one call of Run. Only the goroutine in loop accesses it.
type run[R any] struct {
	g      *Graph[R]
	o      Options
	ctx    context.Context
	cancel context.CancelCauseFunc

	pending  []int // by node, number of dependencies without a result
	status   []Status[R]
	finished int

	begun     int                // number of Run that were started
	lookups   ranked             // nodes that are ready to be looked up
	runs      map[string]*ranked // by Need, nodes that were missed and wait for room
	looking   map[int]bool
	computing int          // number of goroutines that have room
	freed     map[int]bool // nodes whose Run has given its room back
	resting   int          // number of busy nodes that wait
	busy      map[int]bool // nodes whose Run has returned ErrBusy
	ends      chan end[R]
}

// end is what a goroutine reports when its node's Lookup or Run has returned.
type end[R any] struct {
	node   int
	lookup bool
	free   bool // the node gives its room back and goes on; there is no result
	rested bool // the node was busy and may be looked up again; there is no result
	hit    bool
	result R
	err    error
}

// loop starts nodes and records their ends until no node is running and none can start.
func (r *run[R]) loop() {
	for i := range r.g.nodes {
		if r.pending[i] = len(r.g.deps[i]); r.pending[i] == 0 {
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

// ready queues a node whose dependencies have results.
func (r *run[R]) ready(i int) {
	if r.g.nodes[i].Lookup != nil {
		heap.Push(&r.lookups, i)
	} else {
		r.wait(i)
	}
}

// wait queues a node that waits for room.
func (r *run[R]) wait(i int) {
	need := r.g.nodes[i].Need
	if r.runs[need] == nil {
		r.runs[need] = &ranked{rank: r.g.rank}
	}
	heap.Push(r.runs[need], i)
}

// start starts all nodes that may start now.
func (r *run[R]) start() {
	for r.ctx.Err() == nil && len(r.looking) < r.o.Lookups && r.lookups.Len() > 0 {
		i := heap.Pop(&r.lookups).(int)
		r.looking[i] = true
		n, deps := r.g.nodes[i], r.results(i)
		go func() {
			result, hit, err := n.Lookup(r.ctx, deps)
			r.ends <- end[R]{node: i, lookup: true, hit: hit, result: result, err: err}
		}()
	}
	r.o.Room.Begin()
	full := map[string]bool{} // needs for which there is no room
	for r.ctx.Err() == nil && len(r.freed) < mostFreed && (r.o.Limit == 0 || r.begun < r.o.Limit) {
		queue := r.first(full)
		if queue == nil || r.premature(queue.nodes[0]) {
			return
		}
		i := queue.nodes[0]
		n := r.g.nodes[i]
		if r.o.Admit != nil && !r.o.Admit(n.Name) {
			heap.Pop(queue)
			continue
		}
		if r.o.Elsewhere != nil && r.o.Elsewhere(n.Name) {
			heap.Pop(queue)
			r.rest(i, seldom*r.o.Rest)
			continue
		}
		if !r.o.Room.Take(n.Name) {
			full[n.Need] = true
			continue
		}
		heap.Pop(queue)
		r.computing++
		r.begun++
		r.tell(EventStarted, i)
		deps := r.results(i)
		go func() {
			ctx := WithFree(r.ctx, sync.OnceFunc(func() { r.ends <- end[R]{node: i, free: true} }))
			result, err := n.Run(ctx, deps)
			r.ends <- end[R]{node: i, hit: true, result: result, err: err}
		}()
	}
}

// first returns the queue whose first node should run next, without those of full needs; nil
// if no node waits in the others.
func (r *run[R]) first(full map[string]bool) (best *ranked) {
	for need, q := range r.runs {
		if full[need] || q.Len() == 0 {
			continue
		}
		if best == nil || r.g.rank[q.nodes[0]] < r.g.rank[best.nodes[0]] {
			best = q
		}
	}
	return best
}

// premature reports whether a node that goes before node i is still being looked up, or waits
// for a node that has given its room back. Then i must wait, because it would take the room
// that the other node may need.
func (r *run[R]) premature(i int) bool {
	for f := range r.freed {
		if r.g.next[f] < r.g.rank[i] {
			return true
		}
	}
	for l := range r.looking {
		if r.g.rank[l] < r.g.rank[i] {
			return true
		}
	}
	return r.lookups.Len() > 0 && r.g.rank[r.lookups.nodes[0]] < r.g.rank[i]
}

// take records the end of a Lookup or Run.
func (r *run[R]) take(e end[R]) {
	if e.rested {
		r.resting--
		r.ready(e.node)
		return
	}
	if e.free {
		r.computing--
		r.o.Room.Give(r.g.nodes[e.node].Name)
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
		r.o.Room.Give(r.g.nodes[e.node].Name)
	}
	switch {
	case e.err != nil && r.stopped(e.err):
		r.settle(e.node, EventInterrupted, Status[R]{State: Interrupted, Err: e.err})
	case errors.Is(e.err, ErrBusy):
		r.begun--
		r.rest(e.node, r.o.Rest)
	case e.err != nil:
		r.settle(e.node, EventFailed, Status[R]{State: Failed, Err: e.err, Root: r.g.nodes[e.node].Name})
		r.skip(e.node, e.node)
		if r.o.FailFast {
			r.cancel(errFailFast)
		}
	case !e.hit:
		r.wait(e.node)
	default:
		r.settle(e.node, kind, Status[R]{State: state, Result: e.result})
		for _, o := range r.g.outs[e.node] {
			if r.pending[o]--; r.pending[o] == 0 {
				r.ready(o)
			}
		}
	}
}

// seldom is how many times longer than a busy node one rests that only others can run: there
// may be many of them.
const seldom = 10

// rest lets a busy node wait for a time.
func (r *run[R]) rest(i int, d time.Duration) {
	if !r.busy[i] {
		r.busy[i] = true
		r.tell(EventBusy, i)
	}
	r.resting++
	go func() {
		select {
		case <-time.After(d):
		case <-r.ctx.Done():
		}
		r.ends <- end[R]{node: i, rested: true}
	}()
}

// stopped reports whether err only repeats that the run was stopped.
func (r *run[R]) stopped(err error) bool {
	return r.ctx.Err() != nil && (errors.Is(err, r.ctx.Err()) || errors.Is(err, context.Cause(r.ctx)))
}

// skip marks all nodes that depend on node i as skipped because node root failed.
func (r *run[R]) skip(i, root int) {
	for _, o := range r.g.outs[i] {
		if r.status[o].State != Waiting {
			continue // already skipped by another path or because of another failure
		}
		r.settle(o, EventSkipped, Status[R]{State: Skipped, Err: r.status[root].Err, Root: r.g.nodes[root].Name})
		r.skip(o, root)
	}
}

// settle sets the outcome of a node and sends an event.
func (r *run[R]) settle(i int, kind Kind, s Status[R]) {
	r.status[i] = s
	r.finished++
	r.tell(kind, i)
}

// tell sends an event to Options.Events.
func (r *run[R]) tell(kind Kind, i int) {
	if r.o.Events == nil {
		return
	}
	n, s := r.g.nodes[i], r.status[i]
	r.o.Events(Event{Kind: kind, Name: n.Name, Stage: n.Stage, Label: n.Label,
		Err: s.Err, Root: s.Root, Finished: r.finished, Total: len(r.g.nodes)})
}

// results returns the results of the dependencies of node i, by name, in a new map.
func (r *run[R]) results(i int) map[string]R {
	m := make(map[string]R, len(r.g.deps[i]))
	for _, d := range r.g.deps[i] {
		m[r.g.nodes[d].Name] = r.status[d].Result
	}
	return m
}

// outcome returns the outcome of all nodes. If several failures cause a node to be
// skipped, its Root is the first of them in the order of the graph; an event names the
// first in time.
func (r *run[R]) outcome(ctx context.Context) (Outcome[R], error) {
	out := make(Outcome[R], len(r.g.nodes))
	failed := &FailedError{}
	for _, i := range r.g.order {
		s := &r.status[i]
		switch s.State {
		case Failed:
			failed.Nodes = append(failed.Nodes, r.g.nodes[i].Name)
			failed.Errs = append(failed.Errs, s.Err)
		case Skipped:
			failed.Skipped++
			for _, d := range r.g.deps[i] {
				if from := r.status[d]; from.State == Failed || from.State == Skipped {
					s.Err, s.Root = from.Err, from.Root
					break
				}
			}
		}
		out[r.g.nodes[i].Name] = *s
	}
	switch {
	case len(out) == r.ok():
		return out, nil
	case ctx.Err() != nil:
		return out, fmt.Errorf("stopped: %w", context.Cause(ctx))
	case len(failed.Nodes) == 0: // the other nodes did not run because of Options.Limit
		return out, nil
	}
	return out, failed
}

// ok returns the number of nodes with results.
func (r *run[R]) ok() (n int) {
	for _, s := range r.status {
		if s.State.OK() {
			n++
		}
	}
	return n
}

// ranked is a heap of nodes, those of lowest rank first.
type ranked struct {
	rank  []int
	nodes []int
}

func (h *ranked) Len() int           { return len(h.nodes) }
func (h *ranked) Less(a, b int) bool { return h.rank[h.nodes[a]] < h.rank[h.nodes[b]] }
func (h *ranked) Swap(a, b int)      { h.nodes[a], h.nodes[b] = h.nodes[b], h.nodes[a] }
func (h *ranked) Push(x any)         { h.nodes = append(h.nodes, x.(int)) }
func (h *ranked) Pop() any {
	x := h.nodes[len(h.nodes)-1]
	h.nodes = h.nodes[:len(h.nodes)-1]
	return x
}
