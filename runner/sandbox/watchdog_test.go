package sandbox

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPause: time in which the machine sleeps or the process is stopped does not count as
// time of loading a study, and a clock that is set back does no harm.
func TestPause(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for gap, want := range map[time.Duration]time.Duration{
		tick: tick, 300 * time.Millisecond: 300 * time.Millisecond, 21 * time.Second: pause, 8 * time.Hour: pause, -time.Hour: 0,
	} {
		if got := awake(start, start.Add(gap)); got != want {
			t.Errorf("%v between two looks count as %v, want %v", gap, got, want)
		}
	}
	if limits, err := readLimits(); err != nil || pause*10 > limits.step {
		t.Errorf("a pause of %v is much of the %v of a step (%v)", pause, limits.step, err)
	}
}

// TestWatch: each sign of progress starts a new step. A step that takes too long ends the
// work, and so does too much memory. Once a reply is being written, the watchdog writes
// none.
func TestWatch(t *testing.T) {
	t.Run("time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &watchdog{limits: limits{step: time.Second, memory: 1 << 50}, computed: func() int64 { return time.Now().UnixNano() }}
			w.alive()
			var gaveUp error
			go w.watch(func(err error) { gaveUp = err })
			for range 5 {
				time.Sleep(800 * time.Millisecond)
				w.alive()
			}
			if synctest.Wait(); gaveUp != nil {
				t.Fatalf("it gave up in spite of progress: %v", gaveUp)
			}
			time.Sleep(1200 * time.Millisecond)
			if synctest.Wait(); gaveUp == nil || !strings.Contains(gaveUp.Error(), "longer than 1s") {
				t.Errorf("after a step of 1.2 s: %v", gaveUp)
			}
		})
	})
	t.Run("busy machine", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &watchdog{limits: limits{step: time.Second, memory: 1 << 50}, computed: func() int64 { return 0 }}
			w.alive()
			var gaveUp error
			go w.watch(func(err error) { gaveUp = err })
			time.Sleep(9 * time.Second)
			if synctest.Wait(); gaveUp != nil {
				t.Fatalf("it gave up on a process that had no time to compute: %v", gaveUp)
			}
			time.Sleep(2 * time.Second)
			if synctest.Wait(); gaveUp == nil {
				t.Error("it waits for ever for a process that does nothing")
			}
		})
	})
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &watchdog{limits: limits{step: time.Hour, memory: 1}, computed: processTime}
			var gaveUp error
			go w.watch(func(err error) { gaveUp = err })
			time.Sleep(2 * tick)
			if synctest.Wait(); gaveUp == nil || !strings.Contains(gaveUp.Error(), "memory") {
				t.Errorf("with more memory than allowed: %v", gaveUp)
			}
		})
	})
}

// TestLimits: the variables of the environment change the limits, and a value that is
// not valid is an error that names the variable.
func TestLimits(t *testing.T) {
	t.Setenv(envTimeout, "3s")
	t.Setenv(envMemory, "512")
	if l, err := readLimits(); err != nil || l != (limits{3 * time.Second, 512 << 20}) {
		t.Errorf("limits %v, error %v", l, err)
	}
	for name, value := range map[string]string{envTimeout: "-1s", envMemory: "much"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := readLimits(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%s: error %v", name, value, err)
			}
		})
	}
}
