// Command bench times a training step of the shapes model beside the same step
// in JAX: the same weights, batches and arithmetic, on the same core, in turn.
// It first compares the losses of ten steps, and prints the ratio of each round.
//
//	go run ./models/bench -plugin FILE -python PYTHON
//
// PYTHON has JAX from PyPI; `just bench` makes one. It prints and judges
// nothing but that the losses agree.
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
	"slices"
	"strconv"
	"time"

	_ "embed"

	"github.com/gomlx/gomlx/pkg/core/tensors"
	"golang.org/x/sys/unix"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/dit"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/shapes"
	"ablate/models/train"
)

//go:embed step.py
var script []byte

func main() {
	python := flag.String("python", "python3", "a Python with JAX")
	rounds := flag.Int("rounds", 7, "rounds, each side in turn")
	steps := flag.Int("steps", 60, "steps a round")
	child := flag.String("child", "", "(used by itself)")
	flag.Parse()
	var err error
	if *child != "" {
		err = serve(*child)
	} else {
		err = compare(*python, *rounds, *steps)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options of the step: none of AdamW's terms is 0 or 1.
func options() train.Options {
	o := train.Default(1e-3)
	o.Beta2, o.EMA = 0.99, 0.998
	return o
}

// write stores the weights and ten batches of the given size.
func write(path string, net pipeline.Network, size int) error {
	t := map[string]checkpoint.Tensor{}
	values := nn.Init(net.AllParams(), random.Stream(1, "bench", "init", 0))
	// The recipe starts modulations and output at zero; here nothing is zero,
	// so that a wrong gradient shows.
	r := random.Stream(1, "bench", "zeros", 0)
	for _, p := range net.AllParams() {
		x := values[p.Name]
		if p.Std == 0 {
			random.Normal(r, x)
			for i := range x {
				x[i] *= 0.02
			}
		}
		t["param."+p.Name] = checkpoint.Floats(x, p.Shape...)
	}
	img := make([]float32, shapes.Pixels)
	for i := range 10 {
		b := net.NewBatch(size)
		for k := range size {
			r := random.Stream(int64(i), "bench", "image", k)
			scene := shapes.NewScene(r, shapes.Prompt{})
			scene.Render(r, img)
			for j, v := range img {
				b.Images[k*len(img)+j] = 2*v - 1
			}
			scene.Prompt.Words(b.Words[k*net.Words:])
			b.Coefficients[k] = 1 / float32(size)
		}
		b.Draw(random.Stream(int64(i), "bench", "noise", 0))
		for j, in := range b.Inputs() {
			name := fmt.Sprintf("batch.%d.%s", i, [...]string{"x0", "eps", "t", "words", "c"}[j])
			t[name] = checkpoint.Floats(backend.Float32s(in), in.Shape().Dimensions...)
		}
	}
	o := options()
	t["hyper"] = checkpoint.Floats([]float32{float32(o.LearningRate), float32(o.Beta1), float32(o.Beta2), float32(o.Epsilon), 0, 1, float32(o.EMA), 1, 1}, 9)
	return checkpoint.WriteFile(path, t)
}

// serve is the Go side: it speaks as step.py does.
func serve(path string) error {
	t, err := checkpoint.ReadFile(path)
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
	net := pipeline.Shapes(dit.Default(shapes.Vocabulary()))
	values := nn.Values{}
	for _, p := range net.AllParams() {
		if values[p.Name], err = t["param."+p.Name].Float32(); err != nil {
			return err
		}
	}
	trainer, err := train.New(b, "bench", net.AllParams(), net.WeightedLoss)
	if err != nil {
		return err
	}
	state, err := trainer.Start(values)
	if err != nil {
		return err
	}
	take := func(i int) (train.Result, error) {
		var in []*tensors.Tensor
		for _, name := range []string{"x0", "eps", "t", "words", "c"} {
			x := t[fmt.Sprintf("batch.%d.%s", i%10, name)]
			f, err := x.Float32()
			if err != nil {
				return train.Result{}, err
			}
			in = append(in, tensors.FromFlatDataAndDimensions(f, x.Shape...))
		}
		return trainer.Step(state, options(), in...)
	}
	losses := make([]float64, 10)
	for i := range losses {
		r, err := take(i)
		if err != nil {
			return err
		}
		losses[i] = r.Loss
	}
	if err := json.NewEncoder(os.Stdout).Encode(losses); err != nil {
		return err
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		n, err := strconv.Atoi(s.Text())
		if err != nil {
			return err
		}
		start := time.Now()
		for i := range n {
			if _, err := take(i); err != nil {
				return err
			}
		}
		fmt.Println(time.Since(start).Seconds())
	}
	return nil
}

// A side is a child process that takes steps.
type side struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(name string, args ...string) (*side, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "NPROC=1", "OMP_NUM_THREADS=1", "JAX_PLATFORMS=cpu", "XLA_FLAGS=--xla_cpu_multi_thread_eigen=false")
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

func compare(python string, rounds, steps int) error {
	// Children inherit the affinity of the thread that starts them.
	runtime.LockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	var one unix.CPUSet
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ablate-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	py := filepath.Join(dir, "step.py")
	if err := os.WriteFile(py, script, 0o666); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cfg := dit.Default(shapes.Vocabulary())
	net := pipeline.Shapes(cfg)
	for _, step := range []struct {
		name string
		size int
	}{{"pretraining step, 64 images", 64}, {"fine-tuning step, 64 images + 32 pairs", 96}} {
		path := filepath.Join(dir, fmt.Sprint(step.size))
		if err := write(path, net, step.size); err != nil {
			return err
		}
		ours, err := start(self, "-child", path)
		if err != nil {
			return err
		}
		theirs, err := start(python, py, path, fmt.Sprint(cfg.Layers), fmt.Sprint(cfg.Heads))
		if err != nil {
			return err
		}
		if err := race(step.name, ours, theirs, rounds, steps); err != nil {
			return err
		}
		for _, s := range []*side{ours, theirs} {
			err = errors.Join(err, s.in.Close(), s.cmd.Wait())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func race(name string, ours, theirs *side, rounds, steps int) error {
	var a, b []float64
	if err := errors.Join(ours.ask("", &a), theirs.ask("", &b)); err != nil {
		return err
	}
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i])/math.Abs(b[i]))
	}
	fmt.Printf("%s\n  losses of ten steps: largest relative difference %.1e\n", name, worst)
	if worst > 1e-4 {
		return fmt.Errorf("%s: losses differ: %v and %v", name, a, b)
	}
	var ratios, x, y []float64
	for range rounds {
		var s, t float64
		if err := errors.Join(ours.ask(fmt.Sprint(steps), &s), theirs.ask(fmt.Sprint(steps), &t)); err != nil {
			return err
		}
		x, y, ratios = append(x, 1000*s/float64(steps)), append(y, 1000*t/float64(steps)), append(ratios, s/t)
	}
	show := func(v []float64) string {
		slices.Sort(v)
		return fmt.Sprintf("min %.2f  median %.2f  max %.2f", v[0], v[len(v)/2], v[len(v)-1])
	}
	fmt.Printf("  here   ms a step: %s\n  JAX    ms a step: %s\n  here / JAX, round by round: %s\n", show(x), show(y), show(ratios))
	return nil
}
