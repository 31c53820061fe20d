package resource

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Grant is what an action has of a machine while it runs.
type Grant struct {
	CPUs      int
	GPUs      []GPU
	GPUMemory int64 // bytes of each GPU; 0 if the action has its GPUs alone
	Memory    int64

	number uint64 // in the order of grants and reservations
}

// Allocator hands out a capacity. Its methods may be called from several goroutines.
//
// In a round of Take, which Begin begins, what does not fit is reserved. Others get what is free
// only if the reserved need will still fit as soon as all grants that are older than its
// reservation have ended. So an action that needs much is not overtaken for ever by those that
// need little, and these go on with what it does not need.
type Allocator struct {
	all Capacity

	mu       sync.Mutex
	last     uint64 // number of the last grant or reservation
	used     amounts
	grants   map[uint64]Grant
	since    map[string]uint64 // numbers of the first reservations of names that wait
	round    []reservation     // of this round, in its order
	reserved amounts           // sum of the reservations of this round
	waiting  []*waiter         // calls of Acquire, which go before all rounds
}

// A reservation is for a need that waits.
type reservation struct {
	since  uint64
	cpus   int   // of this and all reservations before it in the round
	memory int64 // the same
}

// waiter is a call of Acquire.
type waiter struct {
	need  Need
	since uint64
	got   chan Grant // has room for one
}

// amounts are parts of a capacity that are in use or reserved.
type amounts struct {
	cpus   int
	memory int64
	gpus   []share // by index of the GPU
}

// share is the use of one GPU.
type share struct {
	alone  bool
	users  int   // number of grants that share it
	memory int64 // sum of their memory
}

// NewAllocator returns an allocator of a capacity, all of which is free.
func NewAllocator(c Capacity) *Allocator {
	return &Allocator{all: c, used: none(c), reserved: none(c), grants: map[uint64]Grant{}, since: map[string]uint64{}}
}

func none(c Capacity) amounts { return amounts{gpus: make([]share, len(c.GPUs))} }

// Capacity returns what the allocator hands out.
func (a *Allocator) Capacity() Capacity { return a.all }

// Begin begins a round of Take: it drops all reservations. Those of names that wait in the new
// round too are as old as they were.
func (a *Allocator) Begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin()
}

// begin leaves the reservations of the calls of Acquire.
func (a *Allocator) begin() {
	a.round, a.reserved = nil, none(a.all)
	for _, w := range a.waiting {
		a.reserve(w.need, w.since)
	}
}

// Take returns a grant for a need, or reserves what it needs for the rest of the round and
// returns false. The name is that of the action, by which its reservations are recognized.
func (a *Allocator) Take(name string, n Need) (Grant, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.take(n)
	if ok {
		delete(a.since, name)
		return g, true
	}
	since, known := a.since[name]
	if !known {
		since = a.last + 1
	}
	if a.reserve(n, since) && !known {
		a.last++
		a.since[name] = since
	}
	return Grant{}, false
}

// take takes what a need needs.
func (a *Allocator) take(n Need) (Grant, bool) {
	if !a.free(n) {
		return Grant{}, false
	}
	gpus, ok := a.gpus(n, a.used)
	if !ok {
		return Grant{}, false
	}
	if n.GPUMemory > 0 {
		// Small ones share the fullest GPU, so that others stay free for large ones.
		slices.SortStableFunc(gpus, func(i, k int) int { return cmp.Compare(a.used.gpus[k].memory, a.used.gpus[i].memory) })
	}
	gpus = gpus[:n.GPUs]
	a.used.add(n, gpus)
	a.last++
	g := Grant{CPUs: n.cpus(), GPUMemory: n.GPUMemory, Memory: n.Memory, number: a.last}
	for _, i := range gpus {
		g.GPUs = append(g.GPUs, a.all.GPUs[i])
	}
	a.grants[g.number] = g
	return g, true
}

// free reports whether the CPUs and the memory of a need are free, and whether every reserved
// need will find its own when the grants before its reservation have ended.
func (a *Allocator) free(n Need) bool {
	if !a.within(a.used.cpus+n.cpus(), a.used.memory, n.Memory) {
		return false
	}
	for _, r := range a.round {
		cpus, memory := r.cpus+n.cpus(), r.memory
		for number, g := range a.grants {
			if number > r.since {
				cpus += g.CPUs
				memory += g.Memory
			}
		}
		if !a.within(cpus, memory, n.Memory) {
			return false
		}
	}
	return true
}

// within reports whether CPUs, and memory with more of it, are within the capacity.
func (a *Allocator) within(cpus int, memory, more int64) bool {
	return cpus <= a.all.CPUs && (a.all.Memory == 0 || more == 0 || more <= a.all.Memory-memory)
}

// reserve reserves what a need needs: its GPUs are those with the least use. Nothing new begins
// on these that does not fit beside it, so their use decreases until it fits. It reserves
// nothing, and returns false, if the need does not fit beside the other reservations even when
// all grants have ended: then it waits for these others.
func (a *Allocator) reserve(n Need, since uint64) bool {
	gpus, ok := a.gpus(n, none(a.all))
	if !ok || !a.within(a.reserved.cpus+n.cpus(), a.reserved.memory, n.Memory) {
		return false
	}
	a.reserved.add(n, gpus[:n.GPUs])
	a.round = append(a.round, reservation{since, a.reserved.cpus, a.reserved.memory})
	return true
}

// gpus reports whether a need finds its GPUs beside used and reserved amounts, and returns those
// that it could have, at least as many as it needs, the least used first.
func (a *Allocator) gpus(n Need, used amounts) (list []int, ok bool) {
	if n.GPUs == 0 {
		return nil, true
	}
	for i, g := range a.all.GPUs {
		if g.holds(n, used.gpus[i], a.reserved.gpus[i]) {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(i, k int) int {
		x, y := a.used.gpus[i], a.used.gpus[k]
		return cmp.Or(cmp.Compare(x.memory, y.memory), cmp.Compare(x.users, y.users))
	})
	return list, len(list) >= n.GPUs
}

// holds reports whether a need fits on a GPU beside shares of it. A GPU whose memory is not
// known is not shared.
func (g GPU) holds(n Need, shares ...share) bool {
	users, memory := 0, int64(0)
	for _, s := range shares {
		if s.alone {
			return false
		}
		users += s.users
		memory += s.memory
	}
	switch {
	case g.Memory == 0:
		return users == 0
	case n.GPUMemory == 0:
		return users == 0
	}
	return n.GPUMemory <= g.Memory-memory
}

func (u *amounts) add(n Need, gpus []int) {
	u.cpus += n.cpus()
	u.memory += n.Memory
	for _, i := range gpus {
		s := &u.gpus[i]
		if s.users++; n.GPUMemory == 0 {
			s.alone = true
		}
		s.memory += n.GPUMemory
	}
}

// Give gives a grant back.
func (a *Allocator) Give(g Grant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.grants, g.number)
	a.used.cpus -= g.CPUs
	a.used.memory -= g.Memory
	for _, gpu := range g.GPUs {
		s := &a.used.gpus[slices.Index(a.all.GPUs, gpu)]
		s.alone = false
		s.users--
		s.memory -= g.GPUMemory
	}
	a.serve()
}

// serve gives the calls of Acquire what they wait for, in their order. It begins a new round.
func (a *Allocator) serve() {
	waiting := a.waiting
	a.waiting = nil
	a.begin()
	for _, w := range waiting {
		if g, ok := a.take(w.need); ok {
			w.got <- g
			continue
		}
		a.waiting = append(a.waiting, w)
		a.reserve(w.need, w.since)
	}
}

// Acquire waits for a grant. It goes before the needs of all rounds. The caller must not have
// a grant, because two that wait for each other's would wait for ever; and the need must fit
// into the capacity.
func (a *Allocator) Acquire(ctx context.Context, n Need) (Grant, error) {
	a.mu.Lock()
	a.last++
	w := &waiter{n, a.last, make(chan Grant, 1)}
	a.waiting = append(a.waiting, w)
	a.serve()
	a.mu.Unlock()
	select {
	case g := <-w.got:
		return g, nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	a.waiting = slices.DeleteFunc(a.waiting, func(x *waiter) bool { return x == w })
	a.mu.Unlock()
	select {
	case g := <-w.got: // it came at the same moment
		a.Give(g)
	default:
	}
	return Grant{}, context.Cause(ctx)
}
