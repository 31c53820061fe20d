package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"ablate/runner/store"
)

// A task is an action that was computed, in seconds since the run began.
type task struct {
	begin, end float64 // of computing
	stored     float64 // when its result was in the store
	inputs     []int   // indexes of the tasks whose results it reads
}

// overhead runs a study with an empty store and prints where the time of its workers went.
func overhead(ablate, study, dir string, workers int) error {
	tmp, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	used, err := meter()
	if err != nil {
		return err
	}
	at := filepath.Join(tmp, "store")
	start := time.Now()
	out, err := exec.Command(ablate, "run", study, "--store", at, "-j", fmt.Sprint(workers)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s run %s: %w: %s", ablate, study, err, out)
	}
	wall := time.Since(start).Seconds()
	fmt.Println(used())
	tasks, _, err := read(at, filepath.Base(study), start)
	if err != nil {
		return err
	}
	show(tasks, workers, wall)
	return nil
}

// recorded prints where the time of the workers went in a run that is in a store: all of a
// study's actions were computed by one run. It counts from the first action to the last.
func recorded(at, study string, workers int) error {
	tasks, wall, err := read(at, filepath.Base(study), time.Time{})
	if err != nil {
		return err
	}
	show(tasks, workers, wall)
	return nil
}

func show(tasks []task, workers int, wall float64) {
	l := account(tasks, workers, wall)
	lost := l.before + l.after + l.ready + l.storing
	fmt.Printf("%d actions on %d workers in %.1f s, which compute %.1f s together. As shares of that:\n", len(tasks), workers, wall, l.compute)
	type line struct {
		what  string
		worth float64
	}
	var lines []line
	if l.before+l.after > 0 { // of a recorded run they are not known
		lines = []line{{"idle before the first action begins", l.before}, {"idle after the last result is stored", l.after}}
	}
	for _, x := range append(lines, []line{
		{"idle although an action is ready", l.ready},
		{"idle until a result is stored", l.storing},
		{"the runner's overhead, which is the sum of these", lost},
		{"idle because what is left needs an action that is being computed", l.idle},
	}...) {
		fmt.Printf("%8.2f %%  %6.1f s  %s\n", 100*x.worth/l.compute, x.worth, x.what)
	}
}

// read returns the tasks of a study that was run once, and the time from start until the last
// result was stored. Without a start, the run began with its first action.
func read(at, study string, start time.Time) (tasks []task, wall float64, err error) {
	s, err := store.Open(at)
	if err != nil {
		return nil, 0, err
	}
	folder := filepath.Join(s.Dir(), "studies", study)
	events, _, err := store.ReadJournal(folder)
	if err != nil {
		return nil, 0, err
	}
	if len(events) == 0 {
		return nil, 0, fmt.Errorf("%s: the run computed nothing, or it is of another version", folder)
	}
	if start.IsZero() {
		start = events[0].Time
	}
	began, made := map[store.ActionID]time.Time{}, map[store.OutputID]int{}
	for _, e := range events {
		switch e.Kind {
		case store.Started:
			began[e.Action] = e.Time
		case store.Finished:
			entry, err := s.Index(e.Action)
			if err != nil {
				return nil, 0, err
			}
			key, err := store.ParseKey(entry.Key)
			if err != nil {
				return nil, 0, err
			}
			t := task{begin: began[e.Action].Sub(start).Seconds(), stored: e.Time.Sub(start).Seconds()}
			t.end = t.begin + e.Seconds
			for _, in := range key.Inputs {
				if i, ok := made[in.Output]; ok {
					t.inputs = append(t.inputs, i)
				}
			}
			if _, ok := made[entry.Output]; !ok {
				made[entry.Output] = len(tasks)
			}
			tasks = append(tasks, t)
		default:
			return nil, 0, fmt.Errorf("%s: an attempt %s: measure a study whose actions all succeed", e.Action.Short(), e.Kind)
		}
	}
	for _, t := range tasks {
		wall = max(wall, t.stored)
	}
	return tasks, wall, nil
}

// A ledger has the seconds that workers computed and were idle.
type ledger struct{ compute, before, after, ready, storing, idle float64 }

// account divides the time of the workers. At each moment, a worker that computes nothing is
// idle because an action that is ready does not begin yet, or because an action would be ready
// if the results that it reads were stored already, or because no action is left for it.
func account(tasks []task, workers int, wall float64) ledger {
	var l ledger
	var moments []float64
	first, last := wall, 0.0
	for _, t := range tasks {
		l.compute += t.end - t.begin
		moments = append(moments, t.begin, t.end, t.stored)
		first, last = min(first, t.begin), max(last, t.stored)
	}
	l.before, l.after = float64(workers)*first, float64(workers)*(wall-last)
	slices.SortFunc(moments, cmp.Compare[float64])
	for k := 1; k < len(moments); k++ {
		from, long := moments[k-1], moments[k]-moments[k-1]
		free, ready, storing := workers, 0, 0
		unstored := from < last && !slices.ContainsFunc(tasks, func(t task) bool { return t.end > from })
		for _, t := range tasks {
			switch {
			case t.begin <= from && from < t.end:
				free--
			case t.begin > from && !slices.ContainsFunc(t.inputs, func(i int) bool { return tasks[i].stored > from }):
				ready++
			case t.begin > from && !slices.ContainsFunc(t.inputs, func(i int) bool { return tasks[i].end > from }):
				storing++
			}
		}
		free = max(0, free)
		ready = min(ready, free)
		storing = min(storing, free-ready)
		if unstored {
			storing = free - ready // the run waits for the last results
		}
		l.ready += long * float64(ready)
		l.storing += long * float64(storing)
		l.idle += long * float64(free-ready-storing)
	}
	return l
}
