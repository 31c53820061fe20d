package status

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// A Tracker follows the actions of a study while they are computed. It learns what happens
// from the store (Look), or from the events of a run in this process (Event).
type Tracker struct {
	p     project.Project
	graph *layout.Graph
	class string
	build string
	find  func(g *layout.Graph, class string) (*lookup.Found, error)

	mu        sync.Mutex
	counts    *counts
	failures  []Failure
	processes []store.Live // other than own
	own       *store.Live  // this process, if it is the one that computes; nil otherwise
	ran       map[string][]ran
	need      func(*layout.Action) resource.Need
	estimate  func(*layout.Action) (seconds float64, basis plan.Basis)
	measured  bool // estimate has measurements
	err       error
}

// NewTracker returns a tracker of the actions of a graph, which is the project's or a part
// of it. build is this program's.
func NewTracker(p project.Project, todo *layout.Graph, class, build string) *Tracker {
	var needs plan.Needs
	if p.Study != nil {
		needs, _ = plan.NewNeeds(p.Study, class) // a run has reported its mistakes
	}
	return &Tracker{p: p, graph: todo, class: class, build: build, find: p.Find, counts: newCounts(p, todo), ran: map[string][]ran{}, need: needs.Of,
		estimate: func(a *layout.Action) (float64, plan.Basis) {
			if stage.EngineOf(a.Params) != "" {
				return 0, plan.Unknown
			}
			return a.Cost, plan.Guessed
		}}
}

// Glance makes the tracker look at the results of the store less closely (project.Glance), which is
// good enough for people.
func (t *Tracker) Glance() *Tracker {
	t.find = t.p.Glance
	return t
}

// Computes tells the tracker that this process computes, with a number of workers. Then it
// counts results by the events of the run, and not by the store.
func (t *Tracker) Computes(slots int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = &store.Live{PID: os.Getpid(), Study: t.p.Folder(), Started: now, Slots: slots}
	t.own.Host, _ = os.Hostname()
}

// Look reads the store.
func (t *Tracker) Look() error {
	for _, read := range []func() error{t.readProcesses, t.readResults} {
		if err := read(); err != nil {
			return err
		}
	}
	if t.counts.open() == 0 {
		return nil // nobody needs to know how long nothing takes
	}
	return t.readPace()
}

// Watch reads the store again and again, until ctx ends: the announcements of processes each
// second, and everything else as often as it takes a small part of the time.
func (t *Tracker) Watch(ctx context.Context) {
	const part = 20 // at most one of so many seconds is spent with reading
	parts := []struct {
		read  func() error
		every time.Duration
		next  time.Time
	}{{t.readProcesses, time.Second, time.Time{}}, {t.readResults, time.Second, time.Time{}}, {t.readPace, 5 * time.Second, time.Time{}}}
	if t.own != nil {
		parts = slices.Delete(parts, 1, 2)
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var errs [3]error // of the last reading of each part
	for {
		for i := range parts {
			began := time.Now()
			if began.Before(parts[i].next) {
				continue
			}
			err := parts[i].read()
			errs[i] = err
			t.mu.Lock()
			t.err = errors.Join(errs[:]...)
			t.mu.Unlock()
			now := time.Now()
			parts[i].next = began.Add(max(parts[i].every, part*now.Sub(began)))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Err returns the error of the last reading of Watch. The next one may succeed.
func (t *Tracker) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// readProcesses reads the announcements of the processes that compute actions of the graph.
func (t *Tracker) readProcesses() error {
	if t.p.Store == nil {
		return nil
	}
	all, err := t.p.Store.Live()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.processes = t.processes[:0:0]
	for _, l := range all {
		if l.Stale || t.own != nil && l.Host == t.own.Host && l.PID == t.own.PID {
			continue
		}
		l.Actions = slices.DeleteFunc(l.Actions, func(a store.LiveAction) bool { return t.counts.at(a.Name) < 0 })
		if len(l.Actions) > 0 || l.Study == t.p.Folder() {
			t.processes = append(t.processes, l)
		}
	}
	t.count(time.Now())
	return nil
}

// readResults reads which results and failures the store has.
func (t *Tracker) readResults() error {
	found, err := t.find(t.graph, t.class)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = t.failures[:0:0]
	running := t.running()
	for i, a := range t.graph.Actions {
		f, failed := found.Failed[a]
		done := found.Has(a)
		switch {
		case done:
			t.counts.set(i, finished)
		case failed && !running[i]:
			t.counts.set(i, broken)
			t.failures = append(t.failures, Failure{f, failure.Final(f, t.build)})
		case t.counts.blocked(a):
			t.counts.set(i, skipped)
		default:
			t.counts.set(i, waiting)
		}
	}
	return nil
}

// readPace reads how long actions took.
func (t *Tracker) readPace() error {
	estimate, any, err := plan.Measured(t.p.Dir, t.class, t.need)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.estimate, t.measured = estimate, any
	return nil
}

// Event records an event of the run in this process. Computes must have been called.
func (t *Tracker) Event(e run.Event, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, name := t.graph.Position(e.Action), e.Action.Name.String()
	if i < 0 {
		return
	}
	at := slices.IndexFunc(t.own.Actions, func(a store.LiveAction) bool { return a.Name == name })
	if at < 0 && (e.Kind == run.Started || e.Kind == run.Working) { // a verification has no starts
		at = len(t.own.Actions)
		x := store.LiveAction{Name: name, Stage: string(e.Action.Kind), View: e.Action.View(), Since: now}
		t.own.Actions = append(t.own.Actions, x)
	}
	switch e.Kind {
	case run.Started, run.Elsewhere:
		return
	case run.Working:
		t.own.Actions[at].Advance(now, run.Reached(e.Progress))
		return
	case run.Cached:
		t.counts.set(i, finished)
	case run.Finished:
		t.counts.set(i, finished)
		t.own.Ran++
	case run.Failed:
		t.counts.set(i, broken)
		t.own.Failed++
	case run.Skipped:
		t.counts.set(i, skipped)
	}
	if at >= 0 {
		t.own.Actions = slices.Delete(t.own.Actions, at, at+1)
	}
	t.count(now)
}

// all returns the processes, this one first. The lock is held.
func (t *Tracker) all() []store.Live {
	if t.own == nil {
		return t.processes
	}
	return append([]store.Live{*t.own}, t.processes...)
}

// running returns the indices of the actions that a process computes and that are not done.
// The lock is held.
func (t *Tracker) running() map[int]bool {
	running := map[int]bool{}
	for _, l := range t.all() {
		for _, a := range l.Actions {
			if i := t.counts.at(a.Name); i >= 0 && t.counts.state[i] != finished {
				running[i] = true
			}
		}
	}
	return running
}

// Status returns the status at a time. It does not read the store.
func (t *Tracker) Status(now time.Time) *Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	running := t.running()
	s := &Status{Backend: t.class, Processes: []store.Live{}, Failures: append([]Failure{}, t.failures...), PerMinute: t.perMinute(now)}
	s.Actions, s.Stages, s.Rows = t.counts.with(running)
	for _, l := range t.all() {
		actions := []store.LiveAction{}
		for _, a := range l.Actions {
			if running[t.counts.at(a.Name)] {
				actions = append(actions, a)
			}
		}
		l.Actions = actions
		s.Processes = append(s.Processes, l)
	}
	t.left(s, now)
	return s
}
