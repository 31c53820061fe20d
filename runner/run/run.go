// Package run computes the actions of a study whose results are not in the store. It
// retries actions whose worker died, repairs damaged artifacts, and writes a journal and
// logs.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"ablate/models/backend"
	"ablate/runner/dag"
	"ablate/runner/failure"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/resource"
	"ablate/runner/store"
)

// A Worker runs a task with what is granted of the machine, and returns when the task's folder is written. Tasks with the same
// hint compile the same computation graphs. *launch.Pool is a Worker.
type Worker interface {
	Do(ctx context.Context, t launch.Task, g resource.Grant, hint string, progress func(launch.Progress)) (launch.Reply, error)
}

// Needs returns what an action needs of a machine.
type Needs func(*layout.Action) resource.Need

// Options of a run. None of them changes a result.
type Options struct {
	Room     *resource.Allocator                // what the actions may use of the machine; nil means one CPU
	Need     Needs                              // what they need; nil means one CPU each
	FailFast bool                               // stop at the first failure that is no divergence
	Timeout  time.Duration                      // longest time of an attempt; 0 means no limit
	Limit    int                                // largest number of actions to compute; 0 means no limit
	Save     time.Duration                      // time between two savings of a training's state; 0 saves only when it is stopped
	MaxTime  time.Duration                      // after which the run stops; it starts nothing that would not finish by then. 0 means no limit
	Expect   func(*layout.Action) time.Duration // expected time of an action, 0 if it is not known; for MaxTime
	Idle     time.Duration                      // how long the run may compute nothing, while others compute what it waits for; 0 means no limit
	Job      string                             // job of a cluster's scheduler, for others
	Slots    int                                // number of actions that it computes at a time if each needs one CPU, for others
	Study    string                             // name of the study's folder of results, for others
	Backend  string
	Machine  Machine     // recorded with each attempt and entry
	Logs     string      // folder for the logs of failed actions, created when it is needed
	Events   func(Event) // called one call at a time; may be nil
	Now      func() time.Time
}

// Machine describes where an attempt ran.
type Machine struct {
	Device, Backend, Versions, CPU string
	GPU                            string // model of the GPUs; empty without one

	// Environment has one line for everything that may change the last digits of a result
	// on a backend of the same class: plugin, driver, processor, flags, threads.
	Environment string
	Build       string // SHA-256 of this program
}

// Of returns the environment of an action: with more than one thread, XLA on the CPU may give
// other last digits.
func (m Machine) Of(a *layout.Action, n resource.Need) string {
	if n.CPUs > 1 && m.Backend == backend.CPU && a.Kind.Def().Backend {
		return fmt.Sprintf("%s%s%d\n", m.Environment, threads, n.CPUs)
	}
	return m.Environment
}

// threads begins the last line of an environment with more than one thread.
const threads = "threads "

// WithoutThreads returns the lines of an environment without the line of its threads, and
// the number in that line, "1" if there is none.
func WithoutThreads(lines string) (rest, number string) {
	i := strings.LastIndexByte(strings.TrimSuffix(lines, "\n"), '\n') + 1
	if n, ok := strings.CutPrefix(lines[i:], threads); ok {
		return lines[:i], strings.TrimSuffix(n, "\n")
	}
	return lines, "1"
}

// Event is an event of a run.
type Event struct {
	Action   *layout.Action
	Kind     EventKind
	Progress launch.Progress
	Err      error
	Finished int // number of actions with an outcome, of Total
	Total    int
}

// EventKind is a kind of event.
type EventKind int

// The kinds of events.
const (
	Started   EventKind = iota
	Elsewhere           // another process computes it
	Cached              // it was in the store, or another process has computed it meanwhile
	Finished
	Failed
	Skipped
	Working // a running action has reported Progress
)

// Outcome is the result of a run.
type Outcome struct {
	Outputs     *lookup.Outputs // of actions that were looked up or computed
	Cached, Ran int
	Left        int    // number of actions that did not run because of Options.Limit, MaxTime, Idle or FailFast
	Stopped     string // the flag because of which the run has not tried all actions; empty if it has, or because of Limit
	Failures    []Failure
}

// Tried returns how many actions the run has computed, with those that failed in it.
func (o *Outcome) Tried() int {
	n := o.Ran
	for _, f := range o.Failures {
		if earlier := new(failure.EarlierError); !errors.As(f.Err, &earlier) {
			n++
		}
	}
	return n
}

// Failure is an action that failed, after any retry, or whose failure in an earlier run is
// final.
type Failure struct {
	Action *layout.Action
	Err    error
}

// Class returns the class of the failure.
func (f Failure) Class() failure.Class { return failure.Of(f.Err) }

// Tail returns the last lines that the worker wrote to its standard error.
func (f Failure) Tail() string {
	var earlier *failure.EarlierError
	if errors.As(f.Err, &earlier) {
		return earlier.Failure.Tail
	}
	stderr := launch.Diagnostics(f.Err).Stderr
	return Tail(stderr)
}

// Tail returns the last lines of a standard error.
func Tail(stderr string) string {
	lines := strings.Split(strings.TrimRight(stderr, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// tailLines is how many lines of a log people see with an error.
const tailLines = 10

// Run computes the actions of a graph whose results are not in the store. Failures of
// actions are in the outcome, which is never nil. The error is the cause of ctx or an
// error of the store.
func Run(ctx context.Context, g *layout.Graph, s *store.Store, j *store.Journal, w Worker, o Options) (*Outcome, error) {
	r := &runner{s: s, j: j, w: w, o: o, log: zerolog.Ctx(ctx), out: &Outcome{Outputs: lookup.NewOutputs(g)},
		found: map[*layout.Action]bool{}}
	if r.o.Now == nil {
		r.o.Now = time.Now
	}
	if r.o.Need == nil {
		r.o.Need = func(*layout.Action) resource.Need { return resource.Need{} }
	}
	if r.o.Room == nil {
		r.o.Room = resource.NewAllocator(resource.Capacity{CPUs: 1})
	}
	r.work = work{g, r}
	r.room = &room{a: r.o.Room, need: r.o.Need, grants: map[*layout.Action]resource.Grant{}}
	var err error
	if r.here, err = s.Announce(store.Live{Study: o.Study, Job: o.Job, Slots: o.Slots, Total: len(g.Actions)}); err != nil {
		return r.out, err
	}
	defer r.here.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.limit(stop)
	go r.watch(ctx, stop)
	states, err := dag.Run(ctx, r.work, dag.Options{Room: r.work, Fatal: r.fatal, Limit: o.Limit, Admit: r.work.admit, Elsewhere: r.work.elsewhere, Events: r.event})
	for _, st := range states {
		if st == dag.Waiting || st == dag.Interrupted {
			r.out.Left++
		}
	}
	for _, cause := range []error{errMaxTime, errIdle} {
		if errors.Is(err, cause) {
			r.stopped, err = cause, nil
		}
	}
	if r.stopped != nil && r.out.Left > 0 {
		r.out.Stopped = r.stopped.Error()
	}
	return r.out, err
}

type runner struct {
	s   *store.Store
	j   *store.Journal
	w   Worker
	o   Options
	log *zerolog.Logger
	out *Outcome

	work      work
	room      *room
	here      *store.Presence
	until     time.Time          // when the run stops; zero if it has no limit
	stopped   error              // why actions are not tried; nil if all are, or because of Options.Limit
	computing atomic.Int32       // number of actions that it computes
	repairs   singleflight.Group // by action, so that a damaged artifact that several actions read is computed again only once

	emitting sync.Mutex // held during a call of Options.Events

	mu    sync.Mutex              // protects out.Outputs and found
	found map[*layout.Action]bool // actions that another process computed while this one was about to
}

// Why a run stops before it has tried all actions.
var (
	errMaxTime  = errors.New("--max-time")
	errIdle     = errors.New("--idle")
	errFailFast = errors.New("--fail-fast")
)

// mostMargin is the longest time before the end of MaxTime at which trainings are asked to
// save their states.
const mostMargin = 30 * time.Second

// limit sets the end of the run's time.
func (r *runner) limit(stop context.CancelCauseFunc) {
	if r.o.MaxTime <= 0 {
		return
	}
	left := r.o.MaxTime - min(mostMargin, r.o.MaxTime/20)
	r.until = time.Now().Add(left)
	time.AfterFunc(left, func() { stop(errMaxTime) })
}

// admit reports whether an action would finish in the run's time. A training that would not
// may begin, because it saves its state; one whose time is not known may begin too.
func (r *runner) admit(a *layout.Action) bool {
	if r.until.IsZero() || a.Kind.Def().Saves || r.o.Expect == nil {
		return true
	}
	if time.Now().Add(cmp.Or(r.o.Expect(a), r.o.Need(a).Time)).Before(r.until) {
		return true
	}
	r.stopped = errMaxTime
	return false
}

// fatal reports whether a failure stops the run. A training that diverged has a result: that.
func (r *runner) fatal(err error) bool {
	if !r.o.FailFast || failure.Of(err) == failure.Diverged {
		return false
	}
	r.stopped = errFailFast
	return true
}

// watch stops the run if it has computed nothing for too long.
func (r *runner) watch(ctx context.Context, stop context.CancelCauseFunc) {
	if r.o.Idle <= 0 {
		return
	}
	tick := time.NewTicker(min(time.Second, r.o.Idle/4))
	defer tick.Stop()
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if r.computing.Load() > 0 {
				since = time.Now()
			}
			if time.Since(since) > r.o.Idle {
				stop(errIdle)
				return
			}
		}
	}
}

// event counts an event of the graph and passes it to Options.Events.
func (r *runner) event(e dag.Event) {
	a := r.work.action(e.Node)
	out := Event{Action: a, Err: e.Err, Finished: e.Finished, Total: r.work.Len()}
	switch e.Kind {
	case dag.EventBusy:
		out.Kind = Elsewhere
	case dag.EventHit:
		out.Kind = Cached
		r.out.Cached++
	case dag.EventFinished:
		r.mu.Lock()
		found := r.found[a]
		r.mu.Unlock()
		if found {
			out.Kind = Cached
			r.out.Cached++
			break
		}
		out.Kind = Finished
		r.out.Ran++
	case dag.EventFailed:
		out.Kind = Failed
		r.out.Failures = append(r.out.Failures, Failure{a, e.Err})
	case dag.EventSkipped:
		out.Kind, out.Err = Skipped, fmt.Errorf("%s failed", r.work.action(e.Root).Label())
	default:
		return
	}
	r.here.Update(func(l *store.Live) { l.Finished, l.Ran, l.Failed = e.Finished, r.out.Ran, len(r.out.Failures) })
	r.emit(out)
}

func (r *runner) emit(e Event) {
	if r.o.Events != nil {
		r.emitting.Lock()
		defer r.emitting.Unlock()
		r.o.Events(e)
	}
}
