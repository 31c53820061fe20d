package dag

// State is the state of a node when a run ends.
type State uint8

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

// Kind is a kind of event.
type Kind int

const (
	EventStarted     Kind = iota // Run begins; it has room
	EventHit                     // Lookup found the result
	EventFinished                // Run computed the result
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
	Kind     Kind
	Node     int
	Err      error // of a failed or interrupted node
	Root     int   // of a skipped node, the first failed node on which it depends, directly or indirectly
	Finished int   // number of nodes with an outcome so far, including this one
}
