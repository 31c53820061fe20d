package engine

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Worker is a process of an engine that does one task after the other, so that imports and
// models are loaded once.
type Worker struct {
	e    *Engine
	p    *process
	log  *log
	mark string
	dir  string
}

// Serve starts a worker with devices and a number of CPUs. The caller must call Close.
func (e *Engine) Serve(gpus int, devices string, cpus int) (*Worker, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	walls, err := e.walls(Sample)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ablate-worker-*")
	if err != nil {
		return nil, err
	}
	if walls != nil {
		walls.see(dir, writable)
		walls.Stay = true
	}
	w := &Worker{e: e, log: newLog(nil), mark: newMark(), dir: dir}
	w.p, err = e.start(command{argv: e.argv(gpus, "serve"), dir: dir, log: w.log, input: true, walls: walls, env: e.environment(map[string]string{
		markVariable: w.mark, "TMPDIR": dir, "CUDA_VISIBLE_DEVICES": devices, "OMP_NUM_THREADS": strconv.Itoa(max(1, cpus)),
	})})
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return w, nil
}

// scoring returns the command of a worker that a training starts, in the training's environment with
// what machine.cue adds for this engine.
func (e *Engine) scoring(gpus int) []string {
	out := []string{"env"}
	for _, name := range slices.Sorted(maps.Keys(e.Env)) {
		out = append(out, name+"="+e.Env[name])
	}
	return append(out, e.argv(gpus, "serve")...)
}

// Serves reports whether workers may do a verb. A load and a verb with a network have other walls.
func (e *Engine) Serves(verb string) bool {
	return e.Sandbox != Declared || verb != Load && !slices.Contains(e.Network, verb)
}

// send gives the worker a task. Its output from now on also goes to the log of the task.
func (w *Worker) send(t Task, dir string, o Options, l *log) error {
	if strings.ContainsAny(dir, "\n\r") {
		return fmt.Errorf("the path %q has a line break", dir)
	}
	if !w.p.running() {
		return fmt.Errorf("the worker has ended (%s)%s", w.p.ending(), w.log.tail())
	}
	if w.p.gate != nil {
		more := &walls{}
		if err := more.task(t, dir, o); err != nil {
			return err
		}
		if err := w.p.gate.send(more); err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
	w.log.also(l)
	_, err := fmt.Fprintln(w.p.in, filepath.Clean(dir))
	return err
}

// Running reports whether the worker can take a task.
func (w *Worker) Running() bool { return w.p.running() }

// Close ends the worker: its standard input ends, and it has a moment to end by itself.
func (w *Worker) Close() {
	_ = w.p.in.Close()
	select {
	case <-w.p.done:
	case <-time.After(grace):
	}
	_, _ = w.p.end(w.mark, 0) // its tasks are done; what does not end is known by the mark
	w.p.gate.close()
	w.log.close()
	os.RemoveAll(w.dir)
}
