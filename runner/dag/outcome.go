package dag

import "fmt"

// State says how far a node came.
type State int

const (
	Waiting     State = iota // not begun when the run was stopped, or reached its limit
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

// Status is what became of a node.
type Status[R any] struct {
	State  State
	Result R      // if State.OK
	Err    error  // Failed and Interrupted: its own; Skipped: that of Root
	Root   string // Failed: itself; Skipped: the failed node that it depends on, directly or not
}

// Outcome is what became of every node, by name. Nodes that were never reached are Waiting.
type Outcome[R any] map[string]Status[R]

// Kind is a kind of event.
type Kind int

const (
	EventStarted     Kind = iota // Run begins; it has a slot
	EventHit                     // Lookup found the result
	EventFinished                // Run gave a result
	EventFailed                  // Lookup or Run gave an error
	EventSkipped                 // something it depends on failed
	EventInterrupted             // it stopped because the run was stopped
)

func (k Kind) String() string {
	return [...]string{"started", "hit", "finished", "failed", "skipped", "interrupted"}[k]
}

// Event tells of one change of one node. Each node has at most one EventStarted
// and at most one other event.
type Event struct {
	Kind               Kind
	Name, Stage, Label string
	Err                error  // failed, skipped, interrupted
	Root               string // skipped: the first failure known
	Finished, Total    int    // nodes with an outcome so far, this one included; all nodes
}

// FailedError is what Run returns when nodes failed.
type FailedError struct {
	Nodes   []string // the failed ones, in topological order
	Errs    []error  // theirs
	Skipped int      // how many others were not run because of them
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
