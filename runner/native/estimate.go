package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ablate/models/stable"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
)

// This file estimates tasks of the engine of Stable Diffusion. Operations are those of the graphs.
// Memory is what XLA plans for them, and what compiling them takes of a process.

// unmeasured is the size of the weights and of all values of a graph together below which memory is not
// estimated: to compile takes seconds, and what a task keeps of them at a time fits everywhere.
const unmeasured = 4 << 30

// alone is the environment variable of a process that compiles one task's graphs and measures itself.
const alone = "ABLATE_ESTIMATE_ALONE"

// A computation is a task without its inputs.
type computation struct {
	cost func(compile bool) (stable.Cost, error)
	like any   // what its memory depends on; tasks of the same need the same
	disk int64 // size of its outputs
}

// estimate implements kit.Engine.
func (d *diffusion) estimate(ctx context.Context, t engine.EstimateTask) (engine.Estimate, error) {
	dir, err := os.MkdirTemp("", "estimate-*")
	if err != nil {
		return engine.Estimate{}, err
	}
	defer os.RemoveAll(dir)
	if d.b == nil { // operations are the same on a GPU
		if d.b, err = d.open(0); err != nil {
			return engine.Estimate{}, err
		}
	}
	c, err := d.computation(t, filepath.Join(dir, "model"))
	if err != nil {
		return engine.Estimate{}, err
	}
	own, err := c.cost(false)
	if err != nil {
		return engine.Estimate{}, err
	}
	out := engine.Estimate{Flops: own.Flops, Disk: c.disk}
	if t.GPUs > 0 || own.Weights+own.Values < unmeasured {
		return out, nil
	}
	if os.Getenv(alone) != "" {
		out.Memory, err = measured(c)
		return out, err
	}
	text, err := json.Marshal(c.like)
	if err != nil {
		return out, err
	}
	key := fmt.Sprint(t.Verb, t.Load, t.CPUs, string(text))
	if _, ok := d.memory[key]; !ok {
		if d.memory[key], err = asked(ctx, dir, t); err != nil {
			return out, err
		}
	}
	out.Memory = d.memory[key]
	return out, nil
}

// asked returns the memory of a task by a process of its own: what a process has kept of one
// compilation would not be counted with the next.
func asked(ctx context.Context, dir string, t engine.EstimateTask) (int64, error) {
	request, answer := filepath.Join(dir, "request.json"), filepath.Join(dir, "answer.json")
	if err := kit.WriteJSON(request, engine.EstimateRequest{Protocol: engine.Protocol, Tasks: []engine.EstimateTask{t}}); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, append(os.Args[1:len(os.Args)-2:len(os.Args)-2], request, answer)...)
	cmd.Env = append(os.Environ(), alone+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("the process that compiles it: %w", err)
	}
	data, err := os.ReadFile(answer)
	if err != nil {
		return 0, err
	}
	list, err := engine.ParseEstimates(data, 1)
	if err != nil {
		return 0, err
	}
	if list[0].Error != "" {
		return 0, errors.New(list[0].Error)
	}
	return list[0].Memory, nil
}

// measured compiles a computation in this process, and returns the largest memory that a process
// which does it has: while it compiles or while it computes, with the weights.
func measured(c *computation) (int64, error) {
	stop, peaks := make(chan struct{}), make(chan int64)
	go func() {
		peak := int64(0)
		for {
			peak = max(peak, resident())
			select {
			case <-stop:
				peaks <- peak
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	cost, err := c.cost(true)
	close(stop)
	peak := <-peaks
	if err != nil || peak == 0 {
		return 0, err
	}
	return cost.Weights + max(peak, resident()+cost.Working), nil
}

// resident is the memory of this process in bytes, without files that are mapped into it: the
// system takes these back where memory is short. It is 0 where the system does not say it.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return anonymous(string(text))
}

// anonymous returns the memory in a file status of /proc.
func anonymous(status string) int64 {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// computation returns what a task computes. dir is a folder for a random model.
func (d *diffusion) computation(t engine.EstimateTask, dir string) (*computation, error) {
	if t.Load == nil {
		return nil, errors.New("another engine loads the model")
	}
	name, _ := t.Load["name"].(string)
	dir, err := checkpointOf(name, dir)
	if err != nil {
		return nil, err
	}
	m, err := stable.Open(dir)
	if err != nil {
		return nil, err
	}
	if t.Verb == engine.Sample {
		return d.drawn(t, m)
	}
	return d.trained(t, m)
}

// drawn returns what a task of sample computes.
func (d *diffusion) drawn(t engine.EstimateTask, m *stable.Checkpoint) (*computation, error) {
	var p drawing
	if err := decoded(t.Params, &p); err != nil {
		return nil, err
	}
	o, err := p.options(m)
	if err != nil {
		return nil, err
	}
	m.Precision, m.Kept = p.Precision, p.Precision
	s, err := stable.NewSampler(d.b, m)
	if err != nil {
		return nil, err
	}
	batch := min(p.Batch, max(t.Rows, 1))
	calls := (t.Rows + batch - 1) / batch
	const pixel = 1.6 // bytes of PNG for one of a photograph
	p.Steps, p.Batch = 0, batch
	return &computation{like: p, disk: int64(pixel * float64(t.Rows*o.Height*o.Width)), cost: func(compile bool) (stable.Cost, error) {
		c, err := s.Cost(batch, o, compile)
		c.Flops *= float64(calls)
		return c, err
	}}, nil
}

// trained returns what a task of train computes.
func (d *diffusion) trained(t engine.EstimateTask, m *stable.Checkpoint) (*computation, error) {
	params := maps.Clone(t.Params) // method takes its own out
	p, err := fineOf(params, func(to any) error { return decoded(params, to) })
	if err != nil {
		return nil, err
	}
	if m.Precision, m.Kept = p.Precision, p.Precision; p.LoRA.Rank == 0 {
		m.Kept = stable.Float32
	}
	p.Devices = max(1, t.GPUs)
	if err := p.parallel(); err != nil {
		return nil, err
	}
	f, err := m.Prepare(d.b, p.Recipe, stable.Seeds{})
	if err != nil {
		return nil, err
	}
	method, streams := p.Recipe.Method, p.streams()
	like := []any{fmt.Sprintf("%T %+v", method, method), p.Pairs, p.Rollout, p.Sampler, p.Batch, p.Micro, p.Clip > 0, p.EMA > 0, p.Size, p.LoRA.Rank, p.Checkpointing, p.Precision, streams}
	return &computation{like: like, disk: f.Size(), cost: func(compile bool) (stable.Cost, error) { return f.Cost(streams, compile) }}, nil
}

// decoded reads parameters into a struct.
func decoded(params map[string]any, to any) error {
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}
