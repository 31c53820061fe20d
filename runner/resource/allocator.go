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
}

// Allocator hands out a capacity. Its methods may be called from several goroutines.
//
// In a round of Take, which Begin begins, what a need lacks is reserved for it: later needs of
// the round get only what is left besides. So an action that needs much is not overtaken for
// ever by those that need little, and these go on with what it does not need.
type Allocator struct {
	all Capacity

	mu       sync.Mutex
	used     amounts
	reserved amounts
	waiting  []*waiter // calls of Acquire, which go before all rounds
}

// waiter is a call of Acquire.
type waiter struct {
	need Need
	got  chan Grant // has room for one
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
	return &Allocator{all: c, used: none(c), reserved: none(c)}
}

func none(c Capacity) amounts { return amounts{gpus: make([]share, len(c.GPUs))} }

// Capacity returns what the allocator hands out.
func (a *Allocator) Capacity() Capacity { return a.all }

// Begin begins a round of Take: it drops all reservations.
func (a *Allocator) Begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin()
}

// begin leaves the reservations of the calls of Acquire.
func (a *Allocator) begin() {
	a.reserved = none(a.all)
	for _, w := range a.waiting {
		a.reserve(w.need)
	}
}

// Take returns a grant for a need, or reserves what it needs for the rest of the round and
// returns false.
func (a *Allocator) Take(n Need) (Grant, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.take(n)
	if !ok {
		a.reserve(n)
	}
	return g, ok
}

// take takes what a need needs of what is neither used nor reserved.
func (a *Allocator) take(n Need) (Grant, bool) {
	gpus, ok := a.fits(n, a.used)
	if !ok {
		return Grant{}, false
	}
	if n.GPUMemory > 0 {
		// Small ones share the fullest GPU, so that others stay free for large ones.
		slices.SortStableFunc(gpus, func(i, k int) int { return cmp.Compare(a.used.gpus[k].memory, a.used.gpus[i].memory) })
	}
	gpus = gpus[:n.GPUs]
	a.used.add(n, gpus)
	g := Grant{CPUs: n.cpus(), GPUMemory: n.GPUMemory, Memory: n.Memory}
	for _, i := range gpus {
		g.GPUs = append(g.GPUs, a.all.GPUs[i])
	}
	return g, true
}

// reserve reserves what a need needs, on the GPUs with the least use. Nothing new begins on
// these, so their use only decreases, and the need fits at last. It reserves nothing if the need does not fit beside the other reservations even when all grants have
// ended: then it waits for these others, not for what is free now.
func (a *Allocator) reserve(n Need) {
	if gpus, ok := a.fits(n, none(a.all)); ok {
		a.reserved.add(n, gpus[:n.GPUs])
	}
}

// fits reports whether a need fits beside used and reserved amounts, and returns the GPUs on
// which it does, at least as many as it needs, those with the least use first.
func (a *Allocator) fits(n Need, used amounts) ([]int, bool) {
	if used.cpus+a.reserved.cpus+n.cpus() > a.all.CPUs {
		return nil, false
	}
	if a.all.Memory > 0 && n.Memory > 0 && n.Memory > a.all.Memory-used.memory-a.reserved.memory {
		return nil, false
	}
	if n.GPUs == 0 {
		return nil, true
	}
	var gpus []int
	for i, g := range a.all.GPUs {
		if g.holds(n, used.gpus[i], a.reserved.gpus[i]) {
			gpus = append(gpus, i)
		}
	}
	if len(gpus) < n.GPUs {
		return nil, false
	}
	slices.SortStableFunc(gpus, func(i, k int) int {
		x, y := a.used.gpus[i], a.used.gpus[k]
		return cmp.Or(cmp.Compare(x.memory, y.memory), cmp.Compare(x.users, y.users))
	})
	return gpus, true
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

// serve gives the calls of Acquire what they wait for, in their order.
func (a *Allocator) serve() {
	waiting := a.waiting
	a.waiting, a.reserved = nil, none(a.all)
	for _, w := range waiting {
		if g, ok := a.take(w.need); ok {
			w.got <- g
			continue
		}
		a.waiting = append(a.waiting, w)
		a.reserve(w.need)
	}
}

// Acquire waits for a grant. It goes before the needs of all rounds. The caller must not have
// a grant, because two that wait for each other's would wait for ever; and the need must fit
// into the capacity.
func (a *Allocator) Acquire(ctx context.Context, n Need) (Grant, error) {
	w := &waiter{n, make(chan Grant, 1)}
	a.mu.Lock()
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
