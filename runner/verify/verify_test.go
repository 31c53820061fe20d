package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/failure"
	"ablate/runner/internal/example"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/resource"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// fake is a worker that writes the same bytes for the same task.
type fake struct {
	drifted stage.Kind // gives other bytes than before
	broken  stage.Kind // fails
	slow    bool       // it does nothing until it is stopped

	mu    sync.Mutex
	tasks []launch.Task
}

func (f *fake) Do(ctx context.Context, t launch.Task, _ resource.Grant, _ string, progress func(launch.Progress)) (launch.Reply, error) {
	f.mu.Lock()
	f.tasks = append(f.tasks, t)
	f.mu.Unlock()
	progress(launch.Progress{Step: 1})
	if f.slow {
		<-ctx.Done()
		return launch.Reply{}, context.Cause(ctx)
	}
	if t.Stage == string(f.broken) {
		return launch.Reply{}, errors.New("it broke")
	}
	text := fmt.Sprintf("%s %s", t.Stage, t.Params)
	for _, name := range slices.Sorted(maps.Keys(t.Inputs)) {
		b, err := os.ReadFile(filepath.Join(t.Inputs[name], "out"))
		if err != nil {
			return launch.Reply{}, err
		}
		text += fmt.Sprintf(" %s %d", name, len(b))
	}
	weights := ""
	if t.Stage == string(f.drifted) {
		weights = "drifted"
	}
	for name, data := range map[string]string{"out": text, "weights": weights} {
		if err := os.WriteFile(filepath.Join(t.Out, name), []byte(data), 0o666); err != nil {
			return launch.Reply{}, err
		}
	}
	manifest, err := store.Written(ctx, t.Out)
	if err != nil {
		return launch.Reply{}, err
	}
	values, err := json.Marshal(run.Made{Manifest: manifest})
	return launch.Reply{Values: values}, err
}

const here = "backend xla:cpu\n"

var machine = run.Machine{Environment: here}

// alone is the need of each action: one CPU.
func alone(*layout.Action) resource.Need { return resource.Need{} }

// fixture is a study whose actions all have results.
func fixture(t *testing.T) (*layout.Graph, *store.Store) {
	t.Helper()
	study := example.Study(t, "seeds: [1, 2]\narms: {\"pretrained\": set: finetune: method: \"none\", \"all data\": set: {}}")
	g, err := layout.NewGraph(study, study.Views, layout.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(filepath.Join(study.Root, ".ablate"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.ClaimStudy(study.Name, study.Root, "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	out, err := run.Run(t.Context(), g, s, j, &fake{}, run.Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 2}), Backend: "xla:cpu", Machine: run.Machine{Environment: here}})
	if err != nil || out.Outputs.Len() != len(g.Actions) {
		t.Fatalf("%d outputs, %v", out.Outputs.Len(), err)
	}
	// As a later process, which trusts nothing.
	if s, err = store.Open(s.Dir()); err != nil {
		t.Fatal(err)
	}
	return g, s
}

// verification returns a verification whose artifacts were checked.
func verification(t *testing.T, g *layout.Graph, s *store.Store) *Verification {
	t.Helper()
	found, err := lookup.Collect(g, s, "xla:cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	v := New(g, s, found)
	if err := v.Check(t.Context(), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	return v
}

// recompute computes a sample again and returns the events by kind.
func recompute(t *testing.T, v *Verification, sample []*layout.Action, w *fake, timeout time.Duration) map[run.EventKind]int {
	t.Helper()
	var mu sync.Mutex
	n := map[run.EventKind]int{}
	if err := v.Recompute(t.Context(), sample, w, Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 2}), Need: alone, Timeout: timeout, Backend: "xla:cpu", Events: func(e run.Event) {
		mu.Lock()
		defer mu.Unlock()
		n[e.Kind]++
	}}); err != nil {
		t.Fatal(err)
	}
	return n
}

// files returns all files of a store with their times and sizes.
func files(t *testing.T, s *store.Store) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(s.Dir(), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, err := d.Info()
			all = append(all, fmt.Sprint(p, info.ModTime(), info.Size()))
			return err
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func label(stage, trial string) string { return stage + " " + trial }

func TestVerify(t *testing.T) {
	g, s := fixture(t)
	before := files(t, s)
	v := verification(t, g, s)
	all := v.Select(machine, alone, Selection{All: true})
	w := &fake{}
	events := recompute(t, v, all, w, 0)
	if n := len(g.Actions); v.Recomputed != n || len(all) != n || v.Checked == 0 || v.Elsewhere+v.Missing+len(v.Different)+len(v.Damaged)+len(v.Failed) > 0 ||
		events[run.Started] != n || events[run.Finished] != n {
		t.Errorf("got %+v, events %v", v.Result, events)
	}
	for _, task := range w.tasks {
		if task.State != "" {
			t.Errorf("%s would go on from a state", task.Stage)
		}
	}

	// Other bytes are named, and failures; nothing is replaced.
	v = verification(t, g, s)
	events = recompute(t, v, v.Select(machine, alone, Selection{All: true}), &fake{drifted: "judge", broken: "distance"}, 0)
	want := 0
	for _, a := range g.Actions {
		if a.Kind == "judge" {
			want++
		}
	}
	if len(v.Different) != want || want == 0 || len(v.Failed) == 0 || v.Recomputed != len(g.Actions)-want-len(v.Failed) || events[run.Failed] != want+len(v.Failed) {
		t.Errorf("got %+v, want %d different", v.Result, want)
	}
	for _, d := range v.Different {
		if d.Stage != "judge" || d.Trial == "" || d.Difference != "weights differs" {
			t.Errorf("difference %+v", d)
		}
	}
	for _, f := range v.Failed {
		if f.Stage != "distance" || f.Error != "it broke" {
			t.Errorf("failure %+v", f)
		}
	}
	if d := cmp.Diff(before, files(t, s)); d != "" {
		t.Errorf("the store changed:\n%s", d)
	}
}

// TestSelect: a sample is chosen by its seed, among the actions of this environment.
func TestSelect(t *testing.T) {
	g, s := fixture(t)
	names := func(sel Selection) (out []string) {
		for _, a := range verification(t, g, s).Select(machine, alone, sel) {
			out = append(out, a.Name.String())
		}
		return out
	}
	a, b, c := names(Selection{Sample: 5, Seed: 1}), names(Selection{Sample: 5, Seed: 1}), names(Selection{Sample: 5, Seed: 2})
	if len(a) != 5 || !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Errorf("samples %v, %v, %v", a, b, c)
	}
	if n := len(names(Selection{Sample: 1000})); n != len(g.Actions) {
		t.Errorf("a large sample has %d of %d actions", n, len(g.Actions))
	}
	v := verification(t, g, s)
	if got := v.Select(run.Machine{Environment: "another"}, alone, Selection{All: true}); got != nil || v.Elsewhere != len(g.Actions) {
		t.Errorf("another environment: %d actions, %d elsewhere", len(got), v.Elsewhere)
	}
}

// TestDamaged: damaged artifacts are moved to quarantine, and what is or reads them is not
// computed again.
func TestDamaged(t *testing.T) {
	g, s := fixture(t)
	found, err := lookup.Collect(g, s, "xla:cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(g.Actions, func(a *layout.Action) bool { return a.Kind == "judge" })
	a := g.Actions[i]
	file := filepath.Join(s.Path(found.ID(a)), "out")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := errors.Join(os.Chmod(file, 0o666), os.WriteFile(file, b, 0o666)); err != nil {
		t.Fatal(err)
	}
	v := verification(t, g, s)
	if len(v.Damaged) != 1 || label(v.Damaged[0].Stage, v.Damaged[0].Trial) != label("judge", a.Rows()) || !strings.Contains(v.Damaged[0].Error, "out differs (moved to ") {
		t.Fatalf("damaged: %+v", v.Damaged)
	}
	sample := v.Select(machine, alone, Selection{All: true})
	recompute(t, v, sample, &fake{}, 0)
	skipped := 0
	for _, b := range g.Actions {
		if found.ID(b) == found.ID(a) || slices.ContainsFunc(b.Inputs, func(in *layout.Action) bool { return found.ID(in) == found.ID(a) }) {
			skipped++
		}
	}
	if skipped < 2 || v.Recomputed != len(g.Actions)-skipped || len(v.Failed)+len(v.Different) > 0 {
		t.Errorf("got %+v, want %d left out", v.Result, skipped)
	}
}

// TestTimeout: an action that takes too long has failed; one that is interrupted stops
// everything.
func TestTimeout(t *testing.T) {
	g, s := fixture(t)
	v := verification(t, g, s)
	recompute(t, v, v.Select(machine, alone, Selection{Sample: 2}), &fake{slow: true}, 10*time.Millisecond)
	if len(v.Failed) != 2 || !strings.Contains(v.Failed[0].Error, failure.TimeoutError{Limit: 10 * time.Millisecond}.Error()) {
		t.Errorf("got %+v", v.Result)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := v.Recompute(ctx, v.Select(machine, alone, Selection{Sample: 2}), &fake{slow: true}, Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 1}), Need: alone, Backend: "xla:cpu", Events: func(e run.Event) { cancel(stop) }})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
