// Command bench times this project's computations and the same computations in Python:
// training steps of pretraining and fine-tuning, and one probe of a fine-tuned model, in JAX;
// training steps and draws of Stable Diffusion in PyTorch. Both sides have the same weights,
// inputs and arithmetic, and run on the same core, in turn. It first compares the results of
// both, and then prints the ratio of each round.
//
//	go run ./models/bench -python PYTHON [-peer PyTorch] [-only NAME,…]
//	go run ./models/bench gpu -python PYTHON [-only NAME,…] [-json]
//
// The second form runs Stable Diffusion 1.5 at its full size on a GPU (gpu.go), and needs nothing but
// the built program and PYTHON.
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
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "gpu" {
		return runGPU(args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	python := flags.String("python", "python3", "a Python with the peer")
	peer := flags.String("peer", jax, "which side to compare with: "+jax+" or "+pyTorch)
	starts := flags.Int("starts", 2, "how often both sides are started: a process is some percent faster or slower by where its memory lies")
	rounds := flags.Int("rounds", 30, "rounds a start, each side in turn; short ones, so that both see the same load")
	steps := flags.Int("steps", 2, "training steps a round")
	only := flags.String("only", "", "names of the cases to run, separated by commas; empty runs all of the peer")
	profile := flags.String("profile", "", "write a CPU profile of this side's timed rounds to this file; needs one case")
	child := flags.String("child", "", "(for the process itself) data of a case")
	_ = flags.Parse(args) // it exits on an error
	if *child != "" {
		plugin, _, err := backend.PluginPath()
		if err != nil {
			return err
		}
		return serve(cases[index(*only)], backend.Choice{Name: backend.CPU, Plugin: plugin}, *child, *profile)
	}
	return compare(*python, *peer, *only, *profile, *starts, *rounds, *steps)
}

// serve is the process of this side. It uses the protocol of the scripts: it prints the case's
// first results and then, for each line "N" that it reads, does the computation N times and
// prints the seconds that this took, by the clock and of the CPU.
func serve(c bench, choice backend.Choice, path, profile string) error {
	file, err := checkpoint.ReadFile(path)
	if err != nil {
		return err
	}
	b, err := backend.Open(choice)
	if err != nil {
		return err
	}
	t, err := c.open(b, file)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(t.first); err != nil {
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
		if s.Text() == askFacts {
			f, err := c.facts(b, t)
			if err != nil {
				return err
			}
			if err := out.Encode(f); err != nil {
				return err
			}
			continue
		}
		n, err := strconv.Atoi(s.Text())
		if err != nil {
			return err
		}
		start, used := time.Now(), cpuTime()
		for i := range n {
			if err := t.do(i); err != nil {
				return err
			}
		}
		if t.wait != nil {
			if err := t.wait(); err != nil {
				return err
			}
		}
		if err := out.Encode([2]float64{time.Since(start).Seconds(), cpuTime() - used}); err != nil {
			return err
		}
	}
	return nil
}

// askFacts is the line that asks a side what it ran on.
const askFacts = "facts"

// facts are what a side ran on, and the most memory that it had.
type facts struct {
	Device   string  `json:"device"`
	Software string  `json:"software"`
	Memory   int64   `json:"memory"` // bytes: of the GPU, or of the process
	Flops    float64 `json:"flops"`  // of a step, as this side counts them
}

// cpuTime returns the CPU time of this process in seconds, of all its threads.
func cpuTime() float64 {
	u := rusage()
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func rusage() (u unix.Rusage) {
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constant
	}
	return u
}

// oneThread limits both sides to one thread of computation.
func oneThread() []string {
	return []string{"NPROC=1", "OMP_NUM_THREADS=1", "JAX_PLATFORMS=cpu", "XLA_FLAGS=" + os.Getenv("XLA_FLAGS") + " --xla_cpu_multi_thread_eigen=false"}
}

// A side is a child process.
type side struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a side with the environment of this process and env.
func start(env []string, name string, args ...string) (*side, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
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

// chosen returns the names in a list separated by commas, or all where it is empty.
func chosen(all []string, only string) ([]string, error) {
	if only == "" {
		return all, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("unknown case %q: must be one of %s", name, strings.Join(all, ", "))
		}
	}
	return names, nil
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
	names, err := chosen(names, only)
	if err != nil {
		return err
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
	for _, name := range names {
		c := cases[index(name)]
		var t timing
		for range starts {
			if err := t.race(c, dir, python, script, oneThread(), []string{"-only", name, "-profile", profile}, max(1, int(float64(rounds)*c.share)), max(1, int(float64(steps)*c.share))); err != nil {
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
	facts  [2]facts      // [side], of the last start
}

// absolute and relative return the largest difference of two results, and where it is.
func absolute(a, b []float64) (largest float64, at int) {
	return most(a, b, func(x, y float64) float64 { return math.Abs(x - y) })
}

func relative(a, b []float64) (largest float64, at int) {
	return most(a, b, func(x, y float64) float64 { return math.Abs(x-y) / math.Abs(y) })
}

func most(a, b []float64, of func(x, y float64) float64) (largest float64, at int) {
	for i := range a {
		if d := of(a[i], b[i]); !(d <= largest) {
			largest, at = d, i
		}
		if math.IsNaN(largest) {
			break
		}
	}
	return largest, at
}

// inNorm returns the norm of the results' difference over that of b, and where they differ most.
func inNorm(a, b []float64) (d float64, at int) {
	var difference, square float64
	for i := range a {
		difference, square = difference+(a[i]-b[i])*(a[i]-b[i]), square+b[i]*b[i]
	}
	_, at = absolute(a, b)
	return math.Sqrt(difference / square), at
}

// race starts both sides, compares their results, and times rounds of each. dir is for their files,
// and child are further arguments of this program as this side.
func (t *timing) race(c bench, dir, python string, script []byte, env, child []string, rounds, steps int) error {
	data, err := c.data()
	if err != nil {
		return err
	}
	py, path := filepath.Join(dir, "peer.py"), filepath.Join(dir, "data")
	if err := errors.Join(os.WriteFile(py, script, 0o666), checkpoint.WriteFile(path, data)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours, err := start(env, self, append(child, "-child", path)...)
	if err != nil {
		return err
	}
	theirs, err := start(env, python, append([]string{py, path, c.name}, c.args...)...)
	if err != nil {
		return err
	}
	defer func() { // after an error; those that have ended are not there
		_, _ = ours.cmd.Process.Kill(), theirs.cmd.Process.Kill()
	}()
	var a, b []float64
	if err := errors.Join(ours.ask("", &a), theirs.ask("", &b)); err != nil {
		return err
	}
	if len(a) != len(b) {
		return fmt.Errorf("%s: %d results here and %d in %s", c.title, len(a), len(b), c.peer)
	}
	d, at := c.apart(a, b)
	// The comparison is negated, so that NaN counts as different.
	if !(d <= c.within) {
		return fmt.Errorf("%s: results differ by %.2g, more than %g (%s): result %d is %v here and %v in %s", c.title, d, c.within, c.results, at, a[at], b[at], c.peer)
	}
	t.worst = max(t.worst, d)
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
	if c.facts != nil {
		if err := errors.Join(ours.ask(askFacts, &t.facts[0]), theirs.ask(askFacts, &t.facts[1])); err != nil {
			return err
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

// middle returns the median, the minimum and the maximum.
func (v samples) middle() [3]float64 {
	sorted := slices.Sorted(slices.Values(v))
	return [3]float64{sorted[len(v)/2], sorted[0], sorted[len(v)-1]}
}

func (v samples) String() string {
	m := v.middle()
	return fmt.Sprintf("%.2f (%.2f to %.2f)", m[0], m[1], m[2])
}
