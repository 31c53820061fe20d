// Package native is the engine of the shapes world: the stages of ablate behind the protocol
// that any program can speak (docs/engines.md). It computes nothing itself. It writes the rows
// of a task as artifacts, runs a stage of runner/stage, and writes what that made as outputs.
package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/train"
	"ablate/runner/device"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// StableDiffusion is the first argument of the engine of Stable Diffusion.
const StableDiffusion = "stable-diffusion"

// Main is the command line of the engine of the shapes world, or of that of Stable Diffusion:
// "[stable-diffusion] describe FILE", "run DIR", "serve" or, of Stable Diffusion, "estimate REQUEST ANSWER".
func Main(ctx context.Context, args []string) error { return runs(ctx, args, open) }

// runs is Main with a function that opens the backend for a number of GPUs.
func runs(ctx context.Context, args []string, open func(gpus int) (backend.Backend, error)) error {
	if len(args) > 0 && args[0] == StableDiffusion {
		d := &diffusion{open: open, memory: map[string]int64{}}
		return (&kit.Engine{Description: describeDiffusion(), Do: d.do, Estimate: d.estimate}).Main(ctx, args[1:])
	}
	n := &native{env: stage.NewEnv(nil), open: open}
	return (&kit.Engine{Description: describe(), Do: n.do}).Main(ctx, args)
}

// A native is the engine in a process. Its environment keeps what was compiled and nothing
// else of a task.
type native struct {
	env  *stage.Env
	open func(gpus int) (backend.Backend, error)
}

func (n *native) do(ctx context.Context, t *kit.Task) error {
	err := map[string]func(context.Context, *kit.Task) error{
		engine.Load: n.load, engine.Sample: n.sample, engine.Train: n.train, engine.Score: n.score, engine.Embed: n.embed,
	}[t.Verb](ctx, t)
	var diverged *train.DivergedError
	if errors.As(err, &diverged) {
		return &kit.End{Status: engine.Diverged, Step: diverged.Update, Err: err}
	}
	var p *stage.PanicError
	if errors.As(err, &p) {
		fmt.Fprintln(os.Stderr, p.Stack())
	}
	return err
}

// open opens XLA on the GPU of a task or, if it has none, on the CPU with the threads that it
// may use.
func open(gpus int) (backend.Backend, error) {
	c := backend.Choice{Name: backend.CPU}
	if gpus > 0 {
		plugins := backend.CUDAPlugins(true)
		if len(plugins) == 0 {
			return nil, errors.New("there is no XLA plugin for CUDA: name one with ABLATE_PJRT_PLUGIN, or give the task no GPU")
		}
		c = backend.Choice{Name: backend.CUDA, Plugin: plugins[0]}
	} else {
		have, err := backend.HavePlugin()
		if err == nil && !have {
			err = errors.New("the XLA plugin for the CPU is missing: 'ablate doctor --fetch' fetches it")
		}
		if err != nil {
			return nil, err
		}
		if c.Plugin, _, err = backend.PluginPath(); err != nil {
			return nil, err
		}
	}
	threads, err := strconv.Atoi(os.Getenv("OMP_NUM_THREADS"))
	if err != nil {
		threads = 1
	}
	for _, v := range append(device.Device{Class: c.Name, Plugin: c.Plugin}.Environment(), device.Device{Class: c.Name}.Threads(threads)...) {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return backend.Open(c)
}

// computes opens the backend if it is not open yet.
func (n *native) computes(t *kit.Task) (err error) {
	if n.env.Backend == nil {
		n.env.Backend, err = n.open(t.Resources.GPUs)
	}
	return err
}

// run runs a stage on artifacts, and returns the folder of the one that it makes.
func (n *native) run(ctx context.Context, t *kit.Task, kind stage.Kind, params any, inputs map[string]string, resume train.Resume) (string, error) {
	if kind.Def().Backend {
		if err := n.computes(t); err != nil {
			return "", err
		}
	}
	p, err := json.Marshal(params)
	if err != nil {
		return "", err
	}
	out, err := t.Scratch(string(kind))
	if err != nil {
		return "", err
	}
	return out, stage.Run(ctx, n.env, stage.Task{Kind: kind, Params: p, Inputs: inputs, Out: out, Resume: resume}, func(r stage.Report) {
		p := engine.Progress{Step: r.Step, Of: r.Total}
		if r.Compiling {
			p.Note = "compiling"
		}
		for i, name := range r.Metrics {
			if v := r.Values[i]; v-v == 0 { // JSON has finite numbers only
				if p.Metrics == nil {
					p.Metrics = map[string]float64{}
				}
				p.Metrics[kit.MetricName(name)] = v
			}
		}
		_ = t.Progress(p) // it is for people who watch
	})
}

// A weights names the checkpoint folder whose model or embedder a verb uses.
type weights struct {
	From   string `json:"from"` // folder or random
	Folder string `json:"folder"`
	Seed   int64  `json:"seed"`
}

// dir returns the folder; that of random weights is made in to.
func (w weights) dir(to string) (string, error) {
	if w.From == "random" {
		return to, stage.WriteRandom(to, w.Seed)
	}
	if !filepath.IsAbs(w.Folder) {
		return "", kit.Refuse("folder: %q; must be the absolute path of a checkpoint folder, as 'ablate export' writes it", w.Folder)
	}
	return w.Folder, nil
}

// load names a model: a checkpoint folder, which stays where it is, or one of random weights.
func (n *native) load(ctx context.Context, t *kit.Task) error {
	var w weights
	if err := t.Decode(&w); err != nil {
		return err
	}
	out, err := t.Out(engine.CheckpointRole)
	if err != nil {
		return err
	}
	about := engine.Checkpoint{Format: modelFormat}
	dir, err := w.dir(out)
	if err != nil {
		return err
	}
	if dir != out {
		about.Root = dir
		if about.Files, err = stage.CheckCheckpoint(ctx, dir, false); err != nil {
			return kit.Refuse("folder: %w", err)
		}
	}
	return kit.WriteJSON(filepath.Join(out, checkpointFile), about)
}

// checkpointFile is the file of a checkpoint folder that names its format.
const checkpointFile = "checkpoint.json"

// model returns the inputs of a stage that computes with the checkpoint of a role: the model
// and, if it is fine-tuned, how it differs.
func model(t *kit.Task, role string) (map[string]string, error) {
	chain := t.Chain(role)
	if len(chain) == 0 {
		return nil, kit.Refuse("%s needs the input %s", t.Verb, role)
	}
	var about engine.Checkpoint
	if err := checkpoint.ReadJSON(filepath.Join(chain[0], checkpointFile), &about, false); err != nil {
		return nil, err
	}
	switch {
	case about.Format != modelFormat:
		return nil, kit.Refuse("%s: the base of the checkpoint has the format %q; must be %q", role, about.Format, modelFormat)
	case len(chain) > 2:
		return nil, kit.Refuse("%s: it is based on a fine-tuned model; must be based on a pretrained one", role)
	}
	inputs := map[string]string{stage.ModelInput: chain[0]}
	if about.Root != "" {
		inputs[stage.ModelInput] = about.Root
	}
	if len(chain) == 2 {
		inputs[stage.TunedInput] = chain[1]
	}
	return inputs, nil
}

// unreadable returns why the model cannot read a row's prompt, "" if it can.
func unreadable(r engine.Row) string {
	if r.Negative != "" {
		return "the shapes world has no negative prompts"
	}
	if _, err := world.Shapes().Texts.Input([]string{r.Prompt}); err != nil {
		return err.Error()
	}
	return ""
}

// readable splits rows into those whose prompts the model can read, and an output row with an
// error for each of the others.
func readable(rows []engine.Row) (good []engine.Row, out []engine.OutputRow) {
	for _, r := range rows {
		why := unreadable(r)
		if why == "" {
			good = append(good, r)
		}
		out = append(out, engine.OutputRow{Index: r.Index, Error: why})
	}
	return good, out
}

// each calls do with the output rows that have no error and their position among these.
func each(out []engine.OutputRow, do func(i int, r *engine.OutputRow) error) error {
	i := 0
	for k := range out {
		if out[k].Error != "" {
			continue
		}
		if err := do(i, &out[k]); err != nil {
			return err
		}
		i++
	}
	return nil
}
