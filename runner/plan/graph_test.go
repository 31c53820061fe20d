package plan

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
	"ablate/runner/internal/byhand"
	"ablate/runner/internal/example"
	"ablate/runner/layout"
	"ablate/runner/store"
)

// ran is a store in which every action of a study has run, and the graph of the study.
type ran struct {
	s   *store.Store
	dir string // of results
	g   *layout.Graph
	v   []language.View
}

// lay loads a study and makes its graph.
func lay(t *testing.T, body string) (*layout.Graph, []language.View) {
	t.Helper()
	s := example.Study(t, body)
	g, err := layout.NewGraph(s, s.Views, layout.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	return g, s.Views
}

// runAll commits an artifact for every action of a study.
func runAll(t *testing.T, body string) *ran {
	t.Helper()
	r := &ran{}
	r.g, r.v = lay(t, body)
	var err error
	if r.s, err = store.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if r.dir, err = r.s.ClaimStudy("s", t.TempDir(), "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	outputs := map[*layout.Action]store.OutputID{}
	for _, a := range r.g.Actions {
		w, err := r.s.Begin(a.Key("xla:cpu", func(in *layout.Action) store.OutputID { return outputs[in] }))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.Dir(), "out"), a.Name[:], 0o666); err != nil {
			t.Fatal(err)
		}
		e, err := w.Commit(t.Context(), store.Commit{})
		if err != nil {
			t.Fatal(err)
		}
		outputs[a] = e.Output
	}
	return r
}

// plan plans another version of the study in the same store.
func (r *ran) plan(t *testing.T, g *layout.Graph, backend string) *Plan {
	t.Helper()
	p, err := New(g, r.s, r.dir, backend, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reasonsByStage gives, for each stage that runs, its distinct reasons.
func reasonsByStage(p *Plan) map[string][]string {
	out := map[string][]string{}
	for _, s := range p.Stages() {
		for _, r := range s.Reasons {
			out[s.Stage] = append(out[s.Stage], r.Text)
		}
	}
	return out
}

// TestReasons: a reason is the parameter that changed, at the first stage that reads it;
// later stages follow. Seeds and backends are named as such.
func TestReasons(t *testing.T) {
	const arms = "arms: {plain: set: {}}\n"
	r := runAll(t, "seeds: [1]\n"+arms)
	follow := []string{Follows}
	// after adds the stages that follow a changed model to the reasons of the stages
	// before it.
	after := func(want map[string][]string) map[string][]string {
		for _, stage := range []string{"draw", "judge", "score", "fidelity", "diversity", "distance"} {
			want[stage] = follow
		}
		return want
	}
	for name, c := range map[string]struct {
		body, backend string
		want          map[string][]string
	}{
		"nothing changed": {"seeds: [1]\n" + arms, "xla:cpu", map[string][]string{}},
		"fine-tuning": {"seeds: [1]\nbase: finetune: clip: 2\n" + arms, "xla:cpu",
			after(map[string][]string{"finetune": {"finetune.clip changed from 1 to 2"}})},
		"reward": {"seeds: [1]\nbase: reward: lambda: 0.75\n" + arms, "xla:cpu",
			after(map[string][]string{"reward": {"reward.lambda changed from 0.5 to 0.75"}, "assess": follow, "finetune": follow})},
		"labelled images": {"seeds: [1]\nbase: feedback: labelled: 500\n" + arms, "xla:cpu",
			after(map[string][]string{"prompts": {"feedback.labelled changed from 1000 to 500"}, "label": follow, "reward": follow, "assess": follow, "finetune": follow})},
	} {
		g, _ := lay(t, c.body)
		if d := cmp.Diff(c.want, reasonsByStage(r.plan(t, g, c.backend))); d != "" {
			t.Errorf("%s: mismatch (-want +got):\n%s", name, d)
		}
	}
	g, views := lay(t, "seeds: [1, 2]\n"+arms)
	p := r.plan(t, g, "xla:cpu")
	for stage, reasons := range reasonsByStage(p) {
		if reasons[0] != NewSeeds && reasons[0] != Follows {
			t.Errorf("%s of another seed runs because %q", stage, reasons)
		}
	}
	if got := p.SeedsOf(g, views); !slices.Equal(got, []string{"2"}) {
		t.Errorf("new seeds are %q", got)
	}
	other := reasonsByStage(r.plan(t, r.g, "xla:cuda"))
	if d := cmp.Diff([]string{`backend changed from xla:cpu to xla:cuda`}, other["pretrain"]); d != "" {
		t.Errorf("on another backend (-want +got):\n%s", d)
	}
	if empty, err := store.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	} else if p, err := New(r.g, empty, t.TempDir(), "xla:cpu", nil, ""); err != nil {
		t.Fatal(err)
	} else if got := reasonsByStage(p); !slices.Equal(got["pretrain"], []string{FirstOfKind}) || !slices.Equal(got["distance"], []string{FirstOfKind}) {
		t.Errorf("in an empty store: %v", got)
	}
}

// TestStages: stages are in the order of a trial, with the numbers of cached actions and
// of actions to run.
func TestStages(t *testing.T) {
	r := runAll(t, "seeds: [1]\narms: {plain: set: {}}")
	g, _ := lay(t, "seeds: [1]\narms: {clip: set: finetune: clip: 2, plain: set: {}}")
	var names []string
	stages := r.plan(t, g, "xla:cpu").Stages()
	for _, s := range stages {
		names = append(names, s.Stage)
		// Drawn at the end for two lists and along the way; judged, scored and measured twice.
		if want := map[string]int{"finetune": 1, "draw": 3, "judge": 2, "score": 2, "fidelity": 1, "diversity": 1, "distance": 2}[s.Stage]; s.Run != want || s.ToRun() != want || s.Cached == 0 {
			t.Errorf("%+v", s)
		}
		if s.Run > 0 && (!s.Rough || s.Bytes == 0) { // nothing of it was timed, and its artifacts have a size
			t.Errorf("%+v", s)
		}
	}
	if want := []string{"prompts", "pretrain", "embedder", "draw", "judge", "label", "reward", "score", "assess", "finetune", "fidelity", "diversity", "distance"}; !slices.Equal(names, want) {
		t.Errorf("stages %q, want %q", names, want)
	}
}

// TestWall: the time to expect is that of the longest chain, or of all work shared among
// the workers if that is longer.
func TestWall(t *testing.T) {
	a, b := byhand.Action("a", "", layout.Spec{Cost: 10}), byhand.Action("b", "", layout.Spec{Cost: 4})
	c := byhand.Action("c", "", layout.Spec{Cost: 5}, layout.Input{Name: "model", Action: a})
	there := byhand.Action("d", "", layout.Spec{Cost: 100})
	layout.Of(there, a, b, c)
	p := &Plan{Steps: []Step{{Action: there, State: Cached}, {Action: a, State: Run}, {Action: b, State: Retry}, {Action: c, State: Run}}}
	for workers, want := range map[int]float64{0: 19, 1: 19, 2: 15, 8: 15} {
		if got := p.Wall(workers); got != want {
			t.Errorf("%d workers: %v s, want %v", workers, got, want)
		}
	}
}

// TestExplain: a cached stage has its artifact; a stage to run has the nearest earlier
// action and the differences; a stage that waits names the inputs that it waits for.
func TestExplain(t *testing.T) {
	r := runAll(t, "seeds: [1]\narms: {plain: set: {}}")
	g, views := lay(t, "seeds: [1]\narms: {plain: set: finetune: clip: 2}")
	p := r.plan(t, g, "xla:cpu")
	list, err := p.Explain(g.Chains[views[0].Trial.ID()], r.s)
	if err != nil {
		t.Fatal(err)
	}
	byStage := map[string]Explanation{}
	for _, e := range list {
		byStage[e.Stage] = e // the last of the stage
	}
	if e := byStage["reward"]; e.State != Cached || e.Output == "" || e.Nearest != "" || !slices.Contains(e.Key, "stage reward") {
		t.Errorf("%+v", e)
	}
	e := byStage["finetune"]
	if d := cmp.Diff([]Difference{{Part: "finetune", Name: "clip", Old: "1", New: "2"}}, e.Changed); d != "" || e.State != Run || e.Action == "" || e.Nearest == "" {
		t.Errorf("%+v (-want +got):\n%s", e, d)
	}
	if e := byStage["distance"]; e.Action != "" || !slices.Contains(e.Key, "input of finetune, not there yet: tuned") || e.Reason != Follows {
		t.Errorf("%+v", e)
	}
}

// TestLost: an action whose result is damaged or gone runs again, and its reason says
// which of the two.
func TestLost(t *testing.T) {
	r := runAll(t, "seeds: [1]\narms: {plain: set: {}}")
	i := slices.IndexFunc(r.g.Actions, func(a *layout.Action) bool { return a.Kind == "pretrain" })
	e, err := r.s.Lookup(r.g.Actions[i].Key("xla:cpu", nil).ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.s.Path(e.Output), "out")); err != nil {
		t.Fatal(err)
	}
	p := r.plan(t, r.g, "xla:cpu")
	if got := p.Steps[i]; got.State != Run || got.Reason != "its result is damaged in the store" {
		t.Errorf("%s: %s", got.State, got.Reason)
	}
	// What was computed from it stays, as it does in a run.
	for _, s := range p.Steps {
		if s.Action.Kind == "draw" && s.State != Cached {
			t.Errorf("%+v", s)
		}
	}
}
