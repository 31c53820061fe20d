package dag

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Node is a step of the graph. Name, Deps, Lookup and Run define it; the other fields
// only affect how it is shown, and when it runs.
type Node[R any] struct {
	Name  string   // unique in the graph
	Stage string   // for events
	Label string   // for people
	Deps  []string // names of the nodes whose results it needs

	Priority int           // nodes of higher priority go first, whatever their cost
	Cost     time.Duration // expected duration, which affects only the order; 0 means unknown and counts as one second
	Need     string        // nodes of equal Need take the same of Options.Room

	// Lookup, if not nil, finds a result without computing it. It takes no room. It
	// returns (_, false, nil) for a miss; an error fails the node.
	Lookup func(ctx context.Context, deps map[string]R) (R, bool, error)
	// Run computes the result and has its room meanwhile. It must return soon after ctx
	// is done. If its error wraps [ErrBusy], the node is looked up and run again later.
	Run func(ctx context.Context, deps map[string]R) (R, error)
}

// Graph is a checked set of nodes. Running does not change it.
type Graph[R any] struct {
	nodes []Node[R]
	index map[string]int
	deps  [][]int // by node, indices of its dependencies in the order of Deps
	outs  [][]int // by node, indices of the nodes that depend on it
	order []int   // topological; nodes that could go in any order are as given
	rank  []int   // by node, its position in the order of preference; lower goes first
	next  []int   // by node, the lowest rank of the nodes that depend on it
}

// New checks nodes and returns their graph. It returns an error for a node without a name
// or Run, two nodes of one name, a dependency that does not exist, and a cycle, which the
// error spells out.
func New[R any](nodes []Node[R]) (*Graph[R], error) {
	g := &Graph[R]{
		nodes: slices.Clone(nodes),
		index: make(map[string]int, len(nodes)),
		deps:  make([][]int, len(nodes)),
		outs:  make([][]int, len(nodes)),
	}
	for i, n := range nodes {
		if n.Name == "" || n.Run == nil {
			return nil, fmt.Errorf("node %d %q: has no name or nothing to run", i, n.Name)
		}
		if _, twice := g.index[n.Name]; twice {
			return nil, fmt.Errorf("node %q: is there twice", n.Name)
		}
		g.index[n.Name] = i
	}
	for i, n := range nodes {
		for _, name := range n.Deps {
			d, ok := g.index[name]
			if !ok {
				return nil, fmt.Errorf("node %q: depends on %q, which is not in the graph", n.Name, name)
			}
			g.deps[i] = append(g.deps[i], d)
			g.outs[d] = append(g.outs[d], i)
		}
	}
	if err := g.sort(); err != nil {
		return nil, err
	}
	g.prefer()
	return g, nil
}

// sort sets g.order. If there is a cycle, it returns an error that names it.
func (g *Graph[R]) sort() error {
	pending := make([]int, len(g.nodes))
	var ready []int
	for i := range g.nodes {
		if pending[i] = len(g.deps[i]); pending[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		g.order = append(g.order, i)
		for _, o := range g.outs[i] {
			if pending[o]--; pending[o] == 0 {
				ready = append(ready, o)
			}
		}
	}
	if len(g.order) == len(g.nodes) {
		return nil
	}
	// Every node left over waits for another one left over: walk until one repeats.
	at := slices.IndexFunc(pending, func(n int) bool { return n > 0 })
	var path []int
	for !slices.Contains(path, at) {
		path = append(path, at)
		at = g.deps[at][slices.IndexFunc(g.deps[at], func(d int) bool { return pending[d] > 0 })]
	}
	var names []string
	for _, i := range path[slices.Index(path, at):] {
		names = append(names, g.nodes[i].Name)
	}
	return fmt.Errorf("nodes depend on each other: %s", strings.Join(append(names, names[0]), " ← "))
}

// prefer sets g.rank. It orders nodes by priority, then by the expected time from the
// node's start to the end of the longest chain of nodes that wait for it, then as given.
func (g *Graph[R]) prefer() {
	way := make([]time.Duration, len(g.nodes))
	for _, i := range slices.Backward(g.order) {
		for _, o := range g.outs[i] {
			way[i] = max(way[i], way[o])
		}
		cost := g.nodes[i].Cost
		if cost <= 0 {
			cost = time.Second
		}
		way[i] += cost
	}
	best := make([]int, len(g.nodes))
	for i := range best {
		best[i] = i
	}
	slices.SortStableFunc(best, func(a, b int) int {
		if d := g.nodes[b].Priority - g.nodes[a].Priority; d != 0 {
			return d
		}
		switch {
		case way[a] > way[b]:
			return -1
		case way[a] < way[b]:
			return 1
		}
		return 0
	})
	g.rank = make([]int, len(g.nodes))
	for r, i := range best {
		g.rank[i] = r
	}
	g.next = make([]int, len(g.nodes))
	for i, outs := range g.outs {
		g.next[i] = len(g.nodes)
		for _, o := range outs {
			g.next[i] = min(g.next[i], g.rank[o])
		}
	}
}
