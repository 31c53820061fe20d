package dag

import "fmt"

// State is the state of a node when a run ends.
type State int

const (
	Waiting     State = iota // not started when the run was stopped or reached its limit
	Hit                      // found by Lookup
	Done                     // computed by Run
	Failed                   // Lookup or Run returned an error
	Skipped                  // something it depends on failed
	Interrupted              // was running when the run was stopped
)

func (s State) String() string {
	return [...]string{"waiting", "hit", "done", "failed", "skipped", "interrupted"}[s]
}

// OK reports whether the node has a result.
func (s State) OK() bool { return s == Hit || s == Done }

// Status is the outcome of one node.
type Status[R any] struct {
	State  State
	Result R      // valid if State.OK
	Err    error  // of this node if Failed or Interrupted, of Root if Skipped
	Root   string // this node if Failed; if Skipped, the failed node that it depends on, directly or indirectly
}

// Outcome is the status of every node, by name. A node that the run did not reach is
// Waiting.
type Outcome[R any] map[string]Status[R]

// Kind is a kind of event.
type Kind int

const (
	EventStarted     Kind = iota // Run begins; it has room
	EventHit                     // Lookup found the result
	EventFinished                // Run returned a result
	EventFailed                  // Lookup or Run returned an error
	EventSkipped                 // something it depends on failed
	EventInterrupted             // Run ended early because the run was stopped
	EventBusy                    // Run returned ErrBusy for the first time, or only others can run it; others follow
)

func (k Kind) String() string {
	return [...]string{"started", "hit", "finished", "failed", "skipped", "interrupted", "busy"}[k]
}

// Event is a change of the state of one node. Each node has at most one EventBusy, and at
// most one event that ends it. An EventStarted comes before each Run.
type Event struct {
	Kind               Kind
	Name, Stage, Label string
	Err                error  // of a failed, skipped or interrupted node
	Root               string // of a skipped node, the first failure that is known
	Finished, Total    int    // number of nodes with an outcome so far, including this one; number of all nodes
}

// FailedError is what Run returns when nodes failed.
type FailedError struct {
	Nodes   []string // names of the failed nodes, in topological order
	Errs    []error  // their errors
	Skipped int      // number of nodes that did not run because of them
}

func (e *FailedError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Nodes[0], e.Errs[0])
	if n := len(e.Nodes) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more failed)", n)
	}
	if e.Skipped > 0 {
		s += fmt.Sprintf("; %d skipped because of it", e.Skipped)
	}
	return s
}

// Unwrap returns the errors of the failed nodes.
func (e *FailedError) Unwrap() []error { return e.Errs }
