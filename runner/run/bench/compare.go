package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// A row is a program and its rounds.
type row struct {
	name   string
	rounds []timing
}

// synced is how many files the disk syncs in a round.
const synced = 1000

// compare measures everything in turns and prints a table.
func compare(dir, python string, n, rounds int) error {
	if inMemory(dir) {
		return fmt.Errorf("%s is in memory, where syncing does nothing: name a folder on a disk (-dir; in .ci/bench, TMPDIR)", dir)
	}
	tmp, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // at the end only: some file systems are slow at creating files after many were removed
	if tmp, err = filepath.Abs(tmp); err != nil {
		return err
	}
	if err := unpack(tmp); err != nil {
		return err
	}
	used, err := meter()
	if err != nil {
		return err
	}
	rows := []row{{name: "ablate, in one process"}, {name: "ablate, in worker processes"}, {name: "the disk, one file after the other"}}
	measure := []func(dir string) (timing, error){
		func(dir string) (timing, error) { return actions(dir, inside{}, n, func() {}) },
		func(dir string) (timing, error) { return pooled(dir, n) },
		func(dir string) (timing, error) {
			used := spent()
			took, err := disk(dir, synced)
			return timing{rate: synced / took.Seconds(), processor: (spent() - used) / synced}, err
		},
	}
	found := "no peers"
	if python != "" {
		if python, err = filepath.Abs(python); err != nil {
			return err
		}
		if found, err = versions(python); err != nil {
			return err
		}
		for _, p := range peers {
			rows = append(rows, row{name: p.name})
			measure = append(measure, func(dir string) (timing, error) { return p.measure(python, filepath.Join(tmp, "peers"), dir) })
		}
	}
	for round := range rounds {
		for k := range rows {
			i := (k + round) % len(rows) // so that none always comes after the same
			in := filepath.Join(tmp, fmt.Sprint(round, "-", i))
			if err := os.Mkdir(in, 0o777); err != nil {
				return err
			}
			t, err := measure[i](in)
			if err != nil {
				return fmt.Errorf("%s: %w", rows[i].name, err)
			}
			rows[i].rounds = append(rows[i].rounds, t)
		}
	}
	fmt.Printf("%d rounds, %s; %s\n\n", rounds, found, used())
	fmt.Println("| program | jobs/s, median (range) | ablate in worker processes: times as many | processor time of a job, ms | start, s | nothing to do, s |")
	fmt.Println("|---|---|---|---|---|---|")
	ours := middle(rows[1].all(func(t timing) float64 { return t.rate }))
	for _, r := range rows {
		rates := r.all(func(t timing) float64 { return t.rate })
		cell := func(of func(timing) float64, format string) string {
			if x := middle(r.all(of)); x > 0 {
				return fmt.Sprintf(format, x)
			}
			return ""
		}
		nothing := cell(func(t timing) float64 { return t.nothing }, "%.2f")
		if nothing != "" {
			nothing += fmt.Sprintf(" for %d jobs", r.rounds[0].jobs)
		}
		fmt.Printf("| %s | %.0f (%.0f to %.0f) | %.1f | %s | %s | %s |\n", r.name, middle(rates), slices.Min(rates), slices.Max(rates), ours/middle(rates),
			cell(func(t timing) float64 { return 1000 * t.processor }, "%.2f"), cell(func(t timing) float64 { return t.start }, "%.2f"), nothing)
	}
	return nil
}

// all returns a value of all rounds.
func (r row) all(of func(timing) float64) (x []float64) {
	for _, t := range r.rounds {
		x = append(x, of(t))
	}
	return x
}

// middle returns the median.
func middle(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
