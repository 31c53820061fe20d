package stage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ablate/models/checkpoint"
	"ablate/models/train"
	"ablate/runner/engine"
	"ablate/runner/launch"
)

// engines are the running workers of engines of a process, by the id of the engine.
type engines struct {
	mu      sync.Mutex
	workers map[string]*engineWorker
}

type engineWorker struct {
	*engine.Worker
	idle *time.Timer
}

// idleTime is how long a worker of an engine waits for another task.
const idleTime = 5 * time.Minute

// worker returns the running worker of an engine, and a function that gives it back, if it may
// do another task.
func (s *engines) worker(id string, e *engine.Engine, gpus int, devices string, cpus int) (*engine.Worker, func(again bool), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[id]
	delete(s.workers, id)
	if w == nil || !w.idle.Stop() || !w.Running() {
		if w != nil {
			w.Close() // it has died, or its time is over
		}
		started, err := e.Serve(gpus, devices, cpus)
		if err != nil {
			return nil, nil, err
		}
		w = &engineWorker{Worker: started}
	}
	return w.Worker, func(again bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !again || !w.Running() || s.workers[id] != nil {
			w.Close()
			return
		}
		if s.workers == nil {
			s.workers = map[string]*engineWorker{}
		}
		s.workers[id] = w
		w.idle = time.AfterFunc(idleTime, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.workers[id] == w {
				delete(s.workers, id)
				w.Close()
			}
		})
	}, nil
}

// close ends the idle workers of all engines but one.
func (s *engines) close(but string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.workers {
		if id != but && w.idle.Stop() {
			delete(s.workers, id)
			w.Close()
		}
	}
}

// Close ends the programs that the environment keeps running.
func (e *Env) Close() { e.engines.close("") }

// calling is a task of an engine that is prepared.
type calling struct {
	env      *Env
	t        Task
	call     Call
	spec     *engine.Spec
	verb     string
	progress Progress
	n        int                           // number of attempt folders
	found    bool                          // the files of the model, which lie elsewhere
	strict   bool                          // a training goes on in equal environments only
	watched  []func(context.Context) error // return an error if what a task reads beside its inputs has changed
}

// calling reads the engine of a call.
func (e *Env) calling(t Task, c Call, verb string, progress Progress) (*calling, error) {
	spec, err := engine.ReadSpec(t.cache(), c.Program)
	if err != nil {
		return nil, launch.WithClass("setup", err)
	}
	if spec.Description.Verbs[verb] == nil {
		return nil, fmt.Errorf("engine %s has no %s", c.Engine, verb)
	}
	spec.Engine.Store = t.Store
	return &calling{env: e, t: t, call: c, spec: spec, verb: verb, progress: progress}, nil
}

// folder returns the path of the attempt folder beside the artifact. Whatever is left there
// is removed with the artifact's folder.
func (c *calling) folder() string {
	return filepath.Join(filepath.Dir(c.t.Out), fmt.Sprintf("attempt-%d", c.n))
}

// do does a task of the engine and returns its folder of outputs. what describes the task in
// its progress, and done and total are its first row and the number of rows of all tasks.
func (c *calling) do(ctx context.Context, q engine.Task, done, total int) (string, error) {
	v, good := c.spec.Description.Verbs[c.verb], false
	params, err := c.call.params()
	if err != nil {
		return "", err
	}
	q.Verb, q.Spec, q.Action, q.Attempt, q.Params = c.verb, v, c.t.Action, max(1, c.t.Attempt), params
	q.Devices = os.Getenv("CUDA_VISIBLE_DEVICES")
	if q.Devices != "" {
		q.GPUs = strings.Count(q.Devices, ",") + 1
	}
	q.CPUs, q.Grace, q.Silence, q.Time = max(1, c.t.CPUs), c.t.Grace, silence, c.t.Limit
	c.n++
	dir := c.folder()
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	last := Report{}
	var mu sync.Mutex
	report := func(r Report) {
		mu.Lock()
		defer mu.Unlock()
		last = r
		c.progress(r)
	}
	o := engine.Options{Why: func(context.Context) string { return c.t.Why() }, Progress: func(p engine.Progress) {
		r := Report{Report: train.Report{Step: done + p.Step, Total: max(total, p.Of)}, Text: "rows"}
		if c.verb == engine.Train {
			r = Report{Report: train.Report{Step: p.Step, Total: p.Of}}
			for _, name := range slices.Sorted(maps.Keys(p.Metrics)) {
				r.Metrics, r.Values = append(r.Metrics, name), append(r.Values, p.Metrics[name])
			}
		}
		report(r)
	}}
	// The process that started this one takes long silence for a fault. The engine has a limit
	// of its own.
	alive, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			select {
			case <-alive.Done():
				return
			case <-time.After(time.Minute):
				mu.Lock()
				r := last
				mu.Unlock()
				c.progress(r)
			}
		}
	}()
	serve := ""
	if v.Serve && c.verb != engine.Train && c.spec.Engine.Serves(c.verb) {
		serve = c.call.Program
	}
	if q.GPUs > 0 { // idle workers have memory of it
		c.env.engines.close(serve)
	}
	if serve != "" {
		w, back, err := c.env.engines.worker(c.call.Program, &c.spec.Engine, q.GPUs, q.Devices, q.CPUs)
		if err != nil {
			return "", launch.WithClass("setup", err)
		}
		defer func() { back(good) }()
		o.Worker = w
	}
	var since earlier
	if c.verb == engine.Train {
		if since, err = c.resume(&o); err != nil {
			return "", err
		}
		q.Attempt = since.Attempts
	}
	a, err := c.spec.Engine.Run(ctx, q, dir, o)
	if err != nil {
		return "", classed(err)
	}
	source, err := c.source(ctx)
	if err != nil {
		return "", launch.WithClass("setup", err)
	}
	for _, unchanged := range c.watched {
		if err := unchanged(ctx); err != nil {
			return "", launch.WithClass("setup", err)
		}
	}
	c.made(a, since, source)
	good = true // after a failure, a worker may be broken
	return filepath.Join(dir, "out"), nil
}

// source returns the identity of the program as it is now. It returns an error if that is not the
// one in the key.
func (c *calling) source(ctx context.Context) (string, error) {
	e, d := c.spec.Engine.For(c.spec.Description.Verbs[c.verb]), c.spec.Description
	if e.Unsourced() { // its identity is in its description, which only the program knows
		var err error
		if d, err = e.Describe(ctx, ""); err != nil {
			return "", err
		}
	}
	now, err := e.Identity(ctx, d)
	if err == nil && c.call.Source != "" && now != c.call.Source {
		err = fmt.Errorf("engine %s has changed since this command began: run again", c.call.Engine)
	}
	return now, err
}

// silence is how long an engine may write nothing.
const silence = 30 * time.Minute

// earlier is what is kept of the attempts at a training, beside its state.
type earlier struct {
	Attempts int               `json:"attempts"`
	Resumed  bool              `json:"resumed,omitempty"` // one went on from a state
	Moved    []string          `json:"moved,omitempty"`   // what was another one when that happened
	On       map[string]string `json:"on"`                // packages and hardware of the last one
}

// resume prepares the state folder of a training, and counts the attempt.
func (c *calling) resume(o *engine.Options) (e earlier, err error) {
	o.State = filepath.Join(c.t.State, "state")
	file := filepath.Join(c.t.State, "attempts.json")
	if err := checkpoint.ReadJSON(file, &e, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	on := map[string]string{MadePackages: c.spec.Description.Environment.Digest(), MadeHardware: c.t.Machine}
	var moved []string
	for name, value := range on {
		if e.Attempts > 0 && e.On[name] != value && !slices.Contains(e.Moved, name) {
			moved = append(moved, name)
		}
	}
	v := c.spec.Description.Verbs[c.verb]
	if v.Resume == "none" || c.strict && len(moved) > 0 {
		e, moved = earlier{Attempts: e.Attempts}, nil
		if err := os.RemoveAll(o.State); err != nil {
			return e, err
		}
	}
	if list, err := os.ReadDir(o.State); err == nil && len(list) > 0 {
		e.Resumed, e.Moved = true, append(e.Moved, moved...)
	}
	e.Attempts, e.On = e.Attempts+1, on
	return e, checkpoint.WriteJSON(file, e)
}

// made records how a result was made, by a program of some identity.
func (c *calling) made(a *engine.Attempt, since earlier, source string) {
	v, m := c.spec.Description.Verbs[c.verb], c.t.Made
	m.add(MadeSource, source)
	packages := c.spec.Description.Environment
	if len(packages.Packages) == 0 && a.Environment != nil {
		packages = *a.Environment
	}
	m.add(MadePackages, packages.Digest())
	hardware := c.t.Machine
	if len(a.Hardware) > 0 {
		if text, err := json.Marshal(a.Hardware); err == nil { // which sorts the names
			hardware += " " + string(text)
		}
	}
	m.add(MadeHardware, hardware)
	m.add(MadeSandbox, cmp.Or(c.spec.Engine.Sandbox, "none"))
	if v.Repeat == "none" {
		m.add(MadeUnseeded, c.verb)
	}
	if since.Resumed && v.Resume != "exact" {
		m.add(MadeResumed, strconv.Itoa(a.ResumedFrom))
	}
	for _, name := range since.Moved {
		m.add(MadeMoved, name)
	}
	if text, err := json.Marshal(a.Facts); err == nil && len(a.Facts) > 0 && len(text) <= mostMadeFacts {
		m.add(MadeFacts, string(text))
	}
}

// classed gives the error of an attempt its class of failures (runner/failure).
func classed(err error) error {
	var e *engine.TaskError
	if !errors.As(err, &e) {
		return err
	}
	class := map[string]string{engine.Memory: "out of memory", engine.Device: "lost", engine.Unavailable: "lost", engine.Silent: "hung", engine.Late: "timeout", engine.Disk: "disk full", engine.Program: "crash"}[e.Class]
	switch {
	case e.Status == engine.Diverged:
		class = "diverged"
	case e.Status == engine.Refused || class == "":
		class = "error"
	}
	return launch.WithClass(class, err)
}

// take moves a folder of outputs into the artifact, and removes the attempt.
func (c *calling) take(out string, roles ...string) error {
	for _, role := range roles {
		from := filepath.Join(out, role)
		if _, err := os.Lstat(from); err != nil {
			continue
		}
		if err := os.Rename(from, filepath.Join(c.t.Out, role)); err != nil {
			return err
		}
	}
	return c.drop()
}

// drop removes the attempt folder.
func (c *calling) drop() error { return os.RemoveAll(c.folder()) }

func runEngineLoad(ctx context.Context, e *Env, t Task, p EngineLoadParams, progress Progress) error {
	c, err := e.calling(t, p.Call, engine.Load, progress)
	if err != nil {
		return err
	}
	files, err := c.load(ctx)
	if err != nil {
		return err
	}
	if files != nil {
		if err := (&engine.LoadedModel{Stamp: p.Stamp, Files: *files}).Save(t.record(p)); err != nil {
			return err
		}
		// Their digests are part of the artifact, so that everything that is computed from the model
		// depends on them. Where they lie is not.
		for i := range files.Files {
			files.Files[i].Time = time.Time{}
		}
		if err := checkpoint.WriteJSON(filepath.Join(t.Out, modelsFile), files.Files); err != nil {
			return err
		}
		if err := setRoot(filepath.Join(c.folder(), "out", "checkpoint"), ""); err != nil {
			return err
		}
	}
	return c.take(filepath.Join(c.folder(), "out"), "checkpoint")
}

// load lets the engine name a model, and returns the model's files, which stay where they are; nil
// if the checkpoint has them.
func (c *calling) load(ctx context.Context) (*engine.Files, error) {
	out, err := c.do(ctx, engine.Task{}, 0, 0)
	if err != nil {
		return nil, err
	}
	about, err := engine.ReadCheckpoint(filepath.Join(out, "checkpoint"))
	if err != nil || len(about.Files) == 0 {
		return nil, err
	}
	c.progress(Report{Text: "reading the model's files"})
	return engine.HashFiles(ctx, about.Root, about.Files, (*engine.Files)(nil).Known())
}

// record returns the path of the record of a load.
func (t Task) record(p EngineLoadParams) string { return filepath.Join(t.cache(), p.Record) }

// cache returns the folder of the store with engines and what this machine knows of their files.
func (t Task) cache() string { return filepath.Join(t.Store, "engines") }

// setRoot writes the root of a model into its checkpoint.json, or removes it.
func setRoot(dir, root string) error {
	var about map[string]json.RawMessage
	path := filepath.Join(dir, "checkpoint.json")
	if err := checkpoint.ReadJSON(path, &about, false); err != nil {
		return err
	}
	delete(about, "root")
	if root != "" {
		text, err := json.Marshal(root)
		if err != nil {
			return err
		}
		about["root"] = text
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return checkpoint.WriteJSON(path, about)
}

// artifactID returns the id of an artifact by its folder, which the store names ID/files.
func artifactID(dir string) string { return filepath.Base(filepath.Dir(dir)) }

// checkpoints adds a model and what it is based on as inputs of a role. loaded are the parameters
// of the model's load.
func (c *calling) checkpoints(ctx context.Context, q *engine.Task, role, tuned, loaded string) error {
	t := c.t
	folder, err := c.model(ctx, loaded)
	if err != nil {
		return err
	}
	base := engine.TaskInput{ID: artifactID(t.in(ModelInput)), Files: folder}
	if tuned == "" {
		q.Inputs[role] = base
		return nil
	}
	q.Inputs[role+".base"] = base
	id := artifactID(t.in(TunedInput))
	if step, ok := strings.CutPrefix(tuned, "steps/"); ok {
		id += "-" + step // a worker that keeps a model by its id must not take another checkpoint for it
	}
	q.Inputs[role] = engine.TaskInput{ID: id, Files: filepath.Join(t.in(TunedInput), filepath.FromSlash(tuned)), Base: role + ".base"}
	return nil
}

// model returns the folder of the model's checkpoint. If its files lie elsewhere, that is a copy of
// checkpoint.json that says where, beside the artifact; they must have the digests of the load.
func (c *calling) model(ctx context.Context, loaded string) (string, error) {
	t := c.t
	dir := filepath.Join(filepath.Dir(t.Out), "model")
	if c.found { // by an earlier task of this action
		return dir, nil
	}
	artifact := filepath.Join(t.in(ModelInput), "checkpoint")
	var want []engine.File
	if err := checkpoint.ReadJSON(filepath.Join(t.in(ModelInput), modelsFile), &want, true); errors.Is(err, fs.ErrNotExist) {
		return artifact, nil
	} else if err != nil {
		return "", err
	}
	files, err := c.locate(ctx, want, loaded)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(artifact))); err != nil {
		return "", err
	}
	c.found, c.watched = true, append(c.watched, func(context.Context) error { return files.Unchanged() })
	return dir, setRoot(dir, files.Root)
}

// locate finds the files of a model with some digests on this machine: where the record says, or
// else by loading it again, because the files or the store have been moved.
func (c *calling) locate(ctx context.Context, want []engine.File, loaded string) (*engine.Files, error) {
	var p EngineLoadParams
	if err := unmarshalStrict([]byte(loaded), &p); err != nil {
		return nil, fmt.Errorf("the load of the model: %w", err)
	}
	record, err := engine.ReadLoaded(c.t.record(p))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(want))
	for i, f := range want {
		names[i] = f.Name
	}
	if record != nil {
		files, err := engine.HashFiles(ctx, record.Root, names, record.Known())
		if err == nil && differs(want, files.Files) == "" {
			return files, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	load, err := c.env.calling(c.t, p.Call, engine.Load, c.progress)
	if err != nil {
		return nil, err
	}
	files, err := load.load(ctx)
	if err != nil {
		return nil, err
	}
	if files == nil {
		return nil, fmt.Errorf("engine %s lists no files of the model that it has loaded before", p.Engine)
	}
	if name := differs(want, files.Files); name != "" {
		return nil, fmt.Errorf("%s is not the file with which the model was loaded: run again, so that the model is loaded as it is now", filepath.Join(files.Root, name))
	}
	if err := load.drop(); err != nil {
		return nil, err
	}
	return files, (&engine.LoadedModel{Stamp: p.Stamp, Files: *files}).Save(c.t.record(p))
}

// ExportEngine writes the checkpoint of an engine's model into a folder: that of a training, and below base
// the one that was loaded; or the latter, if tuned is empty. Where the files of a model lie elsewhere,
// checkpoint.json says where.
func ExportEngine(store string, p EngineLoadParams, model, tuned, out string) error {
	base := out
	if tuned != "" {
		if err := os.CopyFS(out, os.DirFS(filepath.Join(tuned, "checkpoint"))); err != nil {
			return err
		}
		base = filepath.Join(out, "base")
	}
	if err := os.CopyFS(base, os.DirFS(filepath.Join(model, "checkpoint"))); err != nil {
		return err
	}
	if record, err := engine.ReadLoaded(Task{Store: store}.record(p)); record == nil || err != nil {
		return err
	} else if _, err := os.Lstat(filepath.Join(model, modelsFile)); err != nil {
		return nil // the checkpoint has its files
	} else {
		return setRoot(base, record.Root)
	}
}

// differs returns the name of the first file that is not what it must be; empty if all are.
func differs(want, have []engine.File) string {
	for i, w := range want {
		if i >= len(have) || have[i].Name != w.Name || have[i].SHA256 != w.SHA256 {
			return w.Name
		}
	}
	return ""
}

// folderOf returns the pictures of a user's folder, whose digest must be what it was when the command
// began, and be so after each task.
func (c *calling) folderOf(ctx context.Context, dir, digest string) (*engine.Files, error) {
	check := func(ctx context.Context) (*engine.Files, error) {
		files, err := engine.Folder(ctx, c.t.cache(), dir)
		if err == nil && files.Digest() != digest {
			err = fmt.Errorf("the pictures in %s have changed since this command began: run again", dir)
		}
		return files, err
	}
	c.watched = append(c.watched, func(ctx context.Context) error { _, err := check(ctx); return err })
	return check(ctx)
}
