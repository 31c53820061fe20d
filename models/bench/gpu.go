package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	_ "embed"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/nn"
	"ablate/models/stable"
	"ablate/models/unet"
)

//go:embed gpu.py
var gpuScript []byte

// A kind is a computation of `bench gpu`.
type kind struct {
	name, title string
	// passes is how many passes of the U-Net an image is worth: one forward, two backward, of which an
	// adapter needs one (the other is the gradient by the weights). 0: the sampler's are counted.
	passes      float64
	lora, pairs bool
	results     string
	apart       func(here, there []float64) (float64, int)
	within      map[stable.Precision]float64
}

// The limits for bfloat16 are what two correct programs differ by, because they round in other places:
// TestBFloat16Training of models/stable has such differences between 16 and 32 bits.
var kinds = []kind{
	{name: "forward", title: "one pass of the U-Net", passes: 1, results: "of the output's norm", apart: inNorm,
		within: map[stable.Precision]float64{stable.Float32: 1e-4, stable.BFloat16: .05}},
	fineTuning("full", "step of all weights, weighted by rewards", 3, false, false),
	fineTuning("lora", "step of LoRA, weighted by rewards", 2, true, false),
	fineTuning("full-dpo", "step of all weights by DPO", 4, false, true),
	fineTuning("lora-dpo", "step of LoRA by DPO", 3, true, true),
	{name: "sample", title: "images by guided DDIM, with their decoding", results: "of the bytes' norm", apart: inNorm,
		within: map[stable.Precision]float64{stable.Float32: 1e-3, stable.BFloat16: .1}},
}

func fineTuning(name, title string, passes float64, lora, pairs bool) kind {
	return kind{name: name, title: title, passes: passes, lora: lora, pairs: pairs, results: "relative, losses and gradient's norms of the first steps", apart: relative,
		within: map[stable.Precision]float64{stable.Float32: 1e-4, stable.BFloat16: .05}}
}

// peaks are the products that a GPU takes a second in bfloat16, in TFLOP/s, dense, of the vendors' data
// sheets, by the beginning of its name. Longer names come before those that they begin with.
var peaks = []struct {
	name   string
	tflops float64
}{
	{"NVIDIA H200 NVL", 835}, {"NVIDIA H200", 989}, {"NVIDIA H100 PCIe", 756}, {"NVIDIA H100 NVL", 835}, {"NVIDIA H100", 989}, {"NVIDIA GH200", 989},
	{"NVIDIA A100", 312}, {"NVIDIA L40S", 362}, {"NVIDIA B200", 2250},
}

// peak returns 0 for a device that is not known.
func peak(device string) float64 {
	for _, p := range peaks {
		if strings.HasPrefix(device, p.name) {
			return p.tflops
		}
	}
	return 0
}

// The devices and sizes of the flags.
const (
	cuda, cpu   = "cuda", "cpu"
	full, small = "full", "tiny"
)

// A machine is where and how both sides compute.
type machine struct {
	device, size, form string
	precision          stable.Precision
	batch, threads     int
	flash              bool
}

// runGPU is the command `bench gpu`.
func runGPU(args []string) error {
	var m machine
	var precision string
	flags := flag.NewFlagSet("bench gpu", flag.ExitOnError)
	python := flags.String("python", "python3", "a Python with PyTorch, safetensors and transformers and, for a GPU, XLA's plugin for CUDA (jax[cuda13])")
	flags.StringVar(&m.device, "device", cuda, cuda+" or "+cpu)
	flags.StringVar(&m.size, "size", full, full+": Stable Diffusion 1.5 at 512 pixels, or "+small)
	flags.StringVar(&precision, "precision", string(stable.BFloat16), "of the computation: bfloat16 or float32; weights that are trained are float32")
	flags.IntVar(&m.batch, "batch", 8, "images of a step; a pair has two")
	flags.IntVar(&m.threads, "threads", 1, "of both sides, on the CPU")
	flags.StringVar(&m.form, "form", "compiled", "of PyTorch: compiled (torch.compile) or eager")
	flags.BoolVar(&m.flash, "flash", false, "compute this side's attention by cuDNN; the results are compared as those of the plain form are")
	compared := flags.Int("compared", 10, "training steps whose results are compared before any is timed")
	samples := flags.Int("sampler-steps", 30, "steps of the sampler")
	rounds := flags.Int("rounds", 5, "rounds, each side in turn")
	steps := flags.Int("steps", 10, "steps a round")
	only := flags.String("only", "", "names of the cases to run, separated by commas; empty runs all")
	asJSON := flags.Bool("json", false, "print JSON in the place of the table")
	child := flags.String("child", "", "(for the process itself) data of a case")
	what := flags.String("task", "", "(for the process itself) the case's numbers")
	_ = flags.Parse(args) // it exits on an error
	m.precision = stable.Precision(precision)
	if *child != "" {
		var d diffusion
		if err := json.Unmarshal([]byte(*what), &d); err != nil {
			return err
		}
		choice, err := m.choice()
		if err != nil {
			return err
		}
		return serve(m.bench(kinds[kindOf(*only)], d, choice.Plugin), choice, *child, "")
	}
	for flag, of := range map[string]struct {
		value string
		known []string
	}{"device": {m.device, []string{cuda, cpu}}, "size": {m.size, []string{full, small}}, "precision": {precision, []string{string(stable.BFloat16), string(stable.Float32)}},
		"form": {m.form, []string{"compiled", "eager"}}} {
		if !slices.Contains(of.known, of.value) {
			return fmt.Errorf("-%s is %q: must be %s", flag, of.value, strings.Join(of.known, " or "))
		}
	}
	if m.device == cuda && m.precision == stable.Float32 {
		return errors.New("-precision is float32: must be bfloat16 on a GPU, where both sides would multiply float32 with the 10 bits of TF32")
	}
	if m.flash && m.device == cpu {
		return errors.New("-flash is for a GPU, whose cuDNN computes attention: leave it out, or -device cpu")
	}
	for flag, n := range map[string]int{"batch": m.batch, "threads": m.threads, "compared": *compared, "sampler-steps": *samples, "rounds": *rounds, "steps": *steps} {
		if n < 1 {
			return fmt.Errorf("-%s is %d: must be at least 1", flag, n)
		}
	}
	var all []string
	for _, k := range kinds {
		all = append(all, k.name)
	}
	names, err := chosen(all, *only)
	if err != nil {
		return err
	}
	for _, name := range names {
		if kinds[kindOf(name)].pairs && m.batch%2 != 0 {
			return fmt.Errorf("-batch is %d: must be even for the case %s, which learns from pairs", m.batch, name)
		}
	}
	if err := m.findPython(*python); err != nil {
		return err
	}
	choice, err := m.choice()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ablate-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	write := stable.WriteRandom
	if m.size == full {
		write = stable.WritePublished
	}
	model := filepath.Join(dir, "model")
	if err := write(model, 1); err != nil {
		return err
	}
	r := report{Format: "ablate.bench.gpu/1", Size: m.size, Precision: m.precision, Flash: m.flash, Rounds: *rounds, Steps: *steps}
	for _, name := range names {
		k := kinds[kindOf(name)]
		d := m.diffusion(k, model, *compared, *samples)
		n := *steps
		if k.passes == 0 {
			n = max(1, n/5) // a drawing has many passes
		}
		var t timing
		if err := t.race(m.bench(k, d, choice.Plugin), dir, *python, gpuScript, m.environment(),
			[]string{"gpu", "-device", m.device, "-precision", precision, "-only", name, "-task", d.String()}, *rounds, n); err != nil {
			return err
		}
		r.add(k, m, t)
		if !*asJSON {
			r.print(t)
		}
	}
	if *asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(r)
	}
	return nil
}

func kindOf(name string) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
}

// findPython makes the plugin of a Python known to models/backend, which looks into a virtual
// environment.
func (m machine) findPython(python string) error {
	if m.device == cpu {
		return nil
	}
	prefix, err := exec.Command(python, "-c", "import sys; print(sys.prefix)").Output()
	if err != nil {
		return fmt.Errorf("-python %s: %w", python, err)
	}
	return os.Setenv("VIRTUAL_ENV", strings.TrimSpace(string(prefix)))
}

// choice returns the backend of this side.
func (m machine) choice() (backend.Choice, error) {
	if m.device == cpu {
		plugin, _, err := backend.PluginPath()
		return backend.Choice{Name: backend.CPU, Plugin: plugin}, err
	}
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		return backend.Choice{}, errors.New("this machine has no NVIDIA GPU (no /dev/nvidiactl): run `bench gpu` where there is one, or try the program here by -device cpu -size tiny -batch 2")
	}
	list := backend.CUDAPlugins(true)
	if len(list) == 0 {
		return backend.Choice{}, fmt.Errorf("there is no XLA plugin for CUDA in %s: install jax[cuda13] there, or name a plugin by ABLATE_PJRT_PLUGIN", os.Getenv("VIRTUAL_ENV"))
	}
	return backend.Choice{Name: backend.CUDA, Plugin: list[0]}, nil
}

// environment is that of both sides.
func (m machine) environment() []string {
	switch {
	case m.device == cuda:
		// go-xla sets a wrong path of CUDA's libraries otherwise.
		return []string{"GOPJRT_CUDA_CHECKS=0"}
	case m.threads == 1:
		return oneThread()
	}
	return []string{fmt.Sprintf("NPROC=%d", m.threads), fmt.Sprintf("OMP_NUM_THREADS=%d", m.threads)}
}

// diffusion are the numbers of a case.
func (m machine) diffusion(k kind, model string, compared, steps int) diffusion {
	d := tiny()
	d.Flash = m.flash
	d.Checkpoint, d.Device, d.Form, d.Precision, d.Pairs, d.Compared, d.Steps = model, m.device, m.form, m.precision, k.pairs, compared, steps
	prompts := d.Prompts
	for d.Prompts = nil; len(d.Prompts) < m.batch; {
		d.Prompts = append(d.Prompts, prompts[len(d.Prompts)%len(prompts)])
	}
	r := &d.Recipe
	r.Batch = m.batch
	if k.pairs {
		r.Batch /= 2
	}
	r.Micro, r.DPOBeta, r.LearningRate = r.Batch, 10, 1e-5 // β times the rounding of bfloat16 is in the losses of pairs
	if k.lora {
		r.LoRA.Rank, r.LoRA.Alpha, r.LearningRate = 4, 4, 1e-3 // as in lora
	}
	if m.size == full {
		r.Size = 512
	}
	switch {
	case m.device == cuda:
		d.Queries = math.MaxInt32 // all scores at once
	case m.size == full:
		d.Blocks, d.Queries = true, 512 // in 8 GB
	}
	return d
}

// bench is the case of a kind, on this side with a plugin.
func (m machine) bench(k kind, d diffusion, plugin string) bench {
	open := d.train
	switch k.name {
	case "forward":
		open = d.forward
	case "sample":
		open = d.sample
	}
	return bench{name: k.name, title: k.title, peer: pyTorch, args: []string{d.String()}, results: k.results, apart: k.apart, within: k.within[m.precision], data: d.data, open: open,
		facts: func(b backend.Backend, t task) (facts, error) {
			f := facts{Device: b.DeviceDescription(0), Software: "XLA, " + filepath.Base(filepath.Dir(plugin)), Memory: int64(rusage().Maxrss) << 10}
			cost, err := t.cost(m.device == cuda)
			if err != nil {
				return f, err
			}
			if m.device == cuda {
				f.Memory = cost.Weights + cost.Working
			}
			f.Flops = cost.Flops
			if k.passes > 0 {
				pass, err := d.pass(b)
				if err != nil {
					return f, err
				}
				f.Flops = float64(len(d.Prompts)) * k.passes * pass
			}
			return f, nil
		}}
}

// denoise is a pass of the U-Net for latents, times and states of texts, and its weights.
func (d diffusion) denoise(b backend.Backend, c *stable.Checkpoint) (*backend.Fn, error) {
	o := unet.Options{Saving: nn.Saving{Flash: c.Flash}, Type: dtypes.Float32}
	if d.Precision == stable.BFloat16 {
		o.Type = dtypes.BFloat16
	}
	return backend.NewFn(b, "denoise", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{c.UNet.Denoise(nn.Bind(nn.Ordered(c.UNet.Params(), c.OHWI), in[3:]), in[0], in[1], in[2], o)}
	})
}

// inputs are the shapes of what denoise takes, without the weights, for n images.
func inputs(c *stable.Checkpoint, n int) []shapes.Shape {
	float := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	return []shapes.Shape{float(latents(c, n)...), float(n), float(n, c.Tokens(), c.Text.Width)}
}

// pass returns the operations of a pass for one image.
func (d diffusion) pass(b backend.Backend) (float64, error) {
	c, err := d.open()
	if err != nil {
		return 0, err
	}
	fn, err := d.denoise(b, c)
	if err != nil {
		return 0, err
	}
	weights, _ := nn.Arrays(nn.Ordered(c.UNet.Params(), c.OHWI))
	w, err := fn.Work(append(inputs(c, 1), weights...)...)
	return w.Flops, err
}

// forward is a pass of the U-Net.
func (d diffusion) forward(b backend.Backend, file map[string]checkpoint.Tensor) (task, error) {
	fail := func(err error) (task, error) { return task{}, err }
	c, w, err := d.load(b)
	if err != nil {
		return fail(err)
	}
	s, err := stable.NewSampler(b, c)
	if err != nil {
		return fail(err)
	}
	text, _, err := s.Encode(w, d.Prompts)
	if err != nil {
		return fail(err)
	}
	noise, err := file["noise"].Float32()
	if err != nil {
		return fail(err)
	}
	fn, err := d.denoise(b, c)
	if err != nil {
		return fail(err)
	}
	n := len(d.Prompts)
	times := slices.Repeat([]float32{500}, n)
	in := append([]*tensors.Tensor{tensors.FromFlatDataAndDimensions(noise, latents(c, n)...), tensors.FromFlatDataAndDimensions(times, n), text}, w.UNet...)
	pass := func() ([]float32, error) {
		out, err := fn.Call(in...)
		if err != nil {
			return nil, err
		}
		defer backend.Free(out...)
		return backend.Float32s(out[0]), nil // which waits for it
	}
	output, err := pass()
	if err != nil {
		return fail(err)
	}
	var first []float64
	for _, v := range output {
		first = append(first, float64(v))
	}
	return task{first: first, do: func(int) error { _, err := pass(); return err }, cost: func(compile bool) (cost stable.Cost, err error) {
		cost.Weights = c.WeightsSize()
		if compile {
			shape := inputs(c, n)
			for _, x := range w.UNet {
				shape = append(shape, x.Shape())
			}
			m, err := fn.Memory(shape...)
			cost.Working = m.Temporary + m.Outputs
			return cost, err
		}
		return cost, nil
	}}, nil
}

// A report has all cases that were run.
type report struct {
	Format    string           `json:"format"`
	Size      string           `json:"size"` // full or tiny
	Precision stable.Precision `json:"precision"`
	Flash     bool             `json:"flash"`
	Rounds    int              `json:"rounds"`
	Steps     int              `json:"steps"` // of a round
	Cases     []result         `json:"cases"`
}

// A result is that of a case.
type result struct {
	Case       string     `json:"case"`
	Title      string     `json:"title"`
	Images     int        `json:"images"`     // of a step
	Flops      float64    `json:"flops"`      // of a step, for both sides
	Difference float64    `json:"difference"` // of what both compute first
	Within     float64    `json:"within"`     // the largest allowed
	Here       speed      `json:"here"`
	There      speed      `json:"pytorch"`
	Ratio      [3]float64 `json:"ratio"`     // PyTorch's time over ours: median, smallest, largest of the rounds
	CPURatio   [3]float64 `json:"cpu_ratio"` // the same of the processes' CPU time
}

// speed is that of a side, by the median of the rounds.
type speed struct {
	facts
	Seconds [3]float64 `json:"seconds"`     // of a step: median, smallest, largest
	CPU     [3]float64 `json:"cpu_seconds"` // of the process
	Images  float64    `json:"images_per_second"`
	TFLOPS  float64    `json:"tflops"`
	Share   float64    `json:"share_of_peak,omitempty"` // of the device's peak in bfloat16; missing where it is not known
}

func (r *report) add(k kind, m machine, t timing) {
	c := result{Case: k.name, Title: k.title, Images: m.batch, Flops: t.facts[0].Flops, Difference: t.worst, Within: k.within[m.precision], Ratio: t.ratios[0].middle(), CPURatio: t.ratios[1].middle()}
	for who, to := range []*speed{&c.Here, &c.There} {
		to.facts = t.facts[who]
		to.Seconds, to.CPU = t.ms[0][who].middle(), t.ms[1][who].middle()
		for i := range 3 {
			to.Seconds[i], to.CPU[i] = to.Seconds[i]/1000, to.CPU[i]/1000
		}
		to.Images, to.TFLOPS = float64(m.batch)/to.Seconds[0], c.Flops/to.Seconds[0]/1e12
		if p := peak(t.facts[1].Device); p > 0 && m.precision == stable.BFloat16 {
			to.Share = to.TFLOPS / p
		}
	}
	r.Cases = append(r.Cases, c)
}

// print prints the last case, with its timing, as a row of a table in Markdown, with the table's head before the first.
func (r report) print(t timing) {
	c := r.Cases[len(r.Cases)-1]
	if len(r.Cases) == 1 {
		fmt.Printf("%s; %s; here %s; %s; %s; flash attention here: %v. %d rounds of %d steps.\n\n", c.There.Device, r.Size, c.Here.Software, c.There.Software, r.Precision, r.Flash, r.Rounds, r.Steps)
		fmt.Println("| case | images | images/s here | PyTorch | TFLOP/s here | PyTorch | of peak here | PyTorch | GB here | PyTorch | PyTorch's time over ours | of the CPU | difference |")
		fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	}
	share := func(s speed) string {
		if s.Share == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f %%", 100*s.Share)
	}
	fmt.Printf("| `%s` | %d | %.4g | %.4g | %.3g | %.3g | %s | %s | %.1f | %.1f | %s | %s | %.1e of %.0e |\n", c.Case, c.Images, c.Here.Images, c.There.Images, c.Here.TFLOPS, c.There.TFLOPS,
		share(c.Here), share(c.There), float64(c.Here.Memory)/1e9, float64(c.There.Memory)/1e9, t.ratios[0], t.ratios[1], c.Difference, c.Within)
}
