// Package dag runs a graph of dependent nodes, each at most once, as many at a
// time as there are slots.
//
// A node is ready when all that it depends on has a result. It is first looked up,
// if it can be, which takes no slot; only a miss waits for one. Among the waiting
// the one with the longest expected way to the end goes first. A failure takes
// down what depends on it, which is told the root cause, and nothing else.
//
// The package knows nothing of stages or stores: nodes close over those. One
// goroutine owns all state of a run; nodes run in goroutines of their own, and Run
// returns only when the last of these has. A node that ignores its context
// therefore delays the end of a run; one that panics ends the process.
package dag
