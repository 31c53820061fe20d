package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A row is a program and its rounds.
type row struct {
	name   string
	rounds []timing
}

// compare measures everything in turns and prints a table.
func compare(dir, python string, n, rounds int) error {
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
		func(dir string) (timing, error) { return rated(n)(actions(dir, inside{}, n)) },
		func(dir string) (timing, error) { return rated(n)(pooled(dir, n)) },
		func(dir string) (timing, error) {
			took, err := disk(dir, 1000)
			return timing{rate: 1000 / took.Seconds()}, err
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
	fmt.Println("| program | jobs/s, median (range) | ablate in worker processes: times as many | start, s | nothing to do, s |")
	fmt.Println("|---|---|---|---|---|")
	ours := middle(rows[1].all(func(t timing) float64 { return t.rate }))
	for _, r := range rows {
		rates := r.all(func(t timing) float64 { return t.rate })
		start, nothing := "", ""
		if s := middle(r.all(func(t timing) float64 { return t.start })); s > 0 {
			start = fmt.Sprintf("%.2f", s)
		}
		if s := middle(r.all(func(t timing) float64 { return t.nothing })); s > 0 {
			nothing = fmt.Sprintf("%.2f for %d jobs", s, r.rounds[0].jobs)
		}
		fmt.Printf("| %s | %.0f (%.0f to %.0f) | %.2g | %s | %s |\n", r.name, middle(rates), slices.Min(rates), slices.Max(rates), ours/middle(rates), start, nothing)
	}
	return nil
}

// rated returns the timing of a run of n actions.
func rated(n int) func(computed, found time.Duration, err error) (timing, error) {
	return func(computed, found time.Duration, err error) (timing, error) {
		return timing{rate: float64(n) / computed.Seconds(), jobs: n, nothing: found.Seconds()}, err
	}
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
