// Bench measures what the runner itself costs. README.md has results.
//
//	go run ./runner/run/bench [-n 5000] [-rounds 3] [-dir DIR] [-python PYTHON]
//
// It measures how many actions a second a run computes, stores and records, durably, if the
// stages cost nothing: each writes one file of 1 KB. The same program measures, in turns, the
// rate at which the disk syncs such files one after the other, and, where PYTHON has the
// packages snakemake, hydra-core and optuna, how many such jobs these run a second.
//
//	go run ./runner/run/bench -study DIR -ablate BINARY | -store DIR [-j 2]
//
// It runs a study with an empty store and compares the run's time with the time that its
// stages compute: where the rest goes, as a share of that time. With -store it does so for a run
// that is in a store already.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "stages" { // a worker of the pool
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 4 && os.Args[1] == "engine" {
		if err := engineMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	n := flag.Int("n", 5000, "`number` of actions in a round")
	rounds := flag.Int("rounds", 3, "`number` of rounds")
	dir := flag.String("dir", ".", "`folder` on the disk to measure")
	python := flag.String("python", "", "a `Python` with snakemake, hydra-core and optuna; empty measures ablate and the disk only")
	study := flag.String("study", "", "`folder` of a study whose overhead is measured instead")
	ablate := flag.String("ablate", "ablate", "the `binary` that runs the study")
	done := flag.String("store", "", "`folder` of a store in which one run has computed the study")
	jobs := flag.Int("j", 2, "`number` of workers of the study")
	images := flag.Int("images", 0, "`number` of images of studies on an engine that does nothing, which are measured instead")
	flag.Parse()
	run := func() error { return compare(*dir, *python, *n, *rounds) }
	switch {
	case *images > 0:
		run = func() error { return engines(*ablate, *dir, *images, *rounds) }
	case *done != "":
		run = func() error { return recorded(*done, *study, *jobs) }
	case *study != "":
		run = func() error { return overhead(*ablate, *study, *dir, *jobs) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
