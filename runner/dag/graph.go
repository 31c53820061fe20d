package dag

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Work is the nodes of a graph. A node is a number from 0, and depends only on lower ones.
// Lookup and Run are called by many goroutines, once at a time for a node.
type Work interface {
	Len() int                 // number of nodes
	Deps(i int) iter.Seq[int] // nodes that must have ended well before node i begins
	Hint(i int) Hint

	// Lookup reports whether node i has its result already. It takes no room. An error fails
	// the node.
	Lookup(ctx context.Context, i int) (bool, error)
	// Run computes node i and has its room meanwhile. It must return soon after ctx is done.
	// If its error wraps [ErrBusy], the node is looked up and run again later.
	Run(ctx context.Context, i int) error
}

// Hint says when a node should run. It affects nothing but the order.
type Hint struct {
	Priority int           // nodes of higher priority go first, whatever their cost
	Cost     time.Duration // expected duration; 0 means unknown and counts as one second
	Need     string        // nodes of equal Need take the same of Options.Room
}

// graph is what a run needs to know of its nodes. A study of 100,000 trials has more than a
// million of them, so it has numbers only.
type graph struct {
	deps []int32 // by node, number of its dependencies that have not ended well
	rank []int32 // by node, its position in the order of preference; lower goes first
	best []int32 // by rank, its node
	next []int32 // by node, the lowest rank of the nodes that depend on it, or the number of nodes if none does
	need []int32 // by node, number of its Need

	needs int     // number of different needs
	outs  []int32 // nodes that depend on node 0, on node 1, ...
	ends  []int32 // by node, where those that depend on it end in outs
}

// newGraph checks the dependencies of the nodes and puts the nodes in order.
func newGraph(w Work) (*graph, error) {
	n := w.Len()
	g := &graph{deps: make([]int32, n), need: make([]int32, n), ends: make([]int32, n)}
	total := int32(0)
	for i := range n {
		for d := range w.Deps(i) {
			if d < 0 || d >= i {
				return nil, fmt.Errorf("dag: node %d depends on node %d: want a lower one", i, d)
			}
			g.deps[i]++
			g.ends[d]++
			total++
		}
	}
	// ends is the number of nodes that depend on each; then where they begin; and, when all are
	// in place, where they end.
	begin := int32(0)
	for i, outs := range g.ends {
		g.ends[i], begin = begin, begin+outs
	}
	g.outs = make([]int32, total)
	for i := range n {
		for d := range w.Deps(i) {
			g.outs[g.ends[d]] = int32(i)
			g.ends[d]++
		}
	}
	g.prefer(w)
	return g, nil
}

// after returns the nodes that depend on node i.
func (g *graph) after(i int) []int32 {
	if i == 0 {
		return g.outs[:g.ends[0]]
	}
	return g.outs[g.ends[i-1]:g.ends[i]]
}

// prefer orders nodes by priority, then by the expected time from the node's start to the
// end of the longest chain of nodes that wait for it, then by their numbers.
func (g *graph) prefer(w Work) {
	n := w.Len()
	way := make([]time.Duration, n)
	priority := make([]int32, n)
	g.best, g.rank, g.next = make([]int32, n), make([]int32, n), make([]int32, n)
	needs := map[string]int32{}
	for i := n - 1; i >= 0; i-- {
		g.best[i] = int32(i)
		for _, o := range g.after(i) {
			way[i] = max(way[i], way[o])
		}
		h := w.Hint(i)
		if h.Cost <= 0 {
			h.Cost = time.Second
		}
		way[i] += h.Cost
		priority[i] = int32(h.Priority)
		if _, ok := needs[h.Need]; !ok {
			needs[h.Need] = int32(len(needs))
		}
		g.need[i] = needs[h.Need]
	}
	g.needs = len(needs)
	slices.SortFunc(g.best, func(a, b int32) int {
		return cmp.Or(cmp.Compare(priority[b], priority[a]), cmp.Compare(way[b], way[a]), cmp.Compare(a, b))
	})
	for r, i := range g.best {
		g.rank[i] = int32(r)
	}
	for i := range n {
		g.next[i] = int32(n)
		for _, o := range g.after(i) {
			g.next[i] = min(g.next[i], g.rank[o])
		}
	}
}
