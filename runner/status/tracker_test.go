package status

import (
	"fmt"
	"math"
	"testing"
	"time"

	"ablate/runner/internal/byhand"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/plan"
	"ablate/runner/project"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// study returns a graph of so many trials: one pretraining, and for each trial a fine-tuning
// and a distance.
func study(trials int) *layout.Graph {
	var list []*layout.Action
	add := func(kind stage.Kind, cost float64, view string, inputs ...*layout.Action) *layout.Action {
		a := byhand.Action(fmt.Sprint("action ", len(list)), view, layout.Spec{Kind: kind, Cost: cost})
		a.Inputs = inputs
		list = append(list, a)
		return a
	}
	base := add(stage.Pretrain, 100, "arm 0@1")
	for i := range trials {
		view := fmt.Sprintf("arm %d@1", i/2)
		if i%2 == 1 {
			view = fmt.Sprintf("arm %d@2", i/2)
		}
		tuned := add(stage.Finetune, 30, view, base)
		add(stage.Distance, 10, view, tuned)
	}
	return layout.Of(list...)
}

// TestCounts: actions, stages and trials are counted by the events; what depends on a failed
// action is not left.
func TestCounts(t *testing.T) {
	g, now := study(4), time.Unix(1000, 0)
	k := NewTracker(project.Project{Dir: "s"}, g, "xla:cpu", "")
	k.Computes(2, now)
	does := func(kind run.EventKind, actions ...int) {
		for _, i := range actions {
			k.Event(run.Event{Kind: kind, Action: g.Actions[i]}, now)
		}
	}
	does(run.Cached, 0)
	does(run.Started, 1, 3)
	does(run.Finished, 1)
	does(run.Started, 2)
	does(run.Failed, 3)
	does(run.Skipped, 4)
	s := k.Status(now)
	if want := (Counts{Total: 9, Done: 2, Running: 1, Failed: 1, Skipped: 1}); s.Actions != want || s.Actions.Left() != 5 {
		t.Errorf("actions %+v, want %+v", s.Actions, want)
	}
	if want := []Stage{{"pretrain", Counts{Total: 1, Done: 1}}, {"finetune", Counts{Total: 4, Done: 1, Failed: 1}}, {"distance", Counts{Total: 4, Running: 1, Skipped: 1}}}; fmt.Sprint(s.Stages) != fmt.Sprint(want) {
		t.Errorf("stages %+v, want %+v", s.Stages, want)
	}
	if want := []Row{{"arm 0", Counts{Total: 2, Running: 1, Failed: 1}}, {"arm 1", Counts{Total: 2}}}; fmt.Sprint(s.Rows) != fmt.Sprint(want) {
		t.Errorf("rows %+v, want %+v", s.Rows, want)
	}
	does(run.Finished, 2)
	does(run.Started, 3) // it is tried again
	s = k.Status(now)
	if want := (Counts{Total: 9, Done: 3, Running: 1, Skipped: 1}); s.Actions != want {
		t.Errorf("actions %+v, want %+v", s.Actions, want)
	}
	if want := []Row{{"arm 0", Counts{Total: 2, Done: 1, Running: 1}}, {"arm 1", Counts{Total: 2}}}; fmt.Sprint(s.Rows) != fmt.Sprint(want) {
		t.Errorf("rows %+v, want %+v", s.Rows, want)
	}
	if p := s.Processes; len(p) != 1 || p[0].Ran != 2 || p[0].Failed != 1 || len(p[0].Actions) != 1 || p[0].Actions[0].View != "arm 0@2" {
		t.Errorf("processes %+v", p)
	}
}

// TestSettles: a study is computed on a machine on which stages take other times than their
// costs. From a quarter of the time on, the estimate of what is left is within a quarter of
// the truth or a minute, and it never jumps by more than a third in ten seconds.
func TestSettles(t *testing.T) {
	takes := map[stage.Kind]float64{stage.Pretrain: 40, stage.Finetune: 90, stage.Distance: 5}
	for _, slots := range []int{1, 2, 5} {
		g, start := study(20), time.Unix(1000, 0)
		k := NewTracker(project.Project{Dir: "s"}, g, "xla:cpu", "")
		k.Computes(slots, start)
		type guess struct{ at, left float64 }
		var guesses []guess
		seconds, cost := map[stage.Kind]float64{}, map[stage.Kind]float64{}
		k.estimate = func(a *layout.Action) (float64, plan.Basis) { // as runner/plan does
			if cost[a.Kind] > 0 {
				return a.Cost * seconds[a.Kind] / cost[a.Kind], plan.FromRuns
			}
			return a.Cost, plan.Guessed
		}
		k.measured = true
		done, began := map[*layout.Action]bool{}, map[*layout.Action]float64{}
		at := 0.
		for ; len(done) < len(g.Actions); at++ {
			now := start.Add(time.Duration(at) * time.Second)
			for _, a := range g.Actions {
				if from, runs := began[a]; runs && at-from >= takes[a.Kind] {
					delete(began, a)
					done[a] = true
					seconds[a.Kind], cost[a.Kind] = seconds[a.Kind]+takes[a.Kind], cost[a.Kind]+a.Cost
					k.Event(run.Event{Kind: run.Finished, Action: a}, now)
				}
			}
			for _, a := range g.Actions {
				_, runs := began[a]
				if len(began) == slots || runs || done[a] || len(a.Inputs) > 0 && !done[a.Inputs[0]] {
					continue
				}
				began[a] = at
				k.Event(run.Event{Kind: run.Started, Action: a}, now)
			}
			for a, from := range began {
				if n := int(100 * (at - from) / takes[a.Kind]); a.Kind != stage.Distance {
					k.Event(run.Event{Kind: run.Working, Action: a, Progress: launch.Progress{Step: n, Total: 100}}, now)
				}
			}
			guesses = append(guesses, guess{at, k.Status(now).Wall})
		}
		for i, x := range guesses {
			if x.at < at/4 {
				continue
			}
			truth := at - x.at
			if off := math.Abs(x.left - truth); off > max(truth/4, 60) {
				t.Errorf("%d workers: after %v s, %.0f s are left, and the estimate is %.0f s", slots, x.at, truth, x.left)
			}
			if before := guesses[i-10]; math.Abs(x.left-before.left) > max(before.left/3, 40) {
				t.Errorf("%d workers: the estimate jumps from %.0f s to %.0f s", slots, before.left, x.left)
			}
		}
	}
}

// TestThroughput: the number of stages a minute is that of the last minutes; of a process
// that is seen later, it is the mean since its start.
func TestThroughput(t *testing.T) {
	start := time.Unix(1000, 0)
	k := NewTracker(project.Project{Dir: "s"}, study(1), "xla:cpu", "")
	at := func(minutes float64, want float64, ran ...int) {
		t.Helper()
		now := start.Add(time.Duration(minutes * float64(time.Minute)))
		k.processes = nil
		for i, n := range ran {
			k.processes = append(k.processes, store.Live{Process: fmt.Sprint(i), Started: start, Ran: n})
		}
		k.count(now)
		if got := k.perMinute(now); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %v minutes %v a minute, want %v", minutes, got, want)
		}
	}
	at(0, 0, 0)
	at(.5, 4, 2)
	at(10, 98/9.5, 100)  // not seen between
	at(11, 20, 120)      // a fast minute
	at(12, 10, 120)      // a slow one: the last two
	at(12, 19, 120, 108) // another process, of which the past is not known
	at(60, 2, 0)
	at(1000, 0)
}

// TestRest: a running action is expected to take as long as its steps do, from its fifth
// percent on, and not less than nothing.
func TestRest(t *testing.T) {
	now := time.Unix(1000, 0)
	for want, a := range map[float64]store.LiveAction{
		60:  {Since: now.Add(-40 * time.Second)},
		10:  {Since: now.Add(-105 * time.Second)},
		150: {Since: now.Add(-400 * time.Second)},
		50:  {Since: now.Add(-40 * time.Second), Reached: store.Reached{Step: 50, Total: 100}, Rate: 1},
		61:  {Since: now.Add(-39 * time.Second), Reached: store.Reached{Step: 1, Total: 100}, Rate: 1},
		100: {Since: now, Reached: store.Reached{Compiling: true, Total: 100}},
	} {
		if got := rest(a, 100, now); math.Abs(got-want) > 1e-9 {
			t.Errorf("%+v: %v s, want %v s", a, got, want)
		}
	}
}

// TestResumed: a training that goes on from a saved state tells by its rate how long others take, and
// not by the short time that it takes itself.
func TestResumed(t *testing.T) {
	g, now := study(4), time.Unix(1000, 0)
	k := NewTracker(project.Project{Dir: "s"}, g, "xla:cpu", "")
	k.Computes(1, now)
	k.estimate = func(a *layout.Action) (float64, plan.Basis) {
		if a.Kind == stage.Finetune {
			return 0, plan.Guessed
		}
		return 0, plan.FromRuns
	}
	k.Event(run.Event{Kind: run.Cached, Action: g.Actions[0]}, now)
	k.Event(run.Event{Kind: run.Started, Action: g.Actions[1]}, now)
	for s := range 11 { // from step 80 of 100, a step a second
		k.Event(run.Event{Kind: run.Working, Action: g.Actions[1], Progress: launch.Progress{Step: 80 + s, Total: 100}}, now.Add(time.Duration(s)*time.Second))
	}
	// 10 steps are left, and three trainings of 100.
	if got := k.Status(now.Add(10 * time.Second)).Wall; math.Abs(got-310) > 31 {
		t.Errorf("%.0f s are left, want 310", got)
	}
}
