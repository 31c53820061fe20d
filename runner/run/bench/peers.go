package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed peers
var files embed.FS

// A peer is another program that runs jobs, each of which writes one file of 1 KB.
type peer struct {
	name         string
	small, large int  // numbers of jobs of two runs, whose difference leaves out the start of the program
	again        bool // whether it finds out that all jobs are done
	command      func(python, peers string, jobs int) []string
}

var peers = []peer{
	{"snakemake --cores 2", 20, 220, true, func(python, peers string, jobs int) []string {
		return []string{filepath.Join(filepath.Dir(python), "snakemake"), "--snakefile", filepath.Join(peers, "Snakefile"), "--cores", "2", "--config", fmt.Sprintf("jobs=%d", jobs)}
	}},
	{"Hydra, basic launcher", 5, 55, false, func(python, peers string, jobs int) []string {
		return []string{python, filepath.Join(peers, "hydra_job.py"), "--multirun", fmt.Sprintf("+i=range(0,%d)", jobs), "hydra.sweep.dir=out"}
	}},
	{"Optuna, journal file", 20, 520, true, func(python, peers string, jobs int) []string {
		return []string{python, filepath.Join(peers, "optuna_study.py"), "journal", fmt.Sprint(jobs)}
	}},
	{"Optuna, SQLite", 20, 220, true, func(python, peers string, jobs int) []string {
		return []string{python, filepath.Join(peers, "optuna_study.py"), "sqlite", fmt.Sprint(jobs)}
	}},
}

// unpack writes the files of the peers into dir.
func unpack(dir string) error { return os.CopyFS(dir, files) }

// versions returns the versions of the packages that a Python has.
func versions(python string) (string, error) {
	out, err := exec.Command(python, "-c", `
from importlib.metadata import version
from platform import python_version
print("Python " + python_version() + "".join(f", {p} {version(p)}" for p in ("snakemake", "hydra-core", "optuna")))`).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", python, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// A timing is one round of a program. What is not measured is 0.
type timing struct {
	rate      float64 // jobs a second, without the program's start
	processor float64 // seconds of processors for a job, without those of the program's start
	start     float64 // seconds until the first job, by extrapolation
	jobs      int     // that it finds done
	nothing   float64 // seconds that this takes; of peers with the program's start
}

// measure runs a peer in dir.
func (p peer) measure(python, peers, dir string) (timing, error) {
	run := func(jobs int) (took, processor float64, err error) {
		in := filepath.Join(dir, fmt.Sprint(jobs))
		if err := os.MkdirAll(in, 0o777); err != nil {
			return 0, 0, err
		}
		args := p.command(python, peers, jobs)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = in
		used, start := spent(), time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, 0, fmt.Errorf("%s: %w: %s", p.name, err, out)
		}
		return time.Since(start).Seconds(), spent() - used, written(in, jobs)
	}
	few, little, err := run(p.small)
	if err != nil {
		return timing{}, err
	}
	many, much, err := run(p.large)
	if err != nil {
		return timing{}, err
	}
	n := float64(p.large - p.small)
	job := (many - few) / n
	t := timing{rate: 1 / job, processor: (much - little) / n, start: few - job*float64(p.small)}
	if p.again {
		t.jobs = p.large
		t.nothing, _, err = run(p.large)
	}
	return t, err
}

// written checks that so many files of 1 KB lie in the folder out.
func written(dir string, jobs int) error {
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "out"), func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() == 1024 {
			n++
		}
		return err
	})
	if err == nil && n != jobs {
		err = fmt.Errorf("%s has %d files of 1 KB, want %d", dir, n, jobs)
	}
	return err
}
