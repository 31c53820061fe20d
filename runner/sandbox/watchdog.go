package sandbox

import (
	"fmt"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// watchdog gives up on work that takes too long or too much memory. It counts its
// own time: while the machine sleeps, or the process is stopped, that hardly advances.
type watchdog struct {
	limits limits
	clock  atomic.Int64 // nanoseconds that this process was awake
	last   atomic.Int64 // clock at the last sign of progress
	reply  sync.Mutex   // whoever holds it writes the reply; it is never released
}

// alive notes progress.
func (w *watchdog) alive() { w.last.Store(w.clock.Load()) }

// tick is how often the watchdog looks. A look that comes much later was delayed, and
// counts as pause at most.
const tick, pause = 10 * time.Millisecond, time.Second

// awake is how much of the time between two looks the process was awake, at most.
func awake(before, now time.Time) time.Duration { return max(0, min(now.Sub(before), pause)) }

func (w *watchdog) watch(giveUp func(error)) {
	memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	before := time.Now()
	for now := range time.Tick(tick) {
		w.clock.Add(int64(awake(before, now)))
		before = now
		metrics.Read(memory)
		used := memory[0].Value.Uint64() - memory[1].Value.Uint64()
		var err error
		switch {
		case used > w.limits.memory:
			err = w.limits.memoryError()
		case time.Duration(w.clock.Load()-w.last.Load()) > w.limits.step:
			err = fmt.Errorf("one step of its evaluation took longer than %s; simplify it (disjunctions that refer to themselves, nested comprehensions, very long lists), or raise %s", w.limits.step, envTimeout)
		}
		if err != nil && w.reply.TryLock() {
			giveUp(err)
			return
		}
	}
}
