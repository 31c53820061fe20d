package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"ablate/models/grace"
	"ablate/runner/dag"
	"ablate/runner/failure"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/resource"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// key returns the key of an action whose inputs are known.
func (r *runner) key(a *layout.Action) store.Key { return a.Key(r.o.Backend, r.output) }

// output returns the id of the artifact of an action that was looked up or computed.
func (r *runner) output(a *layout.Action) store.OutputID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Outputs.ID(a)
}

// lookup finds an action's artifact in the index. The bytes are compared with their
// digests later, when an action reads them.
func (r *runner) lookup(a *layout.Action) (lookup.Output, bool, error) {
	id := r.key(a).ID()
	e, err := r.s.Lookup(id)
	switch {
	case err == nil:
		return r.remember(a, lookup.Output{ID: e.Output, Action: id, Made: e.Made}), true, nil
	case errors.Is(err, store.ErrNotFound):
		r.warnDamaged(a, err)
		if f, ok := r.s.Failed(id); ok && failure.Final(f, r.o.Machine.Build) {
			return lookup.Output{}, false, &failure.EarlierError{Failure: f}
		}
		return lookup.Output{}, false, nil
	}
	return lookup.Output{}, false, err
}

// remember records the artifact of an action.
func (r *runner) remember(a *layout.Action, out lookup.Output) lookup.Output {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Outputs.Set(a, lookup.Output{ID: out.ID})
	return out
}

// warn begins a warning about an action.
func (r *runner) warn(a *layout.Action) *zerolog.Event {
	return r.about(r.log.Warn(), a)
}

// about adds an action to a log line.
func (r *runner) about(l *zerolog.Event, a *layout.Action) *zerolog.Event {
	return l.Str("stage", string(a.Kind)).Str("action", a.Name.Short()).Str("arm", a.Rows())
}

// warnDamaged logs a warning about an artifact that is in the index and cannot be read.
func (r *runner) warnDamaged(a *layout.Action, err error) {
	if store.Damaged(err) {
		r.warn(a).Err(err).Msg("damaged in the store; computing it again")
	}
}

// run computes an action, with as many attempts as the classes of its failures allow, and
// records the last failure. It calls started when it begins. If another process computes the
// action, the error is dag.ErrBusy.
func (r *runner) run(ctx context.Context, a *layout.Action, started func()) (lookup.Output, error) {
	if err := r.checkInputs(ctx, a); err != nil {
		return lookup.Output{}, err
	}
	id := r.key(a).ID()
	var taken *store.ClaimedError
	switch err := r.here.Claim(id); {
	case errors.As(err, &taken):
		return lookup.Output{}, fmt.Errorf("%w: %w", dag.ErrBusy, err)
	case err != nil:
		return lookup.Output{}, err
	}
	defer r.release(a, id)
	r.computing.Add(1)
	defer r.computing.Add(-1)
	for try, repairs := 1, 0; ; try++ {
		// Another process may have finished it before the claim, or while this one was suspended
		// for longer than its lease. An attempt begins before the look-up: so no attempt begins
		// after the action was finished.
		began := r.o.Now()
		if out, ok, err := r.lookup(a); ok || err != nil {
			r.mu.Lock()
			r.found[a] = true
			r.mu.Unlock()
			return out, err
		}
		if try == 1 && repairs == 0 {
			started()
			r.working(a, id)
		}
		out, err := r.attempt(ctx, a, began, try)
		if errors.Is(err, errDamaged) && repairs < mostRepairs {
			repairs++
			try--
			r.warn(a).Err(err).Msg("repairing it, and trying again")
			if err := r.checkInputs(ctx, a); err != nil {
				return lookup.Output{}, err
			}
			continue
		}
		if err == nil {
			return r.remember(a, out), nil
		}
		if ctx.Err() != nil {
			return out, err
		}
		class := failure.Of(err)
		if try >= failure.Rules[class].Attempts {
			r.record(a, id, class, err, try)
			return out, err
		}
		r.warn(a).Err(err).Str("class", string(class)).Msg("trying again")
	}
}

// errDamaged is wrapped by the error of an attempt whose input was damaged meanwhile.
var errDamaged = errors.New("an input was damaged while it was read")

// mostRepairs is how often the inputs of an action are repaired in one run.
const mostRepairs = 10

// intact returns an error if an input of an action has changed since the action began to read
// it. A damaged artifact is moved away.
func (r *runner) intact(ctx context.Context, a *layout.Action) error {
	for i, in := range a.Inputs {
		if _, err := r.s.Artifact(ctx, r.output(in)); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s: %w: %w", a.Reads[i], errDamaged, err)
		}
	}
	return nil
}

// record records the failure of an action for later runs and for people.
func (r *runner) record(a *layout.Action, id store.ActionID, class failure.Class, cause error, attempts int) {
	f := store.Failure{Action: id, Stage: string(a.Kind), View: a.View(), Class: string(class), Error: cause.Error(), Attempts: attempts, Time: r.o.Now(), Build: r.o.Machine.Build}
	var logged *loggedError
	if errors.As(cause, &logged) {
		if rel, err := filepath.Rel(r.s.Dir(), logged.log); err == nil {
			f.Log = rel
		}
	}
	stderr := launch.Diagnostics(cause).Stderr
	f.Tail = Tail(stderr)
	if err := r.s.Fail(f); err != nil {
		r.warn(a).Err(err).Msg("its failure cannot be recorded: the next run tries it again")
	}
}

// release ends the claim of an action.
func (r *runner) release(a *layout.Action, id store.ActionID) {
	r.here.Update(func(l *store.Live) {
		l.Actions = slices.DeleteFunc(l.Actions, func(x store.LiveAction) bool { return x.Action == id })
	})
	if err := r.here.Release(id); err != nil {
		r.warn(a).Err(err).Msg("its claim cannot be released: other processes wait until this one ends")
	}
}

// working announces that this process computes an action.
func (r *runner) working(a *layout.Action, id store.ActionID) {
	x := store.LiveAction{Action: id, Name: a.Name.String(), Stage: string(a.Kind), View: a.View(), Since: r.o.Now()}
	r.here.Update(func(l *store.Live) { l.Actions = append(l.Actions, x) })
}

// progressed announces how far an action is.
func (r *runner) progressed(id store.ActionID, p launch.Progress) {
	r.here.Update(func(l *store.Live) {
		for i := range l.Actions {
			if l.Actions[i].Action == id {
				l.Actions[i].Advance(r.o.Now(), Reached(p))
			}
		}
	})
}

// Reached returns what a process announces of a report of a worker.
func Reached(p launch.Progress) store.Reached {
	r := store.Reached{Step: p.Step, Total: p.Total, Unit: p.Text, Compiling: p.Compiling}
	for _, m := range p.Metrics {
		r.Metrics = append(r.Metrics, store.Metric(m))
	}
	return r
}

// checkInputs compares all bytes of an action's inputs with their digests, and computes
// damaged ones again.
func (r *runner) checkInputs(ctx context.Context, a *layout.Action) error {
	away := false
	for i, in := range a.Inputs {
		_, err := r.s.Artifact(ctx, r.output(in))
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		r.warnDamaged(in, err)
		// Repairs that wait for each other's CPUs would wait for ever.
		r.room.give(a)
		away = true
		_, err, _ = r.repairs.Do(in.Name.String(), func() (any, error) { return nil, r.repair(ctx, in) })
		if err != nil {
			return fmt.Errorf("its %s is damaged in the store: %w", a.Reads[i], err)
		}
	}
	if away {
		return r.room.acquire(ctx, a)
	}
	return nil
}

// repair computes an action again whose artifact is damaged. It returns an error if the
// bytes differ from before, because other actions have read these.
func (r *runner) repair(ctx context.Context, a *layout.Action) error {
	want := r.output(a)
	if err := r.room.misfit(a); err != nil {
		return err
	}
	if err := r.room.acquire(ctx, a); err != nil {
		return err
	}
	give := func() { r.room.give(a) }
	defer give()
	// The context is that of an action that reads it, whose own room must not be freed.
	got, err := r.run(dag.WithFree(ctx, give), a, func() {})
	if err == nil && got.ID != want {
		return fmt.Errorf("%s gave the output %s, and %s before: run again, so that later stages are computed from the new output",
			a.Label(), got.ID.Short(), want.Short())
	}
	return err
}

// attempt computes an action once and records the attempt, which began at a time, in the
// journal.
func (r *runner) attempt(ctx context.Context, a *layout.Action, began time.Time, try int) (lookup.Output, error) {
	key, m := r.key(a), r.o.Machine
	if r.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.o.Timeout, failure.TimeoutError{Limit: r.o.Timeout})
		defer cancel()
	}
	start := store.Event{Kind: store.Started, Time: began, Action: key.ID(), Stage: string(a.Kind), Cost: a.Cost,
		Device: m.Device, Backend: m.Backend, Versions: m.Versions, CPU: m.CPU, Environment: m.Of(a, r.o.Need(a))}
	gpus := r.o.Need(a).GPUs
	if start.Engine = stage.EngineOf(a.Params); start.Engine != "" {
		start.GPUs = gpus
	}
	if gpus > 0 {
		start.GPU = m.GPU
	}
	if a.Trial != nil {
		start.Trial, start.View = a.Trial.ID, a.Trial.View
	}
	if err := r.j.Append(start); err != nil {
		return lookup.Output{}, err
	}
	r.log.Debug().Str("stage", string(a.Kind)).Str("arm", a.Rows()).Str("action", a.Name.Short()).Str("id", key.ID().String()).Str("key", key.Text()).Msg("key")
	out, did, err := r.compute(ctx, a, key, try)
	now := r.o.Now() // after the commit, from which on others find the result
	if did.end.IsZero() {
		did.end = now
	}
	end := store.Event{Kind: store.Finished, Time: now, Action: key.ID(), Worker: did.worker, Seconds: did.end.Sub(start.Time).Seconds()}
	switch {
	case err == nil:
		end.Output = out.ID.String()
	case ctx.Err() != nil && !errors.As(err, new(failure.TimeoutError)):
		end.Kind = store.Interrupted
	default:
		end.Kind, end.Error, end.Class = store.Failed, err.Error(), string(failure.Of(err))
	}
	if jerr := r.j.Append(end); jerr != nil { // the action has its result, or its error
		r.warn(a).Err(jerr).Msg("its end cannot be written into the journal: tables of runs and estimates of time miss it")
	}
	return out, err
}

// computed says which worker has computed an action, and when it was done.
type computed struct {
	worker int
	end    time.Time
}

// compute lets a worker compute an action and commits the artifact.
func (r *runner) compute(ctx context.Context, a *layout.Action, key store.Key, try int) (out lookup.Output, did computed, err error) {
	w, err := r.s.Begin(key)
	if err != nil {
		return out, did, err
	}
	defer w.Abort()
	params, err := json.Marshal(a.Params)
	if err != nil {
		return out, did, fmt.Errorf("%s: parameters: %w", a.Kind, err)
	}
	t := launch.Task{Action: key.ID().Short(), Stage: string(a.Kind), Params: params, Inputs: map[string]string{}, Out: w.Dir()}
	for i, in := range a.Inputs {
		t.Inputs[a.Reads[i]] = r.s.Path(r.output(in))
	}
	need, environment := r.o.Need(a), r.o.Machine.Of(a, r.o.Need(a))
	def := a.Kind.Def()
	if def.Verb != "" {
		ForEngine(&t, r.s, need, r.o.Machine.CPU, try)
		environment = "engine" // whose state another machine may use, too
	}
	if def.Saves {
		if t.State, err = r.s.Partial(key.ID(), environment); err != nil {
			return out, did, err
		}
		t.Save = cmp.Or(r.o.Save, never).Seconds()
	}
	stopping, stopped := saysWhy(ctx, t.Why)
	defer stopped()
	reply, err := r.w.Do(stopping, t, r.room.grant(a), string(a.Kind), func(p launch.Progress) {
		switch {
		case p.Warning != "":
			r.warn(a).Msg(p.Warning)
		case p.Resumed > 0:
			r.about(r.log.Info(), a).Int("step", p.Resumed).Msg("goes on from its saved state")
		default:
			r.progressed(key.ID(), p)
			r.emit(Event{Action: a, Kind: Working, Progress: p})
		}
	})
	did = computed{reply.Worker, r.o.Now()}
	later, done := grace.Extend(ctx, committing)
	defer done()
	if err == nil || ctx.Err() == nil {
		if err := r.intact(later, a); err != nil {
			return out, did, err
		}
	}
	if err != nil {
		if ctx.Err() == nil || errors.As(err, new(failure.TimeoutError)) {
			err = r.logged(a, key, t, err)
		}
		return out, did, r.s.Diagnose(failure.Declassify(err))
	}
	var made Made
	if err := json.Unmarshal(reply.Values, &made); err != nil {
		return out, did, fmt.Errorf("%s: the worker's reply: %w", a.Kind, err)
	}
	dag.Free(ctx) // committing needs the disk and no worker
	e, err := w.Commit(later, store.Commit{Made: r.o.Machine.Of(a, need) + made.Lines, Build: r.o.Machine.Build, Written: made.Manifest})
	if err != nil {
		return out, did, err
	}
	r.warnDifferent(a, e)
	r.forget(a, key)
	if t.State != "" {
		r.s.RemovePartial(key.ID())
	}
	if err := r.s.Retry(key.ID()); err != nil {
		r.warn(a).Err(err).Msg("the record of its earlier failure cannot be removed")
	}
	return lookup.Output{ID: e.Output, Action: e.Action, Made: e.Made}, did, nil
}

// committing is how long a commit may go on when the run is stopped, so that what has been
// computed is not lost.
const committing = 20 * time.Second

// never is longer than any training.
const never = 100 * 365 * 24 * time.Hour

// Made is a worker's reply: the manifest of the files that it wrote. With it the store
// notices files that are lost before the commit.
type Made struct {
	Manifest string `json:"manifest"`
	Lines    string `json:"lines,omitempty"` // what an engine said of how it made the files; see stage.Task.Made
}

// ForEngine sets what a task of an engine needs. cpu is the processor, and try the number of the attempt.
func ForEngine(t *launch.Task, s *store.Store, need resource.Need, cpu string, try int) {
	t.Store, t.Attempt, t.Limit = s.Dir(), try, need.Time.Seconds()
	t.Why = filepath.Join(filepath.Dir(t.Out), "why")
	t.CPUs = max(1, need.CPUs)
	t.Machine = fmt.Sprintf("%s, %s", cpu, resource.Need{CPUs: t.CPUs, GPUs: need.GPUs})
	// Its processes have 10 s between SIGTERM and SIGKILL.
	const ending = 20 * time.Second
	t.Patience = ending.Seconds()
	if stage.Kind(t.Stage).Def().Saves {
		t.Grace = cmp.Or(need.Grace, usualGrace).Seconds()
		t.Patience += t.Grace
	}
}

// usualGrace is how long a training of an engine has to save its state, if nothing is said of it.
const usualGrace = 45 * time.Second

// saysWhy returns a context that ends as ctx does, once a file says why: "preempted", "limit" or
// "user". An empty name means that no file is written.
func saysWhy(ctx context.Context, name string) (later context.Context, done func()) {
	if name == "" {
		return ctx, func() {}
	}
	later, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		cause, why := context.Cause(ctx), "user"
		switch {
		case errors.Is(cause, ErrPreempted):
			why = "preempted"
		case errors.Is(cause, errMaxTime), errors.As(cause, new(failure.TimeoutError)):
			why = "limit"
		}
		_ = os.WriteFile(name, []byte(why), 0o666) // without it, the reason counts as "user"
		cancel(cause)
	})
	return later, func() { stop(); cancel(nil) }
}

// ErrPreempted is wrapped by the cause of a run's context where a cluster's scheduler ends the run.
var ErrPreempted = errors.New("preempted")

// warnDifferent logs a warning about an action that gave other bytes than before.
func (r *runner) warnDifferent(a *layout.Action, e store.Entry) {
	warn := func(other store.OutputID, msg string) {
		r.warn(a).Str("kept", e.Output.Short()).Str("other", other.Short()).Str("differs", e.Difference).Msg(msg)
	}
	switch {
	case !e.Replaced.IsZero():
		warn(e.Replaced, "its earlier bytes were lost, and it gave others now")
	case !e.Rejected.IsZero():
		warn(e.Rejected, "another run has computed it meanwhile, with other bytes; the first result is kept. Processors, drivers or flags differ")
	}
}
