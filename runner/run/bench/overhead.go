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
	start := time.Now()
	out, err := exec.Command(ablate, "run", study, "--store", filepath.Join(tmp, "store"), "-j", fmt.Sprint(workers)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s run %s: %w: %s", ablate, study, err, out)
	}
	wall := time.Since(start).Seconds()
	machine := used()
	s, err := store.Open(filepath.Join(tmp, "store"))
	if err != nil {
		return err
	}
	folders, err := filepath.Glob(filepath.Join(s.Dir(), "studies", "*"))
	if err != nil || len(folders) != 1 {
		return fmt.Errorf("%s has %d folders of studies, want 1: %w", s.Dir(), len(folders), err)
	}
	tasks, err := read(s, folders[0], start)
	if err != nil {
		return err
	}
	l := account(tasks, workers, wall)
	share := func(x float64) string { return fmt.Sprintf("%.1f s, %.2f %%", x, 100*x/l.compute) }
	fmt.Printf("%s: %s\n", study, machine)
	fmt.Printf("%d actions on %d workers in %.1f s; their computing takes %.1f s of a worker together. Beside it, as shares of it:\n", len(tasks), workers, wall, l.compute)
	fmt.Printf("  workers idle before the first action begins: %s\n", share(l.before))
	fmt.Printf("  workers idle after the last action is stored: %s\n", share(l.after))
	fmt.Printf("  workers idle although an action is ready:    %s\n", share(l.ready))
	fmt.Printf("  workers idle until a result is stored:       %s\n", share(l.storing))
	fmt.Printf("overhead of the runner, the sum of these:      %s\n", share(l.before+l.after+l.ready+l.storing))
	fmt.Printf("workers idle because each action that is left needs one that is being computed: %s\n", share(l.idle))
	return nil
}

// read returns the tasks of a study that was run once.
func read(s *store.Store, folder string, start time.Time) ([]task, error) {
	events, _, err := store.ReadJournal(folder)
	if err != nil {
		return nil, err
	}
	var tasks []task
	began, made := map[store.ActionID]time.Time{}, map[store.OutputID]int{}
	for _, e := range events {
		switch e.Kind {
		case store.Started:
			began[e.Action] = e.Time
		case store.Finished:
			entry, err := s.Index(e.Action)
			if err != nil {
				return nil, err
			}
			key, err := store.ParseKey(entry.Key)
			if err != nil {
				return nil, err
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
			return nil, fmt.Errorf("%s: an attempt %s: measure a study whose actions all succeed", e.Action.Short(), e.Kind)
		}
	}
	if len(tasks) == 0 {
		return nil, fmt.Errorf("%s: the run computed nothing", folder)
	}
	return tasks, nil
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
