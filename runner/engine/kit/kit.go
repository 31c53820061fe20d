// Package kit is what a Go program needs to be an engine (docs/engines.md): its command line,
// the request, rows, progress, the request to stop, and the result. The program describes
// itself and writes one function that does a task.
package kit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"ablate/runner/engine"
)

// An Engine is a program that speaks the protocol.
type Engine struct {
	Description engine.Description
	// Do does a task of a verb of the description. If it returns nil, the outputs are whole. An
	// error that is no *End is a failure of class "program".
	Do func(ctx context.Context, t *Task) error
	// Estimate says what a task will need, before any of its inputs is there; nil if no verb of the
	// description has estimates. An error is that of the task.
	Estimate func(ctx context.Context, t engine.EstimateTask) (engine.Estimate, error)
}

// An End is how a task ends that is not done.
type End struct {
	Status string // engine.Stopped, Diverged, Refused or Failed
	Class  string // of Failed: engine.Memory, Device, Unavailable, Data or Program
	Step   int    // last step, of Stopped and Diverged
	Err    error  // reason; nil of Stopped
}

func (e *End) Error() string {
	if e.Err == nil {
		return e.Status
	}
	return e.Err.Error()
}

// Unwrap returns the reason.
func (e *End) Unwrap() error { return e.Err }

// Refuse returns the end of a task whose parameters or inputs are wrong.
func Refuse(format string, args ...any) error {
	return &End{Status: engine.Refused, Err: fmt.Errorf(format, args...)}
}

// Main does what the arguments ask for: "describe FILE", "run DIR", "serve" or, where the engine
// estimates, "estimate REQUEST ANSWER". It returns an
// error if that could not be done; how a task has ended is in its result only.
func (e *Engine) Main(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "describe":
		return WriteJSON(args[1], e.Description)
	case len(args) == 2 && args[0] == "run":
		return e.Run(ctx, args[1])
	case len(args) == 3 && args[0] == "estimate" && e.Estimate != nil:
		return e.estimate(ctx, args[1], args[2])
	case len(args) == 1 && args[0] == "serve":
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if err := e.Run(ctx, in.Text()); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("an engine has the commands 'describe FILE', 'run DIR' and 'serve', and some have 'estimate ASK FILE'")
}

// estimate answers a request for estimates.
func (e *Engine) estimate(ctx context.Context, request, answer string) error {
	data, err := os.ReadFile(request)
	if err != nil {
		return err
	}
	var q engine.EstimateRequest
	if err := json.Unmarshal(data, &q); err != nil {
		return fmt.Errorf("%s: %w", request, err)
	}
	if q.Protocol != engine.Protocol {
		return fmt.Errorf("%s: version %d of the protocol is not known", request, q.Protocol)
	}
	var a engine.EstimateAnswer
	for _, t := range q.Tasks {
		x, err := guarded(func() (engine.Estimate, error) { return e.Estimate(ctx, t) })
		if err != nil {
			x = engine.Estimate{Error: err.Error()}
		}
		a.Tasks = append(a.Tasks, x)
	}
	return WriteJSON(answer, a)
}

// guarded makes an error of a panic.
func guarded[T any](do func() (T, error)) (out T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
			fmt.Fprintf(os.Stderr, "%v\n%s", err, debug.Stack())
		}
	}()
	return do()
}

// Run does the task of a folder and writes its result.
func (e *Engine) Run(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	t := &Task{Dir: dir, begun: time.Now()}
	_, err = guarded(func() (any, error) { return nil, e.try(ctx, t) }) // so that a worker goes on
	r := engine.Result{Protocol: engine.Protocol, Status: engine.OK, ResumedFrom: t.ResumedFrom, Facts: t.Facts}
	if err != nil {
		end := &End{}
		if !errors.As(err, &end) {
			end = &End{Status: engine.Failed, Class: engine.Program}
		}
		r.Status, r.Class, r.Step, r.Message = end.Status, end.Class, end.Step, err.Error()
	}
	return WriteJSON(filepath.Join(dir, "result.json"), r)
}

// try does the task of a folder.
func (e *Engine) try(ctx context.Context, t *Task) error {
	data, err := os.ReadFile(filepath.Join(t.Dir, "request.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &t.Request); err != nil {
		return fmt.Errorf("request.json: %w", err)
	}
	// The description is read as ablate reads it, which is what checks parameters.
	if data, err = json.Marshal(e.Description); err != nil {
		return err
	}
	d, err := engine.ParseDescription(data)
	if err != nil {
		return err
	}
	v := d.Verbs[t.Verb]
	if v == nil || t.Protocol != engine.Protocol {
		return Refuse("%s does not do %q by version %d of the protocol", d.Name, t.Verb, t.Protocol)
	}
	for _, name := range t.Emit {
		t.Require = append(t.Require, "emit:"+name)
	}
	for _, name := range t.Require {
		if !slices.Contains(d.Understands, name) {
			return Refuse("%s does not understand %q", d.Name, name)
		}
	}
	if data, err = json.Marshal(t.Params); err != nil {
		return err
	}
	if _, err := v.Complete(data); err != nil {
		return Refuse("params: %w", err)
	}
	return e.Do(ctx, t)
}

// A Task is a task of an engine.
type Task struct {
	engine.Request
	Dir string // the attempt folder

	// What the program says of how it made the result.
	ResumedFrom int            // step of the state from which a training went on
	Facts       map[string]any // anything else

	begun time.Time // or last saved
}

// Decode decodes the parameters into a struct. Parameters that the task does not use stay as
// they are.
func (t *Task) Decode(params any) error {
	data, err := json.Marshal(t.Params)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(params)
}

// Input returns the folder of an input, "" if the task has none of this role.
func (t *Task) Input(role string) string {
	in, ok := t.Inputs[role]
	if !ok {
		return ""
	}
	return filepath.Join(t.Dir, filepath.FromSlash(in.Path))
}

// Chain returns the folders of a checkpoint and of what it is based on, the base first.
func (t *Task) Chain(role string) []string {
	var out []string
	for {
		in, ok := t.Inputs[role]
		if !ok {
			return out
		}
		out = slices.Insert(out, 0, t.Input(role))
		if in.Base == nil {
			return out
		}
		role = *in.Base
	}
}

// Rows returns the rows of an input. File is a whole path.
func (t *Task) Rows(role string) ([]engine.Row, error) {
	if t.Input(role) == "" {
		return nil, Refuse("%s needs the input %s", t.Verb, role)
	}
	name := filepath.Join(t.Input(role), "rows.jsonl")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []engine.Row
	for line := range bytes.Lines(data) {
		var r engine.Row
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, len(out)+1, err)
		}
		if r.File != "" {
			r.File = filepath.Join(t.Input(role), filepath.FromSlash(r.File))
		}
		out = append(out, r)
	}
	return out, nil
}

// Out returns the folder of an output, which it makes.
func (t *Task) Out(role string) (string, error) {
	dir := filepath.Join(t.Dir, "out", role)
	return dir, os.MkdirAll(dir, 0o777)
}

// WriteRows writes the lines of an output's rows.jsonl: an engine.OutputRow for each input row,
// in the same order, or the points of a curve.
func WriteRows[R any](t *Task, role string, rows []R) error {
	dir, err := t.Out(role)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "rows.jsonl"), b.Bytes(), 0o666)
}

// Progress tells people who watch how far the task is. It is no part of the result.
func (t *Task) Progress(p engine.Progress) error {
	line, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(t.Dir, "progress.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Due reports after a step of a training whether it should save its state now, and whether it
// should then end.
func (t *Task) Due() (save, stop bool) {
	_, err := os.Lstat(filepath.Join(t.Dir, "stop"))
	stop = err == nil
	if save = stop || t.SaveEvery > 0 && time.Since(t.begun).Seconds() >= t.SaveEvery; save {
		t.begun = time.Now()
	}
	return save, stop
}

// State returns the folder of the state, which outlives the attempts of a training.
func (t *Task) State() string { return filepath.Join(t.Dir, "state") }

// Scratch makes a folder for what is no output.
func (t *Task) Scratch(name string) (string, error) {
	dir := filepath.Join(t.Dir, "tmp", name)
	return dir, os.MkdirAll(dir, 0o777)
}

// WriteJSON writes a file whole: beside its place, synced and renamed.
func WriteJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return renameio.WriteFile(name, append(data, '\n'), 0o666, renameio.WithTempDir(filepath.Dir(name)))
}

// MetricName returns a name for a metric as the protocol allows it.
func MetricName(text string) string { return strings.ReplaceAll(text, " ", "_") }
