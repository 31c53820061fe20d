package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"ablate/experiments/language"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// fake is a worker that writes a file, the same bytes for the same task.
type fake struct {
	mu    sync.Mutex
	tasks []launch.Task
	// before, if set, is called with a task whose file is written, and may fail it.
	before func(t launch.Task) error
}

func (f *fake) Do(ctx context.Context, t launch.Task, _ string, _ func(launch.Progress)) (launch.Reply, error) {
	f.mu.Lock()
	f.tasks = append(f.tasks, t)
	f.mu.Unlock()
	text := fmt.Sprintf("%s %s", t.Stage, t.Params)
	for _, role := range []string{"model", "labelled", "labels", "base"} {
		if dir, ok := t.Inputs[role]; ok {
			if _, err := os.ReadFile(filepath.Join(dir, "out.json")); err != nil {
				return launch.Reply{}, err
			}
		}
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

// fixture is a study in a store of its own.
type fixture struct {
	t      *testing.T
	g      *layout.Graph
	s      *store.Store
	dir    string
	w      *fake
	log    *bytes.Buffer
	starts []*layout.Action
}

func newFixture(t *testing.T, seeds, arms string) *fixture {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"cue.mod/module.cue": "module: \"example.com/m@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"s.cue": "package s\n\nimport \"ablate.internal/schema\"\n\nschema.#Study & {\nseeds: [" + seeds + "]\narms: {\n" + arms + "\n}\n}\n"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := language.Load(dir, language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, w: &fake{}, log: &bytes.Buffer{}}
	if f.g, err = layout.NewGraph(s, s.Views, nil); err != nil {
		t.Fatal(err)
	}
	if f.s, err = store.Open(filepath.Join(dir, ".ablate")); err != nil {
		t.Fatal(err)
	}
	if f.dir, err = f.s.ClaimStudy(s.Name, s.Root, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) run(o Options) *Outcome {
	f.t.Helper()
	j, err := f.s.OpenJournal(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	defer j.Close()
	o.Slots, o.Backend, o.Logs, o.Machine.Environment = max(o.Slots, 1), "xla:cpu", filepath.Join(f.dir, "logs"), "backend xla:cpu\n"
	f.starts, f.w.tasks = nil, nil
	o.Events = func(e Event) {
		if e.Kind == Started {
			f.starts = append(f.starts, e.Action)
		}
	}
	f.log.Reset()
	out, err := Run(zerolog.New(f.log).WithContext(f.t.Context()), f.g, f.s, j, f.w, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
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
		for _, v := range a.Views {
			last[v] = i
			if len(a.Views) == 1 {
				if _, ok := first[v]; !ok {
					first[v] = i
				}
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

// TestRunLimit: what the limit leaves is counted, and nothing fails of it.
func TestRunLimit(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	out := f.run(Options{Limit: 3, FailFast: true, Slots: 2})
	if out.Ran != 3 || out.Left != len(f.g.Actions)-3 || len(out.Failures) != 0 || len(f.starts) != 3 {
		t.Errorf("%+v, %d started", out, len(f.starts))
	}
	if out := f.run(Options{}); out.Ran != len(f.g.Actions)-3 || out.Left != 0 || out.Cached != 3 {
		t.Errorf("the next run: %+v", out)
	}
}

// TestFirstResultStays: a run that computes other bytes than another one has
// committed meanwhile goes on with those, and a warning names both.
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
	if len(out.Failures) != 0 || len(out.Outputs) != len(f.g.Actions) {
		t.Fatalf("%+v", out)
	}
	if got := out.Outputs[f.action(stage.Pretrain).Name].ID; got != first {
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
	if out := f.run(Options{}); len(out.Failures) != 0 || len(out.Outputs) != len(f.g.Actions) {
		t.Errorf("the next run: %+v", out)
	}
}

// TestDamagedInput: what a stage is about to read and is damaged is computed again
// first, once, and by that alone nothing else is.
func TestDamagedInput(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	whole := f.run(Options{})
	pretrained := whole.Outputs[f.action(stage.Pretrain).Name]
	// A bit flips, which a look-up does not see: nothing has to run.
	damage := func() {
		t.Helper()
		name := filepath.Join(f.s.Path(pretrained.ID), "weights")
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
	// Two evaluations, which read it at the same time.
	for _, a := range f.g.Actions {
		if a.Kind == stage.Evaluate {
			out := whole.Outputs[a.Name]
			if err := os.RemoveAll(filepath.Dir(f.s.Path(out.ID))); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := f.run(Options{Slots: 3})
	if n := f.w.stages(); n["pretrain"] != 1 || n["evaluate"] != 3 || len(out.Failures) != 0 {
		t.Errorf("ran %v, failures %v", n, out.Failures)
	}
	if !strings.Contains(f.log.String(), "damaged in the store; computing it again") || out.Outputs[f.action(stage.Pretrain).Name].ID != pretrained.ID {
		t.Errorf("the log says\n%s", f.log)
	}
	// If it comes out different, what reads it is not computed from a mixture.
	damage()
	for _, a := range f.g.Actions {
		if a.Kind == stage.Evaluate {
			if err := os.RemoveAll(filepath.Dir(f.s.Path(whole.Outputs[a.Name].ID))); err != nil {
				t.Fatal(err)
			}
		}
	}
	j, err := f.s.OpenJournal(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	got, err := Run(t.Context(), f.g, f.s, j, &other{&fake{}}, Options{Slots: 1, Backend: "xla:cpu"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Failures) == 0 || !strings.Contains(got.Failures[0].Err.Error(), "run again, so that what reads it is computed from the new one") {
		t.Errorf("an input that comes out different: %v", got.Failures)
	}
}

// other pretrains to other bytes.
type other struct{ *fake }

func (o *other) Do(ctx context.Context, t launch.Task, hint string, p func(launch.Progress)) (launch.Reply, error) {
	if t.Stage == string(stage.Pretrain) {
		t.Params = json.RawMessage(`{"drifted": true}`)
	}
	return o.fake.Do(ctx, t, hint, p)
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
	for _, want := range []string{"main.build()", "E1126 out of memory", "shapes differ", "needed by: pretrained@1, all data@1, dpo@1", "set model.shapes.layers 3", "backend xla:cpu"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the log lacks %q:\n%s", want, b)
		}
	}
	f.w.before = nil
	f.run(Options{})
	if left, err := os.ReadDir(filepath.Join(f.dir, "logs")); err != nil || len(left) != 0 {
		t.Errorf("after it succeeded: %v, %v", left, err)
	}
}

// TestRetry: an action whose worker died is tried once more, and one that failed is not.
func TestRetry(t *testing.T) {
	for class, want := range map[string]int{launch.ClassCrash: 2, launch.ClassFailed: 1, launch.ClassPanic: 1} {
		f := newFixture(t, "1", "\"pretrained\": set: finetune: method: \"none\"")
		f.w.before = func(launch.Task) error { return launch.WithClass(class, errors.New("gone")) }
		f.run(Options{})
		if n := f.w.stages()["pretrain"]; n != want {
			t.Errorf("%s: tried %d times, want %d", class, n, want)
		}
		events, _, err := store.ReadJournal(f.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range store.Attempts(events) {
			if a.Outcome != store.OutcomeFailed || len(a.Trial) != 64 || a.View != "pretrained@1" || a.Environment == "" {
				t.Errorf("the journal has %+v", a)
			}
		}
	}
}
