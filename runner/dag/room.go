package dag

// Room decides which nodes run at the same time. Its methods are called from one goroutine.
type Room interface {
	// Begin begins a round of calls of Take, in the order in which nodes should run.
	Begin()
	// Take gives a node what it needs until Give, and returns true. If that is not free, it
	// keeps it free for this node as far as it can, for the rest of the round, and returns
	// false.
	Take(node int) bool
	// Give takes back what a node has.
	Give(node int)
}

// Slots returns a room for n nodes, whatever they are.
func Slots(n int) Room { return &slots{free: n} }

type slots struct{ free int }

func (*slots) Begin() {}

func (s *slots) Take(int) bool {
	if s.free == 0 {
		return false
	}
	s.free--
	return true
}

func (s *slots) Give(int) { s.free++ }
