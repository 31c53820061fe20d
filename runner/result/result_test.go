package result

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/gate"
	"ablate/analysis/table"
	"ablate/runner/device"
	"ablate/runner/internal/example"
	"ablate/runner/lookup"
	"ablate/runner/project"
	"ablate/runner/store"
)

// empty is the result of a study of which the store has nothing.
func empty(t *testing.T) *Result {
	t.Helper()
	return emptyOf(t, "seeds: [1, 2]\narms: {plain: set: {}, beta: {sweep: \"finetune.beta\": [0, 0.25], seeds: [1]}}\ngate: alignment: absolute: 0.1")
}

// emptyOf is that of the study with some fields.
func emptyOf(t *testing.T, body string) *Result {
	t.Helper()
	s := example.Study(t, body)
	p, err := project.Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.LayOut(t.Context(), s.Views); err != nil {
		t.Fatal(err)
	}
	r, err := Gather(t.Context(), p, device.CPU)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGather: a study that never ran has every table, and all of its runs are missing.
func TestGather(t *testing.T) {
	r := empty(t)
	for _, name := range Names {
		if r.Named(name) == nil {
			t.Errorf("there is no table %s", name)
		}
	}
	want := []string{"plain@1", "plain@2", "beta[finetune.beta=0]@1", "beta[finetune.beta=0.25]@1"}
	if d := cmp.Diff(want, r.Incomplete()); d != "" {
		t.Error(d)
	}
	if err := r.Damage(); err != nil {
		t.Errorf("damage in an empty store: %v", err)
	}
	if _, err := os.Stat(r.Project.Store.Dir()); err == nil {
		t.Error("reading has made the store")
	}
}

// TestDamage: the error has the number of damaged artifacts and the command that computes
// them again.
func TestDamage(t *testing.T) {
	r := empty(t)
	r.Found.Damaged = make([]lookup.Damage, 2)
	if err := r.Damage(); err == nil || !strings.Contains(err.Error(), "2 artifacts are damaged") || !strings.Contains(err.Error(), "'ablate run mine'") {
		t.Errorf("error %v", err)
	}
}

// TestLost: an output that a run has made and that is not there any more is an error.
func TestLost(t *testing.T) {
	r := empty(t)
	a := r.Project.Graph.Actions[0]
	made := lookup.NewOutputs(r.Project.Graph)
	made.Set(a, lookup.Output{ID: store.OutputID{1}})
	if err := r.Lost(made); err == nil || !strings.Contains(err.Error(), a.Label()) {
		t.Errorf("missing: %v", err)
	}
	r.Found.Set(a, lookup.Output{ID: store.OutputID{2}})
	if err := r.Lost(made); err == nil {
		t.Error("another output is not noticed")
	}
	r.Found.Set(a, lookup.Output{ID: store.OutputID{1}})
	if err := r.Lost(made); err != nil {
		t.Errorf("it is there: %v", err)
	}
}

// TestWriteTables: every table is written into the folder of results.
func TestWriteTables(t *testing.T) {
	r := empty(t)
	var err error
	if r.Project, err = r.Project.Claim(r.Class); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteTables(); err != nil {
		t.Fatal(err)
	}
	for _, name := range Names {
		got, err := table.ReadFile(filepath.Join(r.Project.Dir, name+".arrow"))
		if err != nil || got.Rows() != r.Named(name).Rows() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOptions: rows that only the baseline has can be selected, and the tolerances are
// the study's.
func TestOptions(t *testing.T) {
	r := empty(t)
	b := &gate.Baseline{Rows: []gate.BaselineRow{{Arm: "dropped", Row: "dropped"}, {Arm: "beta", Row: "beta[finetune.beta=7]"}}}
	o, err := r.options(b, Scope{Only: []string{"beta[0]", "d*", "beta[finetune.beta=7]"}, Seeds: []string{"1"}, AllowRemoved: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"beta[finetune.beta=0]", "dropped", "beta[finetune.beta=7]"}, o.Only); d != "" {
		t.Error(d)
	}
	if len(o.Tolerances) != 1 || o.Tolerances[0].Metric != "alignment" || *o.Tolerances[0].Absolute != 0.1 || !o.AllowRemoved || o.Made.Backend != device.CPU {
		t.Errorf("options %+v", o)
	}
	if _, err := r.options(b, Scope{Only: []string{"none"}}); err == nil || !strings.Contains(err.Error(), `has no arm "none"; its arms are plain, beta, dropped`) {
		t.Errorf("an unknown arm: %v", err)
	}
}

// TestMade: a baseline describes the environment that computed its results, even if
// another study, or another checkout of the same study, ran it. Failed attempts and other
// results are left out.
func TestMade(t *testing.T) {
	r := empty(t)
	here, action := r.Project, r.Project.Graph.Actions[0]
	id := action.Key(r.Class, nil).ID()
	dir, err := here.Store.ClaimStudy("mine", t.TempDir(), r.Class)
	if err != nil {
		t.Fatal(err)
	}
	j, err := here.Store.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	output := store.OutputID{1}
	for i, e := range []store.Event{
		{Kind: store.Failed, Versions: "failed", CPU: "failed"},
		{Kind: store.Finished, Output: store.OutputID{2}.String(), Versions: "rejected", CPU: "rejected"},
		{Kind: store.Finished, Output: output.String(), Versions: "ablate 1", CPU: "a processor"},
	} {
		e.Action, e.Time = id, time.Unix(int64(100+i), 0)
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	r.Found.Set(action, lookup.Output{ID: output, Action: id})
	if r.Computed, err = computed(here.Store, r.Found); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(gate.Made{Backend: r.Class, Versions: []string{"ablate 1"}, CPUs: []string{"a processor"}}, r.made()); d != "" {
		t.Error(d)
	}
}

// TestReadBaseline: every error names the file.
func TestReadBaseline(t *testing.T) {
	name := filepath.Join(t.TempDir(), "b.json")
	if _, err := ReadBaseline(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(name, []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadBaseline(name); err == nil || !strings.Contains(err.Error(), "baseline "+name) {
		t.Errorf("no baseline: %v", err)
	}
}
