package sandbox

import (
	"fmt"
	"math"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog gives up on work that takes too long or too much memory. It counts only the
// time in which the process was awake: time hardly advances while the machine sleeps or
// the process is stopped. On a busy machine, where the process gets less than half of a
// core, it waits up to ten times as long.
type watchdog struct {
	limits limits
	clock  atomic.Int64 // nanoseconds in which this process was awake
	last   atomic.Int64 // clock at the last sign of progress
	cpu    atomic.Int64 // result of computed at the last sign of progress
	// computed returns the nanoseconds that this process has computed on all cores.
	computed func() int64
	reply    sync.Mutex // held by the goroutine that writes the reply; never released
}

// alive records progress.
func (w *watchdog) alive() {
	w.last.Store(w.clock.Load())
	w.cpu.Store(w.computed())
}

// processTime returns the nanoseconds that this process has computed on all cores.
func processTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return math.MaxInt64 // unknown: the clock alone counts
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// late reports whether a step takes too long.
func (w *watchdog) late() bool {
	waited := time.Duration(w.clock.Load() - w.last.Load())
	return waited > w.limits.step && (waited > 10*w.limits.step || time.Duration(w.computed()-w.cpu.Load()) > w.limits.step/2)
}

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
		case w.late():
			err = fmt.Errorf("one step of its evaluation took longer than %s; simplify it (disjunctions that refer to themselves, nested comprehensions, very long lists), or set a longer time, such as %s=60s", w.limits.step, envTimeout)
		}
		if err != nil && w.reply.TryLock() {
			giveUp(err)
			return
		}
	}
}
