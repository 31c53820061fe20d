package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ablate/experiments/language"
	"ablate/runner/failure"
	"ablate/runner/internal/example"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// fake is a worker that reads its inputs and writes a file, the same bytes for the same
// task.
type fake struct {
	mu    sync.Mutex
	tasks []launch.Task
	// before, if set, is called with a task whose file is written, and may fail it.
	before  func(t launch.Task) error
	drifted stage.Kind      // comes out different from before
	same    stage.Kind      // comes out the same whatever its parameters are
	values  json.RawMessage // its reply, if set
	wait    bool            // it does nothing until it is stopped
	grants  map[string][]resource.Grant
}

func (f *fake) Do(ctx context.Context, t launch.Task, g resource.Grant, _ string, _ func(launch.Progress)) (launch.Reply, error) {
	f.mu.Lock()
	f.tasks = append(f.tasks, t)
	if f.grants == nil {
		f.grants = map[string][]resource.Grant{}
	}
	f.grants[t.Stage] = append(f.grants[t.Stage], g)
	f.mu.Unlock()
	if f.wait {
		<-ctx.Done()
		return launch.Reply{}, fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	text := fmt.Sprintf("%s %s", t.Stage, t.Params)
	if t.Stage == string(f.drifted) {
		text += " drifted"
	}
	if t.Stage == string(f.same) {
		text = t.Stage
	}
	for _, name := range slices.Sorted(maps.Keys(t.Inputs)) {
		b, err := os.ReadFile(filepath.Join(t.Inputs[name], "out.json"))
		if err != nil {
			return launch.Reply{}, err
		}
		text += fmt.Sprintf(" %s %x", name, sha256.Sum256(b))
	}
	for _, name := range []string{"out.json", "weights"} {
		if err := os.WriteFile(filepath.Join(t.Out, name), []byte(text), 0o666); err != nil {
			return launch.Reply{}, err
		}
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return launch.Reply{}, err
	}
	if f.before != nil {
		if err := f.before(t); err != nil {
			return launch.Reply{}, err
		}
	}
	if f.values != nil {
		return launch.Reply{Values: f.values}, nil
	}
	values, err := json.Marshal(Made{Manifest: manifest})
	return launch.Reply{Values: values, Worker: 1}, err
}

// stages counts the tasks by stage.
func (f *fake) stages() map[string]int {
	n := map[string]int{}
	for _, t := range f.tasks {
		n[t.Stage]++
	}
	f.tasks = nil
	return n
}

// fixture is a study with a store.
type fixture struct {
	t      *testing.T
	g      *layout.Graph
	views  []language.View
	s      *store.Store
	dir    string
	w      *fake
	log    *bytes.Buffer
	starts []*layout.Action
	events []Event
}

func newFixture(t *testing.T, seeds, arms string) *fixture {
	t.Helper()
	s := example.Study(t, "seeds: ["+seeds+"]\narms: {\n"+arms+"\n}")
	var err error
	f := &fixture{t: t, views: s.Views, w: &fake{}, log: &bytes.Buffer{}}
	if f.g, err = layout.NewGraph(s, s.Views, layout.Outside{}); err != nil {
		t.Fatal(err)
	}
	if f.s, err = store.Open(filepath.Join(s.Root, ".ablate")); err != nil {
		t.Fatal(err)
	}
	if f.dir, err = f.s.ClaimStudy(s.Name, s.Root, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) run(o Options) *Outcome {
	f.t.Helper()
	out, err := f.runUntil(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// runUntil runs the study until ctx ends.
func (f *fixture) runUntil(ctx context.Context, o Options) (*Outcome, error) {
	f.t.Helper()
	j, err := f.s.OpenJournal(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	defer j.Close()
	o.Backend, o.Logs, o.Machine.Environment = "xla:cpu", filepath.Join(f.dir, "logs"), "backend xla:cpu\n"
	f.starts, f.events, f.w.tasks = nil, nil, nil
	o.Events = func(e Event) {
		f.events = append(f.events, e)
		if e.Kind == Started {
			f.starts = append(f.starts, e.Action)
		}
	}
	f.log.Reset()
	return Run(zerolog.New(zerolog.SyncWriter(f.log)).WithContext(ctx), f.g, f.s, j, f.w, o)
}

// retry lets everything that failed be tried again.
func (f *fixture) retry() {
	f.t.Helper()
	all, err := f.s.Failures()
	for _, x := range all {
		err = errors.Join(err, f.s.Retry(x.Action))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// attempts reads the journal.
func (f *fixture) attempts() []store.Attempt {
	f.t.Helper()
	events, unread, err := store.ReadJournal(f.dir)
	if err != nil || unread > 0 {
		f.t.Fatalf("%v, and %d lines that cannot be read", err, unread)
	}
	return store.Attempts(events)
}

func (f *fixture) action(kind stage.Kind) *layout.Action {
	f.t.Helper()
	i := slices.IndexFunc(f.g.Actions, func(a *layout.Action) bool { return a.Kind == kind })
	if i < 0 {
		f.t.Fatalf("the study has no %s", kind)
	}
	return f.g.Actions[i]
}

const twoArms = "\"pretrained\": set: finetune: method: \"none\"\n\"all data\": set: {}\n\"dpo\": set: finetune: method: \"dpo\""

// TestDepthFirst: a trial is finished before the next is begun, and a seed before the
// next, so that there is something to look at early.
func TestDepthFirst(t *testing.T) {
	f := newFixture(t, "1, 2", twoArms)
	f.run(Options{})
	last := map[string]int{} // of each view, the place of its last action
	first := map[string]int{}
	for i, a := range f.starts {
		for _, v := range f.views {
			name := v.String()
			if !slices.Contains(f.g.Chains[v.Trial.ID()].Actions(), a) {
				continue
			}
			last[name] = i
			if _, ok := first[name]; !ok && a.Others == 0 {
				first[name] = i
			}
		}
	}
	order := []string{"pretrained@1", "all data@1", "dpo@1", "pretrained@2", "all data@2", "dpo@2"}
	for i := 1; i < len(order); i++ {
		if last[order[i-1]] > first[order[i]] {
			t.Errorf("%s ends as action %d, after %s has begun as %d", order[i-1], last[order[i-1]], order[i], first[order[i]])
		}
	}
}

// TestRunLimit: the actions beyond the limit are counted, and are not failures.
func TestRunLimit(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	out := f.run(Options{Limit: 3, FailFast: true, Room: resource.NewAllocator(resource.Capacity{CPUs: 2})})
	if out.Ran != 3 || out.Left != len(f.g.Actions)-3 || len(out.Failures) != 0 || len(f.starts) != 3 {
		t.Errorf("%+v, %d started", out, len(f.starts))
	}
	if out := f.run(Options{}); out.Ran != len(f.g.Actions)-3 || out.Left != 0 || out.Cached != 3 {
		t.Errorf("the next run: %+v", out)
	}
}

// TestFirstResultStays: if another run has committed other bytes meanwhile, a run
// continues with those, and a warning names both.
func TestFirstResultStays(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	var first store.OutputID
	f.w.before = func(task launch.Task) error {
		if task.Stage != string(stage.Pretrain) {
			return nil
		}
		w, err := f.s.Begin(f.action(stage.Pretrain).Key("xla:cpu", nil))
		if err != nil {
			return err
		}
		err = os.WriteFile(filepath.Join(w.Dir(), "out.json"), []byte("of another machine"), 0o666)
		if err != nil {
			return err
		}
		e, err := w.Commit(t.Context(), store.Commit{Made: "another machine"})
		first = e.Output
		return err
	}
	out := f.run(Options{})
	if len(out.Failures) != 0 || out.Outputs.Len() != len(f.g.Actions) {
		t.Fatalf("%+v", out)
	}
	if got := out.Outputs.ID(f.action(stage.Pretrain)); got != first {
		t.Errorf("the run went on with %s, and not with the first, %s", got.Short(), first.Short())
	}
	for _, want := range []string{`"level":"warn"`, "the first result is kept", `"kept":"` + first.Short() + `"`, `"other":"`, "out.json differs"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, f.log)
		}
	}
}

// TestLostFiles: a file that is gone when the worker's folder is committed makes the
// action fail. It never becomes a result, and the next run computes it.
func TestLostFiles(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	f.w.before = func(task launch.Task) error {
		if task.Stage != string(stage.Pretrain) {
			return nil
		}
		return os.Remove(filepath.Join(task.Out, "weights"))
	}
	out := f.run(Options{})
	if len(out.Failures) != 1 || out.Failures[0].Action.Kind != stage.Pretrain || !strings.Contains(out.Failures[0].Err.Error(), "weights is gone") {
		t.Errorf("%+v", out.Failures)
	}
	f.w.before = nil
	if out := f.run(Options{}); len(out.Failures) != 0 || out.Outputs.Len() != len(f.g.Actions) {
		t.Errorf("the next run: %+v", out)
	}
}

// TestDamagedInput: a damaged input of a stage is computed again, once, before the stage
// runs. Nothing else is computed again.
func TestDamagedInput(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	whole := f.run(Options{})
	pretrained := whole.Outputs.ID(f.action(stage.Pretrain))
	// A flipped bit is not noticed by a look-up, so nothing has to run.
	damage := func() {
		t.Helper()
		name := filepath.Join(f.s.Path(pretrained), "weights")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if err := errors.Join(os.Chmod(name, 0o666), os.WriteFile(name, b, 0o666)); err != nil {
			t.Fatal(err)
		}
		if f.s, err = store.Open(f.s.Dir()); err != nil { // a later process, which trusts nothing yet
			t.Fatal(err)
		}
	}
	damage()
	if out := f.run(Options{}); out.Ran != 0 || out.Cached != len(f.g.Actions) {
		t.Errorf("with nothing to compute: %+v", out)
	}
	// Several measures of distance, which read it at the same time.
	for _, a := range f.g.Actions {
		if a.Kind == stage.Distance {
			if err := os.RemoveAll(filepath.Dir(f.s.Path(whole.Outputs.ID(a)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	room := resource.NewAllocator(resource.Capacity{CPUs: 3})
	out := f.run(Options{Room: room})
	room.Begin()
	if _, ok := room.Take("all", resource.Need{CPUs: 3}); !ok {
		t.Error("the action that had its input repaired has not given its CPU back")
	}
	if n := f.w.stages(); n["pretrain"] != 1 || n["distance"] != 5 || len(out.Failures) != 0 {
		t.Errorf("ran %v, failures %v", n, out.Failures)
	}
	if !strings.Contains(f.log.String(), "damaged in the store; computing it again") || out.Outputs.ID(f.action(stage.Pretrain)) != pretrained {
		t.Errorf("the log says\n%s", f.log)
	}
	// If the new bytes differ, later stages are not computed from a mixture of both.
	damage()
	for _, a := range f.g.Actions {
		if a.Kind == stage.Distance {
			if err := os.RemoveAll(filepath.Dir(f.s.Path(whole.Outputs.ID(a)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.w.drifted = stage.Pretrain
	got := f.run(Options{})
	if len(got.Failures) == 0 || !strings.Contains(got.Failures[0].Err.Error(), "run again, so that later stages are computed from the new output") {
		t.Errorf("an input that comes out different: %v", got.Failures)
	}
}

// TestLogs: a failure leaves a log with all that is known of it, and its path in the
// error; once the action succeeds the log is gone.
func TestLogs(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	f.w.before = func(task launch.Task) error {
		if task.Stage != string(stage.Pretrain) {
			return nil
		}
		return &launch.RemoteError{Class: launch.ClassPanic, Msg: "pretrain: internal error: shapes differ", Stack: "goroutine 1\nmain.build()", Stderr: "E1126 out of memory\n"}
	}
	out := f.run(Options{})
	if len(out.Failures) != 1 {
		t.Fatalf("%+v", out)
	}
	text := out.Failures[0].Err.Error()
	if strings.Contains(text, "goroutine") {
		t.Errorf("a stack reaches the user: %s", text)
	}
	_, rest, ok := strings.Cut(text, "(log: ")
	name := strings.TrimSuffix(rest, ")")
	if !ok || filepath.Dir(name) != filepath.Join(f.dir, "logs") {
		t.Fatalf("%s names no log", text)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"main.build()", "E1126 out of memory", "shapes differ", "needed by: pretrained@1 and 2 more", "set model.shapes.layers 3", "backend xla:cpu"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the log lacks %q:\n%s", want, b)
		}
	}
	f.retry()
	f.w.before = nil
	f.run(Options{})
	if left, err := os.ReadDir(filepath.Join(f.dir, "logs")); err != nil || len(left) != 0 {
		t.Errorf("after it succeeded: %v, %v", left, err)
	}
}

// failureOf returns an error of a worker that has a class.
func failureOf(c failure.Class) error {
	gone := errors.New("gone")
	switch c {
	case failure.OutOfMemory:
		return launch.WithClass(launch.ClassMemory, gone)
	case failure.Timeout:
		return failure.TimeoutError{Limit: time.Second}
	case failure.Hung:
		return launch.WithClass(launch.ClassSilent, gone)
	case failure.Lost:
		return launch.WithClass(launch.ClassKilled, gone)
	case failure.Crash:
		return launch.WithClass(launch.ClassPanic, gone)
	case failure.DiskFull:
		return launch.WithClass("ENOSPC", gone)
	case failure.Diverged, failure.Setup:
		return launch.WithClass(string(c), gone)
	}
	return &launch.RemoteError{Class: launch.ClassFailed, Msg: "gone"}
}

// TestTimeout: an attempt that takes too long is stopped and fails.
func TestTimeout(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	f.w.wait = true
	out := f.run(Options{Timeout: 20 * time.Millisecond})
	if len(out.Failures) == 0 || out.Failures[0].Class() != failure.Timeout || !strings.Contains(out.Failures[0].Err.Error(), "longer than 20ms") {
		t.Errorf("failures %+v", out.Failures)
	}
}

// TestRules: an action is attempted as often as the class of its failure allows. A final
// failure is not tried by the next run, and by that of another build only where a new program
// may help.
func TestRules(t *testing.T) {
	for class, rule := range failure.Rules {
		f := newFixture(t, "1", oneArm)
		f.w.before = func(task launch.Task) error {
			if task.Stage == string(stage.Pretrain) {
				return failureOf(class)
			}
			return nil
		}
		tries := func(build string) int {
			out := f.run(Options{Machine: Machine{Build: build}})
			if len(out.Failures) != 1 || out.Failures[0].Class() != class || !strings.Contains(out.Failures[0].Err.Error(), failureOf(class).Error()) {
				t.Errorf("%s: failures %+v", class, out.Failures)
			}
			return f.w.stages()["pretrain"]
		}
		again, newer := 0, 0
		switch rule.Final {
		case failure.Again:
			again, newer = rule.Attempts, rule.Attempts
		case failure.Build:
			newer = rule.Attempts
		}
		if got := [...]int{tries("a"), tries("a"), tries("b")}; got != [...]int{rule.Attempts, again, newer} {
			t.Errorf("%s: tried %d times, want %d", class, got, [...]int{rule.Attempts, again, newer})
		}
		fails, err := f.s.Failures()
		if err != nil || len(fails) != 1 || fails[0].Class != string(class) || fails[0].View != "pretrained@1" || fails[0].Stage != "pretrain" || fails[0].Attempts != rule.Attempts ||
			!strings.HasPrefix(fails[0].Log, "studies/") {
			t.Errorf("%s: recorded %+v, %v", class, fails, err)
		}
		// Once it is to be retried and succeeds, nothing is left of the failure.
		if err := f.s.Retry(fails[0].Action); err != nil {
			t.Fatal(err)
		}
		f.w.before = nil
		if out := f.run(Options{Machine: Machine{Build: "b"}}); len(out.Failures) != 0 || out.Outputs.Len() != len(f.g.Actions) {
			t.Errorf("%s: retried: %+v", class, out.Failures)
		}
		if fails, err := f.s.Failures(); err != nil || len(fails) != 0 {
			t.Errorf("%s: left %+v, %v", class, fails, err)
		}
		events, _, err := store.ReadJournal(f.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range store.Attempts(events) {
			if a.Outcome == store.OutcomeOK {
				continue
			}
			if a.Class != string(class) || a.Outcome != store.OutcomeFailed || len(a.Trial) != 64 || a.View != "pretrained@1" || a.Environment == "" {
				t.Errorf("the journal has %+v", a)
			}
		}
	}
}

const oneArm = "\"pretrained\": set: finetune: method: \"none\""

// TestRetrySucceeds: an action whose worker died once is there after the run, and the
// journal has both attempts.
func TestRetrySucceeds(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	died := false
	f.w.before = func(task launch.Task) error {
		if task.Stage != string(stage.Distance) || died {
			return nil
		}
		died = true
		return launch.WithClass(launch.ClassCrash, errors.New("the worker died"))
	}
	out := f.run(Options{})
	if len(out.Failures) != 0 || out.Outputs.Len() != len(f.g.Actions) || !strings.Contains(f.log.String(), "trying again") {
		t.Errorf("%+v\n%s", out, f.log)
	}
	var outcomes []store.Outcome
	for _, a := range f.attempts() {
		if a.Stage == string(stage.Distance) {
			outcomes = append(outcomes, a.Outcome)
		}
	}
	if !slices.Equal(outcomes, []store.Outcome{store.OutcomeFailed, store.OutcomeOK}) {
		t.Errorf("the journal has %v", outcomes)
	}
}

// TestSame: actions whose inputs turn out to be the same are computed once, though they are ready at
// the same time.
func TestSame(t *testing.T) {
	f := newFixture(t, "1", `"a": set: feedback: parser: noise: 0.1
"b": set: feedback: parser: noise: 0.2
"c": set: feedback: parser: noise: 0.3`)
	f.w.same = stage.Label
	var mu sync.Mutex
	times := map[string]int{}
	f.w.before = func(task launch.Task) error {
		mu.Lock()
		times[task.Action]++
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	out := f.run(Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 4})})
	if len(out.Failures) > 0 || out.Left > 0 {
		t.Errorf("%+v", out)
	}
	for action, n := range times {
		if n != 1 {
			t.Errorf("action %s was computed %d times", action, n)
		}
	}
}

// TestDivergedGoesOn: a training that diverged has a result, and does not stop a run that stops at
// the first failure. What such a run leaves is not ascribed to another flag.
func TestDivergedGoesOn(t *testing.T) {
	for class, stopped := range map[string]string{string(failure.Diverged): "", launch.ClassFailed: "--fail-fast"} {
		f := newFixture(t, "1", twoArms)
		failed := false
		f.w.before = func(task launch.Task) error {
			if task.Stage == string(stage.Finetune) && !failed {
				failed = true
				return launch.WithClass(class, errors.New("loss is NaN"))
			}
			return nil
		}
		out := f.run(Options{FailFast: true})
		if len(out.Failures) != 1 || out.Stopped != stopped || (out.Left > 0) != (stopped != "") {
			t.Errorf("%s: %d failures, %d left, stopped by %q, want %q", class, len(out.Failures), out.Left, out.Stopped, stopped)
		}
	}
}

// TestSkipped: what reads a failed action is skipped, once, with the name of what failed;
// other rows go on, unless the run stops at the first failure.
func TestSkipped(t *testing.T) {
	for _, fast := range []bool{false, true} {
		f := newFixture(t, "1", twoArms)
		f.w.before = func(task launch.Task) error {
			if task.Stage == string(stage.Score) {
				return errors.New("no scores")
			}
			return nil
		}
		out := f.run(Options{FailFast: fast})
		if fast {
			if len(out.Failures) != 1 {
				t.Errorf("with FailFast: %+v", out.Failures)
			}
			continue
		}
		// What reads a score, directly or not, is skipped; other scores fail.
		reads := map[*layout.Action]bool{}
		for _, a := range f.g.Actions {
			for _, in := range a.Inputs {
				reads[a] = reads[a] || reads[in] || in.Kind == stage.Score
			}
		}
		failed, want := 0, map[stage.Kind]int{}
		for _, a := range f.g.Actions {
			if reads[a] {
				want[a.Kind]++
			} else if a.Kind == stage.Score {
				failed++
			}
		}
		if len(out.Failures) != failed || failed < 2 {
			t.Errorf("failures %+v, want %d", out.Failures, failed)
		}
		skipped := map[stage.Kind]int{}
		for _, e := range f.events {
			if e.Kind == Skipped {
				skipped[e.Action.Kind]++
				if !strings.HasPrefix(e.Err.Error(), "score ") || !strings.HasSuffix(e.Err.Error(), " failed") {
					t.Errorf("%s is skipped because %v", e.Action.Label(), e.Err)
				}
			}
		}
		if !maps.Equal(skipped, want) || want[stage.Finetune] != 2 {
			t.Errorf("skipped %v, want %v", skipped, want)
		}
		if last := f.events[len(f.events)-1]; last.Finished != last.Total || last.Total != len(f.g.Actions) {
			t.Errorf("the last event counts %d of %d, want all of %d", last.Finished, last.Total, len(f.g.Actions))
		}
	}
}

// TestInterrupted: the end of the context is the run's error. What was running is
// interrupted in the journal, leaves no artifact, no log and no failure, and runs again.
func TestInterrupted(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("Ctrl-C")
	f.w.before = func(task launch.Task) error {
		if task.Stage != string(stage.Distance) {
			return nil
		}
		cancel(stop)
		return launch.WithClass(launch.ClassCrash, context.Cause(ctx)) // as a worker that is ended
	}
	out, err := f.runUntil(ctx, Options{})
	if !errors.Is(err, stop) || len(out.Failures) != 0 {
		t.Errorf("error %v, outcome %+v", err, out)
	}
	model, look := f.action(stage.Pretrain), f.action(stage.Distance)
	if !out.Outputs.Has(model) {
		t.Error("what was there before the interruption is lost")
	}
	if out.Outputs.Has(look) {
		t.Error("what was interrupted has an output")
	}
	var interrupted []string
	for _, a := range f.attempts() {
		if a.Outcome == store.OutcomeInterrupted {
			interrupted = append(interrupted, a.Stage)
		}
	}
	if !slices.Equal(interrupted, []string{string(stage.Distance)}) {
		t.Errorf("interrupted in the journal: %q", interrupted)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "logs")); err == nil {
		t.Error("an interruption has left a log")
	}
	f.w.before = nil
	if out := f.run(Options{}); out.Cached+out.Ran != len(f.g.Actions) || out.Cached == 0 || slices.Contains(f.starts, model) || !slices.Contains(f.starts, look) {
		t.Errorf("the next run: %d cached, %d ran", out.Cached, out.Ran)
	}
}

// TestInterruptedCommit: what a worker has computed is committed although the run was stopped
// meanwhile.
func TestInterruptedCommit(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("Ctrl-C")
	f.w.before = func(task launch.Task) error {
		if task.Stage == string(stage.Pretrain) {
			cancel(stop)
		}
		return nil
	}
	out, err := f.runUntil(ctx, Options{})
	if !errors.Is(err, stop) || out.Left == 0 {
		t.Errorf("error %v, %d left", err, out.Left)
	}
	model := f.action(stage.Pretrain)
	if _, err := f.s.Lookup(id(out, model)); err != nil {
		t.Errorf("what was computed is lost: %v", err)
	}
	f.w.before = nil
	if f.run(Options{}); slices.Contains(f.starts, model) {
		t.Error("what was computed is computed again")
	}
}

// TestFinishedElsewhere: before another attempt, an action is looked up again, because another
// process may have computed it meanwhile.
func TestFinishedElsewhere(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	model := f.action(stage.Pretrain)
	f.w.before = func(task launch.Task) error {
		if task.Stage != string(stage.Pretrain) {
			return nil
		}
		w, err := f.s.Begin(model.Key("xla:cpu", nil))
		if err == nil {
			err = os.CopyFS(w.Dir(), os.DirFS(task.Out))
		}
		if err == nil {
			_, err = w.Commit(t.Context(), store.Commit{Made: "elsewhere"})
		}
		if err != nil {
			t.Error(err)
		}
		return launch.WithClass(launch.ClassCrash, errors.New("killed"))
	}
	out := f.run(Options{})
	if n := f.w.stages()[string(stage.Pretrain)]; n != 1 || len(out.Failures) != 0 || out.Cached != 1 || out.Ran != len(f.g.Actions)-1 {
		t.Errorf("%d attempts, %d failures, %d cached, %d ran", n, len(out.Failures), out.Cached, out.Ran)
	}
}

// TestJournal: the journal has who needed an action, where it ran, for how long and what
// came of it.
func TestJournal(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	now := time.Unix(1000, 0)
	var ticks atomic.Int64
	out := f.run(Options{
		Machine: Machine{Device: "a core", Backend: "xla:cpu", Versions: "ablate 1", CPU: "a processor"},
		Now:     func() time.Time { return now.Add(time.Duration(ticks.Add(1)) * time.Second) },
	})
	list := f.attempts()
	if len(list) != len(f.g.Actions) {
		t.Fatalf("%d attempts at %d actions", len(list), len(f.g.Actions))
	}
	for _, at := range list {
		i := slices.IndexFunc(f.g.Actions, func(a *layout.Action) bool { return id(out, a) == at.Action })
		if i < 0 {
			t.Fatalf("the journal has %s, which is no action of the study", at.Action)
		}
		a := f.g.Actions[i]
		if at.Outcome != store.OutcomeOK || at.Output != out.Outputs.ID(a).String() || at.Stage != string(a.Kind) || at.Cost != a.Cost || at.Seconds < 1 ||
			at.Worker != 1 || at.Device != "a core" || at.Versions != "ablate 1" || at.CPU != "a processor" || at.Environment != "backend xla:cpu\n" || at.View != a.View() {
			t.Errorf("%s: %+v", a.Label(), at)
		}
	}
	f.run(Options{})
	if n := len(f.attempts()); n != len(list) {
		t.Errorf("a run with nothing to do has %d more attempts", n-len(list))
	}
}

// TestLostBytes: an artifact whose bytes are lost and that comes out different replaces
// them, with a warning that names both.
func TestLostBytes(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	before := f.run(Options{}).Outputs.ID(f.action(stage.Distance))
	if err := os.RemoveAll(filepath.Dir(f.s.Path(before))); err != nil {
		t.Fatal(err)
	}
	f.w.drifted = stage.Distance
	after := f.run(Options{}).Outputs.ID(f.action(stage.Distance))
	if after == before {
		t.Fatal("it did not come out different")
	}
	for _, want := range []string{"its earlier bytes were lost", `"kept":"` + after.Short(), `"other":"` + before.Short()} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, f.log)
		}
	}
}

// TestReply: an action fails if its worker does not send the manifest of its files.
func TestReply(t *testing.T) {
	f := newFixture(t, "1", oneArm)
	f.w.values = json.RawMessage(`"done"`)
	out := f.run(Options{})
	if out.Outputs.Len() != 0 || len(out.Failures) == 0 || !strings.Contains(out.Failures[0].Err.Error(), "pretrain: the worker's reply: ") {
		t.Errorf("%+v", out)
	}
}

// TestClassify: an error of the file system keeps its class when a worker sends it, so
// that the store can add advice. Other errors do not change.
func TestClassify(t *testing.T) {
	full := failure.Classify(fmt.Errorf("weights: %w", syscall.ENOSPC))
	if launch.Class(full) != "ENOSPC" {
		t.Errorf("class %q", launch.Class(full))
	}
	remote := launch.WithClass(launch.Class(full), errors.New(full.Error())) // only class and text cross
	if got := failure.Declassify(remote); !errors.Is(got, syscall.ENOSPC) || !errors.Is(got, remote) || got.Error() != remote.Error() {
		t.Errorf("it comes back as %v", got)
	}
	// A later run tries again what failed because of the disk, and not because of the stage.
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ESTALE, syscall.EROFS, syscall.ENOSPC} {
		sent := failure.Classify(fmt.Errorf("weights: %w", &os.PathError{Op: "write", Path: "w", Err: errno}))
		came := failure.Declassify(&launch.RemoteError{Class: launch.Class(sent), Msg: sent.Error()})
		if class := failure.Of(came); failure.Rules[class].Final != failure.Again {
			t.Errorf("%v is of the class %q, which is final", errno, class)
		}
	}
	other := errors.New("another")
	if failure.Classify(other) != other || failure.Declassify(other) != other {
		t.Error("another error is changed")
	}
	f := newFixture(t, "1", oneArm)
	f.w.before = func(launch.Task) error { return remote }
	if out := f.run(Options{}); len(out.Failures) == 0 || !errors.Is(out.Failures[0].Err, syscall.ENOSPC) {
		t.Errorf("%+v", out.Failures)
	}
}

// id returns the id of an action that a run has computed or found.
func id(out *Outcome, a *layout.Action) store.ActionID {
	return a.Key("xla:cpu", out.Outputs.ID).ID()
}
