package status

import (
	"time"

	"ablate/runner/layout"
	"ablate/runner/plan"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// ran is the number of actions that a process has computed, at the time at which this was
// seen.
type ran struct {
	at time.Time
	n  int
}

// count records how many actions the processes have computed. The lock is held.
func (t *Tracker) count(now time.Time) {
	for _, l := range t.all() {
		h := t.ran[name(l)]
		if h == nil {
			h = []ran{{l.Started, 0}}
		}
		// A sighting a second is enough, and a large run computes thousands of actions in one.
		switch last := &h[len(h)-1]; {
		case l.Ran <= last.n:
		case len(h) > 1 && now.Sub(last.at) < time.Second:
			last.n = l.Ran
		default:
			h = append(h, ran{now, l.Ran})
		}
		t.ran[name(l)] = h
	}
}

// name returns the name of a process.
func name(l store.Live) string {
	if l.Process == "" {
		return "this process"
	}
	return l.Process
}

// fewest is the number of actions from which a throughput is computed, if so many were
// computed.
const fewest = 10

// perMinute returns how many actions the processes compute in a minute: over the last minute
// or, if they computed fewer than fewest in it, over the last 2, 4, 8, … minutes. The lock is
// held.
func (t *Tracker) perMinute(now time.Time) float64 {
	var since time.Time
	for _, l := range t.all() {
		if since.IsZero() || l.Started.Before(since) {
			since = l.Started
		}
	}
	age := now.Sub(since)
	if since.IsZero() || age < time.Second {
		return 0
	}
	for window := time.Minute; ; window *= 2 {
		window = min(window, age)
		n := 0.
		for _, l := range t.all() {
			h := t.ran[name(l)]
			n += ranAt(h, now) - ranAt(h, now.Add(-window))
		}
		if n >= fewest || window == age {
			return n / window.Minutes()
		}
	}
}

// ranAt returns how many actions a process had computed at a time, between two sightings in
// proportion.
func ranAt(h []ran, at time.Time) float64 {
	for i := len(h) - 1; i >= 0; i-- {
		if at.Before(h[i].at) {
			continue
		}
		n := float64(h[i].n)
		if i+1 < len(h) {
			n += float64(h[i+1].n-h[i].n) * float64(at.Sub(h[i].at)) / float64(h[i+1].at.Sub(h[i].at))
		}
		return n
	}
	return 0
}

// reliable is the part of its steps from which on the time of a training is estimated by its
// rate of steps.
const reliable = .05

// left sets the estimates of what is left: with as many actions at a time as the processes
// compute, but at least as long as the longest chain of actions takes. The lock is held.
func (t *Tracker) left(s *Status, now time.Time) {
	at, slots := map[int]store.LiveAction{}, 0
	for _, l := range s.Processes {
		slots += max(l.Slots, len(l.Actions))
		for _, a := range l.Actions {
			at[t.counts.at(a.Name)] = a
		}
	}
	// The first actions of a stage tell how long it takes while they run.
	takes, cost := map[alike]float64{}, map[alike]float64{}
	for i, x := range at {
		if a := t.graph.Actions[i]; steady(x) {
			k := alikeOf(a)
			// One that goes on from a saved state takes as long as its rate tells.
			takes[k] += max(now.Sub(x.Since).Seconds()+rest(x, 0, now), float64(x.Total)/x.Rate)
			cost[k] += a.Cost
		}
	}
	ends, longest := make([]float64, len(t.counts.state)), 0.
	for i, a := range t.graph.Actions {
		x, running := at[i]
		if t.counts.state[i] != waiting && !running {
			continue
		}
		seconds, basis := t.estimate(a)
		s.Guess = s.Guess || basis == plan.Guessed
		if k := alikeOf(a); basis != plan.FromRuns && cost[k] > 0 {
			seconds = a.Cost * takes[k] / cost[k]
		} else if basis == plan.Unknown {
			s.Unknown++
		}
		if running {
			seconds = rest(x, seconds, now)
		}
		s.Seconds += seconds
		start := 0.
		for _, in := range a.Inputs {
			if k := t.graph.Position(in); k >= 0 {
				start = max(start, ends[k])
			}
		}
		ends[i] = start + seconds
		longest = max(longest, ends[i])
	}
	if (t.measured || len(cost) > 0) && slots > 0 {
		s.Wall = max(longest, s.Seconds/float64(slots))
	}
}

// alike is what actions have in common of which one tells how long the others take.
type alike struct {
	kind   stage.Kind
	engine string
}

func alikeOf(a *layout.Action) alike { return alike{a.Kind, stage.EngineOf(a.Params)} }

// steady reports whether a running action has taken enough steps to tell how long it takes.
func steady(a store.LiveAction) bool {
	return a.Total > 0 && a.Rate > 0 && float64(a.Step) >= reliable*float64(a.Total)
}

// rest returns the seconds that a running action has left, if it is expected to take so many
// in all.
func rest(a store.LiveAction, expected float64, now time.Time) float64 {
	if steady(a) {
		return float64(a.Total-a.Step) / a.Rate
	}
	// What takes longer than expected, such as a compilation, is expected to take half as long
	// again as it is late.
	late := now.Sub(a.Since).Seconds() - expected
	return max(-late, late/2, expected/10)
}
