// Package dag is a scheduler: it runs the nodes of a dependency graph ([Work]), each at most
// once, and as many at a time as have room ([Room]).
//
// A node is ready when all its dependencies have ended well. It is first looked up, which
// takes no room; only a miss waits for room. Among the waiting nodes, the one with the
// longest expected path to the end of the graph goes first; those after it go on with the
// room that it does not need. When a node fails, the nodes
// that depend on it are skipped, with the failure as the reason; all others run.
//
// The package does not depend on stages or stores, and has no results: who gives the work
// keeps them. One goroutine owns all state of a run. Each node runs in its own goroutine,
// and Run returns only when all of these have ended. A node that ignores its context
// therefore delays the end of a run, and a node that panics ends the process.
package dag
