// Command bench times this project's computations and the same computations in Python:
// training steps of pretraining and fine-tuning, and one probe of a fine-tuned model, in JAX;
// training steps and draws of Stable Diffusion in PyTorch. Both sides have the same weights,
// inputs and arithmetic, and run on the same core, in turn. It first compares the results of
// both, and then prints the ratio of each round.
//
//	go run ./models/bench -python PYTHON [-peer PyTorch] [-only NAME,…]
//
// PYTHON has the peer from PyPI; `just bench` makes such an environment. The command fails if the
// results disagree, and not because of a ratio.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "embed"

	"golang.org/x/sys/unix"

	"ablate/models/backend"
	"ablate/models/checkpoint"
)

//go:embed step.py
var stepScript []byte

//go:embed diffusion.py
var diffusionScript []byte

// scripts are the programs of the peers.
var scripts = map[string][]byte{jax: stepScript, pyTorch: diffusionScript}

func main() {
	python := flag.String("python", "python3", "a Python with the peer")
	peer := flag.String("peer", jax, "which side to compare with: "+jax+" or "+pyTorch)
	starts := flag.Int("starts", 2, "how often both sides are started: a process is some percent faster or slower by where its memory lies")
	rounds := flag.Int("rounds", 30, "rounds a start, each side in turn; short ones, so that both see the same load")
	steps := flag.Int("steps", 2, "training steps a round")
	only := flag.String("only", "", "names of the cases to run, separated by commas; empty runs all of the peer")
	profile := flag.String("profile", "", "write a CPU profile of this side's timed rounds to this file; needs one case")
	child := flag.String("child", "", "(for the process itself) data of a case")
	flag.Parse()
	var err error
	if *child != "" {
		err = serve(*only, *child, *profile)
	} else {
		err = compare(*python, *peer, *only, *profile, *starts, *rounds, *steps)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve is the process of this side. It uses the protocol of step.py: it prints the case's
// first results and then, for each line "N" that it reads, does the computation N times and
// prints the seconds that this took, by the clock and of the CPU.
func serve(name, path, profile string) error {
	file, err := checkpoint.ReadFile(path)
	if err != nil {
		return err
	}
	plugin, _, err := backend.PluginPath()
	if err != nil {
		return err
	}
	b, err := backend.Open(backend.Choice{Name: backend.CPU, Plugin: plugin})
	if err != nil {
		return err
	}
	first, do, err := cases[index(name)].open(b, file)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(first); err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		n, err := strconv.Atoi(s.Text())
		if err != nil {
			return err
		}
		start, used := time.Now(), cpuTime()
		for i := range n {
			if err := do(i); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode([2]float64{time.Since(start).Seconds(), cpuTime() - used}); err != nil {
			return err
		}
	}
	return nil
}

// cpuTime returns the CPU time of this process in seconds, of all its threads.
func cpuTime() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constant
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// A side is a child process.
type side struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(name string, args ...string) (*side, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "NPROC=1", "OMP_NUM_THREADS=1", "JAX_PLATFORMS=cpu", "XLA_FLAGS="+os.Getenv("XLA_FLAGS")+" --xla_cpu_multi_thread_eigen=false")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &side{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

func (s *side) ask(line string, v any) error {
	if line != "" {
		if _, err := fmt.Fprintln(s.in, line); err != nil {
			return err
		}
	}
	answer, err := s.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(s.cmd.Path), err)
	}
	return json.Unmarshal(answer, v)
}

func compare(python, peer, only, profile string, starts, rounds, steps int) error {
	script, ok := scripts[peer]
	if !ok {
		return fmt.Errorf("unknown peer %q: must be %s or %s", peer, jax, pyTorch)
	}
	var names []string
	for _, c := range cases {
		if c.peer == peer {
			names = append(names, c.name)
		}
	}
	if only != "" {
		for _, name := range strings.Split(only, ",") {
			if !slices.Contains(names, name) {
				return fmt.Errorf("unknown case %q of %s: must be one of %s", name, peer, strings.Join(names, ", "))
			}
		}
		names = strings.Split(only, ",")
	}
	if profile != "" && len(names) != 1 {
		return fmt.Errorf("-profile needs one case: choose it by -only")
	}
	if err := pin(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ablate-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	py := filepath.Join(dir, "peer.py")
	if err := os.WriteFile(py, script, 0o666); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range names {
		c := cases[index(name)]
		data, err := c.data()
		if err != nil {
			return err
		}
		path := filepath.Join(dir, name)
		if err := checkpoint.WriteFile(path, data); err != nil {
			return err
		}
		var t timing
		for range starts {
			if err := t.race(c, []string{self, "-only", name, "-profile", profile, "-child", path}, append([]string{python, py, path, name}, c.args...),
				max(1, int(float64(rounds)*c.share)), max(1, int(float64(steps)*c.share))); err != nil {
				return err
			}
		}
		t.print(c)
	}
	return nil
}

// pin binds this thread, and with it the children that it starts, to one core.
func pin() error {
	runtime.LockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

// timing has the measurements of a case. Index [k] is 0 for the clock and 1 for the CPU;
// [side] is 0 for this side and 1 for the peer.
type timing struct {
	worst  float64       // largest difference of results
	ms     [2][2]samples // [k][side]
	ratios [2]samples    // [k], the peer's time over this side's in the same round
}

// race starts both sides, compares their results, and times rounds of each.
func (t *timing) race(c bench, here, there []string, rounds, steps int) error {
	ours, err := start(here[0], here[1:]...)
	if err != nil {
		return err
	}
	theirs, err := start(there[0], there[1:]...)
	if err != nil {
		return err
	}
	var a, b []float64
	if err := errors.Join(ours.ask("", &a), theirs.ask("", &b)); err != nil {
		return err
	}
	if len(a) != len(b) {
		return fmt.Errorf("%s: %d results here and %d in %s", c.title, len(a), len(b), c.peer)
	}
	for i := range a {
		d, most := math.Abs(a[i]-b[i]), c.within
		if most == 0 {
			d, most = d/math.Abs(b[i]), 1e-4
		}
		// The comparison is negated, so that NaN counts as different.
		if !(d <= most) {
			return fmt.Errorf("%s: results differ: result %d is %v here and %v in %s", c.title, i, a[i], b[i], c.peer)
		}
		t.worst = max(t.worst, d)
	}
	for round := range rounds {
		var seconds [2][2]float64 // [side][k]
		for j := range 2 {
			who := (j + round) % 2 // the side that comes first alternates
			if err := []*side{ours, theirs}[who].ask(fmt.Sprint(steps), &seconds[who]); err != nil {
				return err
			}
		}
		for k := range 2 {
			for who := range 2 {
				t.ms[k][who] = append(t.ms[k][who], 1000*seconds[who][k]/float64(steps))
			}
			t.ratios[k] = append(t.ratios[k], seconds[1][k]/seconds[0][k])
		}
	}
	return errors.Join(ours.in.Close(), theirs.in.Close(), ours.cmd.Wait(), theirs.cmd.Wait())
}

func (t *timing) print(c bench) {
	fmt.Printf("%s (%s)\n  %s: largest difference %.1e\n", c.title, c.name, c.results, t.worst)
	for k, of := range []string{"clock", "CPU"} {
		fmt.Printf("  %-5s  here %s ms, %s %s ms; its time over ours %s\n", of, t.ms[k][0], c.peer, t.ms[k][1], t.ratios[k])
	}
}

type samples []float64

// String returns the median, the minimum and the maximum.
func (v samples) String() string {
	sorted := slices.Sorted(slices.Values(v))
	return fmt.Sprintf("%.2f (%.2f to %.2f)", sorted[len(v)/2], sorted[0], sorted[len(v)-1])
}
