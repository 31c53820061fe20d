package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
	n        int // number of attempt folders
}

// calling reads the engine of a call.
func (e *Env) calling(t Task, c Call, verb string, progress Progress) (*calling, error) {
	spec, err := engine.ReadSpec(filepath.Join(t.Store, "engines"), c.Program)
	if err != nil {
		return nil, launch.WithClass("setup", err)
	}
	if spec.Description.Verbs[verb] == nil {
		return nil, fmt.Errorf("engine %s has no %s", c.Engine, verb)
	}
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
	q.Verb, q.Spec, q.Action, q.Attempt, q.Params = c.verb, v, c.t.Action, 1, params
	q.Devices = os.Getenv("CUDA_VISIBLE_DEVICES")
	if q.Devices != "" {
		q.GPUs = strings.Count(q.Devices, ",") + 1
	}
	q.CPUs, q.Grace, q.Silence = runtime.NumCPU(), stopGrace, silence
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
	o := engine.Options{State: c.t.State, Progress: func(p engine.Progress) {
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
	if v.Serve && c.verb != engine.Train {
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
	if _, err := c.spec.Engine.Run(ctx, q, dir, o); err != nil {
		return "", classed(err)
	}
	good = true // after a failure, a worker may be broken
	return filepath.Join(dir, "out"), nil
}

// stopGrace is how long a training has to save its state when it is asked to stop, and silence
// how long an engine may write nothing.
const (
	stopGrace = 45 * time.Second
	silence   = 30 * time.Minute
)

// classed gives the error of an attempt its class of failures (runner/failure).
func classed(err error) error {
	var e *engine.TaskError
	if !errors.As(err, &e) {
		return err
	}
	class := map[string]string{engine.Memory: "out of memory", engine.Device: "lost", engine.Unavailable: "lost", engine.Silent: "hung", engine.Disk: "disk full", engine.Program: "crash"}[e.Class]
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
	out, err := c.do(ctx, engine.Task{}, 0, 0)
	if err != nil {
		return err
	}
	// The files of a model stay where they are. Their digests are part of the artifact, so that
	// everything that is computed from the model depends on them.
	about, err := engine.ReadCheckpoint(filepath.Join(out, "checkpoint"))
	if err != nil {
		return err
	}
	progress(Report{Text: "reading the model's files"})
	files, err := engine.HashModel(ctx, about)
	if err != nil {
		return err
	}
	if files != nil {
		if err := (&engine.LoadedModel{Stamp: p.Stamp, Root: about.Root, Files: files}).Save(filepath.Join(t.Store, "engines", p.Record)); err != nil {
			return err
		}
		for i := range files {
			files[i].Time = time.Time{}
		}
		if err := checkpoint.WriteJSON(filepath.Join(t.Out, modelsFile), files); err != nil {
			return err
		}
	}
	return c.take(out, "checkpoint")
}

// artifactID returns the id of an artifact by its folder, which the store names ID/files.
func artifactID(dir string) string { return filepath.Base(filepath.Dir(dir)) }

// checkpoints adds a model and what it is based on as inputs of a role.
func (t Task) checkpoints(q *engine.Task, role, tuned string) {
	base := engine.TaskInput{ID: artifactID(t.in(ModelInput)), Files: filepath.Join(t.in(ModelInput), "checkpoint")}
	if tuned == "" {
		q.Inputs[role] = base
		return
	}
	q.Inputs[role+".base"] = base
	id := artifactID(t.in(TunedInput))
	if step, ok := strings.CutPrefix(tuned, "steps/"); ok {
		id += "-" + step // a worker that keeps a model by its id must not take another checkpoint for it
	}
	q.Inputs[role] = engine.TaskInput{ID: id, Files: filepath.Join(t.in(TunedInput), filepath.FromSlash(tuned)), Base: role + ".base"}
}
