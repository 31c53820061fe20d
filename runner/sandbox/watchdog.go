package sandbox

import (
	"fmt"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// watchdog gives up on work that takes too long or too much memory. It counts only the
// time in which the process was awake: time hardly advances while the machine sleeps or
// the process is stopped.
type watchdog struct {
	limits limits
	clock  atomic.Int64 // nanoseconds in which this process was awake
	last   atomic.Int64 // clock at the last sign of progress
	reply  sync.Mutex   // held by the goroutine that writes the reply; never released
}

// alive records progress.
func (w *watchdog) alive() { w.last.Store(w.clock.Load()) }

// tick is the time between two checks of the watchdog. A check that comes much later was
// delayed by a sleep; the time before it counts as pause at most.
const tick, pause = 10 * time.Millisecond, time.Second

// awake returns an upper bound of the time between two checks in which the process was
// awake.
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
