package worker

import (
	"testing"
	"time"

	"ablate/runner/layout"
	"ablate/runner/plan"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// TestExpect: what stages take is known while the run that computes the first of them goes on.
func TestExpect(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	f, err := expect(dir, "xla:cpu", plan.Needs{}.Of, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	a := &layout.Action{Spec: &layout.Spec{Kind: stage.Draw, Cost: 3}}
	at := func(after time.Duration, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		if got := f(a); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	at(0, 0)
	for _, e := range []store.Event{{Kind: store.Started, Action: store.ActionID{1}, Time: now, Stage: "draw", Cost: 1, Backend: "xla:cpu"}, {Kind: store.Finished, Action: store.ActionID{1}, Time: now, Seconds: 20}} {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	at(leastAge/2, 0)
	at(leastAge/2, time.Minute)
}
