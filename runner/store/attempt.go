package store

import (
	"strings"
	"time"
)

// Outcome is the outcome of an attempt.
type Outcome string

const (
	OutcomeOK          Outcome = "ok"
	OutcomeFailed      Outcome = "failed"
	OutcomeInterrupted Outcome = "interrupted"
	OutcomeRunning     Outcome = "running" // its process is alive, or on another machine and not known to be dead
)

// Attempt is one attempt at an action, combined from its events.
type Attempt struct {
	Event           // the last event, with missing fields from the start event; Time is the start
	Number  int     // 1 for the first attempt at the action in this journal
	Seconds float64 // duration in seconds; 0 if the end is not known
	Outcome Outcome
}

// Attempts combines the events of a journal to attempts, in the order of their starts. An
// attempt without an end is interrupted if its process has ended. Whether a process of
// another machine, or from before the last boot, has ended is not known; it is assumed
// after a week without an event.
func Attempts(events []Event) []Attempt {
	type who struct {
		process string
		action  ActionID
	}
	var all []Attempt
	open := map[who]int{} // index in all
	count := map[ActionID]int{}
	last := map[string]time.Time{} // time of the last event by process
	begin := func(e Event) int {
		count[e.Action]++
		all = append(all, Attempt{Event: e, Number: count[e.Action]})
		return len(all) - 1
	}
	for _, e := range events {
		id := who{e.Process, e.Action}
		last[e.Process] = e.Time
		i, running := open[id]
		if e.Kind == Started {
			// The same process started the action before without an end, so that attempt
			// was interrupted.
			if running {
				all[i].Outcome = OutcomeInterrupted
			}
			open[id] = begin(e)
			continue
		}
		delete(open, id)
		if !running { // the line of its start was lost
			i = begin(e)
		}
		all[i].end(e)
	}
	for id, i := range open {
		all[i].Outcome = OutcomeRunning
		if gone(id.process, last[id.process]) {
			all[i].Outcome = OutcomeInterrupted
		}
	}
	return all
}

// end closes an attempt with its last event.
func (a *Attempt) end(e Event) {
	start := a.Time
	if a.Seconds = e.Seconds; a.Seconds == 0 {
		a.Seconds = max(0, e.Time.Sub(start).Seconds())
	}
	for _, f := range []struct{ last, first *string }{
		{&e.Stage, &a.Stage}, {&e.Trial, &a.Trial}, {&e.Device, &a.Device}, {&e.Backend, &a.Backend},
		{&e.Engine, &a.Engine}, {&e.GPU, &a.GPU}, {&e.Versions, &a.Versions}, {&e.CPU, &a.CPU}, {&e.View, &a.View}, {&e.Environment, &a.Environment},
	} {
		if *f.last == "" {
			*f.last = *f.first
		}
	}
	if e.Worker == 0 {
		e.Worker = a.Worker
	}
	if e.GPUs == 0 {
		e.GPUs = a.GPUs
	}
	if e.Cost == 0 {
		e.Cost = a.Cost
	}
	a.Event = e
	a.Time = start
	switch e.Kind {
	case Finished:
		a.Outcome = OutcomeOK
	case Failed:
		a.Outcome = OutcomeFailed
	default:
		a.Outcome = OutcomeInterrupted
	}
}

// gone reports whether a process has ended, as far as that is known. last is the time of
// its last event.
func gone(process string, last time.Time) bool {
	if strings.Count(process, "-") != 2 {
		return false
	}
	return dead(process+"-x") || !ours(process) && time.Since(last) > abandoned
}
