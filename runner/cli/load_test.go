package cli

import (
	"testing"
	"time"
)

// TestPause: a machine that sleeps, or a process that is stopped, uses up none of the
// time that loading a study may take; nor does a clock that is set back.
func TestPause(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for gap, want := range map[time.Duration]time.Duration{
		tick: tick, 300 * time.Millisecond: 300 * time.Millisecond, 21 * time.Second: pause, 8 * time.Hour: pause, -time.Hour: 0,
	} {
		if got := awake(start, start.Add(gap)); got != want {
			t.Errorf("%v between two looks count as %v, want %v", gap, got, want)
		}
	}
	if limits, err := readLoadLimits(); err != nil || pause*10 > limits.step {
		t.Errorf("a pause of %v is much of the %v of a step (%v)", pause, limits.step, err)
	}
}
