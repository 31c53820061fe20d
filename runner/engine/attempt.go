package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// A Task is what an engine is to do.
type Task struct {
	Verb    string
	Spec    *Verb // of the engine's description
	Action  string
	Attempt int
	Params  map[string]any // by dotted path; see Verb.Complete
	Seeds   map[string]int64
	Inputs  map[string]TaskInput // by role
	Keep    []int
	Scorers map[string]TaskScorer // by name
	Emit    []string
	Sampler map[string]any // parameters of sample, for what a trainer draws at its end; by dotted path
	Require []string

	GPUs      int
	Devices   string // value of CUDA_VISIBLE_DEVICES
	CPUs      int
	Memory    float64 // GiB; 0 if it is not limited
	SaveEvery time.Duration
	Grace     time.Duration // to save and end
	Silence   time.Duration // longest time without progress; 0 means no limit
	Time      time.Duration // longest time; 0 means no limit
}

// A TaskInput is an input of a task.
type TaskInput struct {
	ID    string
	Files string            // folder of the artifact, which the program sees as in/ROLE, or as in/ROLE/files where there are rows; may be empty then
	Parts map[string]string // folders that the program sees as in/ROLE/files/NAME, in the place of Files
	Rows  []Row             // nil where the role has none
	Base  string            // role of the checkpoint that it is based on
}

// A TaskScorer is an engine that a training asks for scores. All its processes end with the attempt,
// for they have its mark.
type TaskScorer struct {
	Engine *Engine
	Params map[string]any // by dotted path
	Column string
}

// A TaskError is the failure of an attempt.
type TaskError struct {
	Engine  string
	Verb    string
	Status  string // Diverged, Refused or Failed
	Class   string // of Failed
	Message string
	Tail    string // last lines of the log
	Log     string // last MiB of it
}

// Output returns the end of the log, for the log of the failure.
func (e *TaskError) Output() string { return e.Log }

func (e *TaskError) Error() string {
	return fmt.Sprintf("engine %s: %s: %s%s", e.Engine, e.Verb, e.Message, e.Tail)
}

// Options of an attempt.
type Options struct {
	State    string // folder that outlives the attempts of an action; empty: below the attempt folder
	Progress func(Progress)
	Why      func(context.Context) string // why the context has ended, for the file stop; nil: "user"
	Worker   *Worker                      // a running worker of the engine that does the task; nil: a process of its own
	Prepare  func(dir string) error       // called when the folder is laid out; may be nil
}

// An Attempt is a task that was done.
type Attempt struct {
	*Result
	Files  []SealedFile // outputs
	Others int          // processes that had to be ended beside the first one
}

// Run does a task in a folder, which it creates. If the program reports that it was done,
// and its outputs are whole, Run seals them and returns the attempt. Otherwise it returns a
// *TaskError, or the cause of ctx if that has ended: the program was then asked to save its
// state and to end. When Run returns, no process of the attempt is left.
func (e *Engine) Run(ctx context.Context, t Task, dir string, o Options) (a *Attempt, err error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if t.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.Time, errLimit)
		defer cancel()
	}
	if err := e.layOut(t, dir, o); err != nil {
		return nil, err
	}
	if o.Prepare != nil {
		if err := o.Prepare(dir); err != nil {
			return nil, err
		}
	}
	f, err := os.Create(filepath.Join(dir, logFile))
	if err != nil {
		return nil, err
	}
	log := newLog(f)
	defer log.close()
	r := &running{e: e, t: t, dir: dir, o: o, log: log, mark: newMark()}
	if o.State != "" && o.Worker == nil {
		// When ablate was killed, processes of an earlier attempt may still write the state. Their mark is
		// this one.
		r.mark = markOf(o.State)
		if err := e.sweep(r.mark); err != nil {
			return nil, err
		}
	}
	if o.Worker == nil {
		walls, err := e.walls(t.Verb)
		if err != nil {
			return nil, err
		}
		if walls != nil {
			if err := walls.task(t, dir, o); err != nil {
				return nil, err
			}
		}
		if r.p, err = e.start(command{argv: e.argv(t.GPUs, "run", dir), dir: filepath.Join(dir, workFolder), log: log, walls: walls, env: e.environment(map[string]string{
			markVariable: r.mark, "ABLATE_DIR": dir, "TMPDIR": filepath.Join(dir, tmpFolder), "CUDA_VISIBLE_DEVICES": t.Devices, "OMP_NUM_THREADS": strconv.Itoa(max(1, t.CPUs)),
		})}); err != nil {
			return nil, err
		}
	} else if err := o.Worker.send(t, dir, o, log); err != nil {
		return nil, r.failed(Program, err.Error())
	} else {
		r.p, r.worker, r.mark = o.Worker.p, true, o.Worker.mark
		defer o.Worker.log.also(nil)
	}
	return r.finish(ctx)
}

var errLimit = errors.New("it takes longer than it may")

// layOut makes the attempt folder.
func (e *Engine) layOut(t Task, dir string, o Options) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	for _, name := range []string{inFolder, outFolder, emitFolder, workFolder, tmpFolder} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			return err
		}
	}
	state := filepath.Join(dir, stateFolder)
	if o.State == "" {
		if err := os.Mkdir(state, 0o777); err != nil {
			return err
		}
	} else if err := errors.Join(os.MkdirAll(o.State, 0o777), os.Symlink(o.State, state)); err != nil {
		return err
	}
	q := Request{Protocol: Protocol, Verb: t.Verb, Action: t.Action, Attempt: t.Attempt, Require: t.Require, Emit: t.Emit, Keep: t.Keep, Params: nested(t.Params), Sampler: nested(t.Sampler), Seeds: t.Seeds, Inputs: map[string]RequestInput{},
		Resources: RequestResources{GPUs: t.GPUs, CPUs: max(1, t.CPUs), Memory: t.Memory, Port: freePort()},
		SaveEvery: t.SaveEvery.Seconds(), Grace: t.Grace.Seconds(), Silence: t.Silence.Seconds(), Time: t.Time.Seconds()}
	for name, s := range t.Scorers {
		if q.Scorers == nil {
			q.Scorers = map[string]RequestScorer{}
		}
		q.Scorers[name] = RequestScorer{s.Engine.scoring(t.GPUs), nested(s.Params), s.Column}
	}
	for role, in := range t.Inputs {
		if err := in.layOut(filepath.Join(dir, inFolder, role)); err != nil {
			return err
		}
		ri := RequestInput{Path: inFolder + "/" + role, ID: in.ID, Rows: len(in.Rows)}
		if in.Base != "" {
			ri.Base = &in.Base
		}
		q.Inputs[role] = ri
	}
	data, err := json.MarshalIndent(q, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, requestFile), append(data, '\n'), 0o444)
}

// layOut makes the folder of an input: the artifact itself where there are no rows.
func (in TaskInput) layOut(path string) error {
	if in.Rows == nil {
		return os.Symlink(in.Files, path)
	}
	if err := os.Mkdir(path, 0o777); err != nil {
		return err
	}
	if in.Files != "" {
		if err := os.Symlink(in.Files, filepath.Join(path, filesName)); err != nil {
			return err
		}
	}
	if in.Parts != nil {
		if err := os.Mkdir(filepath.Join(path, filesName), 0o777); err != nil {
			return err
		}
	}
	for name, folder := range in.Parts {
		if err := os.Symlink(folder, filepath.Join(path, filesName, name)); err != nil {
			return err
		}
	}
	return writeRows(filepath.Join(path, rowsFile), in.Rows)
}

func writeRows(name string, rows []Row) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

// freePort returns a port that was free a moment ago.
func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// running is an attempt whose program runs.
type running struct {
	e      *Engine
	t      Task
	dir    string
	o      Options
	log    *log
	mark   string
	p      *process
	worker bool // p is a worker, which stays after the task

	read int64     // bytes of progress.jsonl that were read
	last time.Time // of the last line of progress
}

// leastFree is the free space of a disk in bytes below which an attempt is ended, before other
// programs cannot write any more.
const leastFree = 64 << 20

// full reports whether a disk has hardly any free space.
func full(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Bavail*uint64(s.Bsize) < leastFree
}

// ending is how long a program may take to end after it has written its result.
const ending = 10 * time.Second

// grace is how long processes have after SIGTERM before SIGKILL.
const grace = 10 * time.Second

// finish waits for the end of the attempt.
func (r *running) finish(ctx context.Context) (*Attempt, error) {
	r.last = time.Now()
	result := filepath.Join(r.dir, resultFile)
	var stopped, killAt time.Time
	hung, short := false, false
	var left error // processes that did not end
	disk := time.Now()
	pause := time.Millisecond
	look := time.Now()
	for ended := false; !ended; {
		select {
		case <-r.p.done:
			ended = true
		case <-time.After(pause):
		}
		pause = min(20*time.Millisecond, pause+pause/8)
		if r.worker && !ended && exists(result) {
			break
		}
		now := time.Now()
		if !r.worker && !ended && stopped.IsZero() && now.Sub(look) >= 50*time.Millisecond && exists(result) {
			// A program that has written its result has done its work, even if it does not end.
			stopped, killAt = now, now.Add(ending)
		}
		if ended || now.Sub(look) >= 50*time.Millisecond {
			look = now
			r.progress(now)
		}
		switch {
		case stopped.IsZero() && now.Sub(disk) > time.Second:
			if disk, short = now, full(r.dir); short {
				stopped, killAt = now, now
			}
		case stopped.IsZero() && ctx.Err() != nil:
			stopped, killAt = now, now.Add(r.t.Grace)
			if err := r.stop(ctx); err != nil {
				killAt = now
			}
		case stopped.IsZero() && r.t.Silence > 0 && min(now.Sub(r.last), r.log.quiet(now)) > r.t.Silence:
			hung, stopped, killAt = true, now, now
		}
		if !stopped.IsZero() && !now.Before(killAt) {
			_, left = r.p.end(r.mark, grace)
			ended = true
		}
	}
	out := &Attempt{}
	if !r.worker || !r.p.running() {
		if left == nil {
			out.Others, left = r.p.end(r.mark, 0)
		}
	}
	if left != nil { // they may still write
		return nil, r.failed(Program, left.Error())
	}
	r.progress(time.Now())
	data, err := readSmall(result, mostResult)
	switch {
	case short && err != nil:
		return nil, r.failed(Disk, "the disk of its folder is full")
	case hung && err != nil:
		return nil, r.failed(Silent, fmt.Sprintf("it wrote no progress and no output for %v", r.t.Silence))
	case errors.Is(err, fs.ErrNotExist) && errors.Is(context.Cause(ctx), errLimit):
		return nil, r.failed(Late, fmt.Sprintf("it took longer than its limit of %v", r.t.Time))
	case errors.Is(err, fs.ErrNotExist) && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return nil, r.noResult()
	case err != nil:
		return nil, r.failed(Contract, err.Error())
	}
	if out.Result, err = ParseResult(data); err != nil {
		return nil, r.failed(Contract, resultFile+": "+err.Error())
	}
	switch out.Status {
	case Stopped:
		if ctx.Err() == nil {
			return nil, r.failed(Contract, "its status is \"stopped\", and nobody has asked it to stop")
		}
		return nil, context.Cause(ctx)
	case Diverged, Refused, Failed:
		message := out.Message
		if message == "" {
			message = map[string]string{Diverged: "the numbers became infinite or NaN", Refused: "it refuses the task, without a reason", Failed: "it failed, without a reason"}[out.Status]
		}
		err := r.failed(out.Class, message)
		err.Status = out.Status
		if out.Status != Failed {
			err.Tail = ""
		}
		return nil, err
	}
	// The work is done: a request to stop comes too late.
	if err := r.accept(context.WithoutCancel(ctx), out); err != nil {
		return nil, r.failed(Contract, err.Error())
	}
	return out, nil
}

// accept checks a result that is ok and its outputs, and seals these.
func (r *running) accept(ctx context.Context, a *Attempt) (err error) {
	if a.Files, err = Seal(ctx, filepath.Join(r.dir, outFolder)); err != nil {
		return err
	}
	if err := r.t.check(r.dir); err != nil {
		return err
	}
	for role, o := range a.Outputs {
		have := Output{}
		for _, f := range a.Files {
			if strings.HasPrefix(f.Path, role+"/") {
				have.Files++
				have.Bytes += f.Written
			}
		}
		if have != o {
			return fmt.Errorf("%s: outputs.%s names %d files of %d bytes, and out/%s has %d of %d", resultFile, role, o.Files, o.Bytes, role, have.Files, have.Bytes)
		}
	}
	if err := r.resolved(a.Resolved); err != nil {
		return err
	}
	for name, seed := range a.Seeds {
		if want, ok := r.t.Seeds[name]; !ok || want != seed {
			return fmt.Errorf("%s: seeds.%s is %d, and the request has %d", resultFile, name, seed, want)
		}
	}
	return nil
}

// resolved compares the parameters of the live program with those of the request.
func (r *running) resolved(got map[string]any) error {
	flat := map[string]any{}
	flatten(got, "", flat)
	for path, v := range flat {
		want, ok := r.t.Params[path]
		if v == nil && !ok {
			continue // the task does not use it
		}
		if !ok {
			return fmt.Errorf("%s: resolved.%s is no parameter of the request", resultFile, path)
		}
		if !same(want, v) {
			return fmt.Errorf("the program computes with %s = %v, and the study asks for %v", path, v, want)
		}
	}
	if r.t.Spec != nil && r.t.Spec.Readback {
		for path := range r.t.Params {
			if _, ok := flat[path]; !ok {
				return fmt.Errorf("%s: resolved lacks %s: the description promises \"readback\", that it has every parameter", resultFile, path)
			}
		}
	}
	return nil
}

// flatten sets nested values in a map by their dotted paths.
func flatten(m map[string]any, path string, to map[string]any) {
	for name, v := range m {
		at := strings.TrimPrefix(path+"."+name, ".")
		if below, ok := v.(map[string]any); ok {
			flatten(below, at, to)
		} else {
			to[at] = v
		}
	}
}

// same reports whether a value that was read back is a parameter's, up to the rounding of
// 32-bit numbers.
func same(want, got any) bool {
	g, ok := got.(float64)
	if !ok {
		return want == got
	}
	switch w := want.(type) {
	case int64:
		return float64(w) == g
	case float64:
		return w == g || math.Abs(w-g) <= 1e-6*math.Abs(w)
	}
	return false
}

// stop asks the program to save its state and to end.
func (r *running) stop(ctx context.Context) error {
	why := "user"
	if errors.Is(context.Cause(ctx), errLimit) {
		why = "limit"
	} else if r.o.Why != nil {
		if given := r.o.Why(ctx); given != "" {
			why = given
		}
	}
	data, err := json.Marshal(Stop{why, r.t.Grace.Seconds()})
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(r.dir, stopFile), append(data, '\n'), 0o666); err != nil {
		return err
	}
	if r.t.Spec != nil && r.t.Spec.Stop == "term" && !r.worker {
		r.p.term()
	}
	if r.t.Verb != Train || r.t.Spec != nil && r.t.Spec.Stop == "none" { // there is no state to wait for
		return errNoState
	}
	return nil
}

var errNoState = errors.New("it has no state")

// progress reads new lines of progress.jsonl. A torn last line is read again later.
func (r *running) progress(now time.Time) {
	f, err := openRegular(filepath.Join(r.dir, progressFile))
	if err != nil {
		return
	}
	defer f.Close()
	const most = 1 << 20
	b := make([]byte, most)
	n, _ := f.ReadAt(b, r.read)
	end := bytes.LastIndexByte(b[:n], '\n') + 1
	if end == 0 && n == most { // a line without end is dropped
		end = n
	}
	if end == 0 {
		return
	}
	r.read += int64(end)
	r.last = now
	var p Progress
	found := false
	for line := range bytes.Lines(b[:end]) {
		var q Progress
		if json.Unmarshal(line, &q) == nil {
			if q.Step == 0 && q.Of == 0 {
				q.Step, q.Of = p.Step, p.Of
			}
			p, found = q, true
		}
	}
	if found && r.o.Progress != nil {
		r.o.Progress(p)
	}
}

// noResult is the error of a program that has ended without a result.
func (r *running) noResult() *TaskError {
	if r.worker {
		return r.failed(Program, "the worker ended ("+r.p.ending()+") without a result")
	}
	switch code := r.p.code(); {
	case code == 0:
		return r.failed(Program, "it ended with exit status 0 and without a "+resultFile+", its last act")
	case code == 2:
		err := r.failed("", "it refuses its arguments (exit status 2)")
		err.Status = Refused
		return err
	default:
		return r.failed(Program, "it ended without a result ("+r.p.ending()+")")
	}
}

func (r *running) failed(class, message string) *TaskError {
	tail := r.log.tail()
	message += r.e.rule(r.t.Verb, message+tail)
	return &TaskError{Engine: r.e.Name, Verb: r.t.Verb, Status: Failed, Class: class, Message: message, Tail: tail, Log: r.log.end(1 << 20)}
}

// Needs returns the roles of inputs that train reads with these parameters.
func (v *Verb) Needs(params map[string]any) []string {
	var out []string
	for role, in := range v.Inputs {
		if holds(in.when, params) {
			out = append(out, role)
		}
	}
	slices.Sort(out)
	return out
}
