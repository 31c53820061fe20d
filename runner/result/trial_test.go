package result

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/analysis/table"
	"ablate/models/checkpoint"
	"ablate/models/train"
	"ablate/runner/device"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// measured is the result of a study of which the trial of the arm "tuned" has every
// artifact that tables are made from, and the other has none.
func measured(t *testing.T) (*Result, layout.Chain) {
	t.Helper()
	r := emptyOf(t, "seeds: [1]\narms: {plain: set: finetune: method: \"none\", tuned: set: {}}")
	c := r.Project.Graph.Chains[r.Project.Study.Views[1].Trial.ID()]
	write := func(role layout.Role, file string, do func(path string) error) {
		t.Helper()
		id := store.OutputID{byte(role) + 1}
		dir := r.Project.Store.Path(id)
		if err := errors.Join(os.MkdirAll(dir, 0o777), do(filepath.Join(dir, file))); err != nil {
			t.Fatal(err)
		}
		r.Found.Set(c.Action(role), lookup.Output{ID: id})
	}
	writeJSON := func(role layout.Role, file string, v any) {
		t.Helper()
		write(role, file, func(path string) error { return checkpoint.WriteJSON(path, v) })
	}
	text := func(role layout.Role, lines string) {
		t.Helper()
		write(role, "prompts.jsonl", func(path string) error { return os.WriteFile(path, []byte(lines), 0o666) })
	}
	scores := func(role layout.Role, of map[string][]float32) {
		t.Helper()
		tensors := map[string]checkpoint.Tensor{}
		for name, x := range of {
			tensors[name] = checkpoint.Floats(x, len(x))
		}
		write(role, "scores.safetensors", func(path string) error { return checkpoint.WriteFile(path, tensors) })
	}
	verdicts := func(step int, labels ...string) stage.VerdictSet {
		s := stage.VerdictSet{Step: step, Labels: labels}
		for i := range labels {
			s.Read = append(s.Read, fmt.Sprint("saw ", i))
		}
		return s
	}

	text(layout.AlignmentPrompts, `{"index":0,"prompt":"two circles","category":"count","split":"seen","seed":1}
{"index":1,"prompt":"red bars","category":"colour","split":"seen","seed":2}
{"index":2,"prompt":"blue bars","category":"colour","split":"seen","seed":3}
{"index":3,"prompt":"three bars","category":"count","split":"unseen","seed":4}
`)
	writeJSON(layout.AlignmentVerdicts, "verdicts.json", []stage.VerdictSet{verdicts(0, "good", "bad", "skip", "good")})
	scores(layout.AlignmentScores, map[string][]float32{"scores": {.5, .25, 1, .25}, "cosines": {.5, 0, -.25, .75}})
	writeJSON(layout.Fidelity, "metrics.json", []stage.MetricSet{{Metrics: []stage.Metric{{Name: "fidelity.recall", Value: .75, N: 2}, {Name: "fidelity.recall.real", Value: 1, N: 2}}}})
	writeJSON(layout.Diversity, "metrics.json", []stage.MetricSet{{Metrics: []stage.Metric{{Name: "diversity", Value: 1.5, N: 2}, {Name: "diversity.vendi", Value: 0, N: 0}}}})
	writeJSON(layout.Distance, "metrics.json", []stage.MetricSet{{Metrics: []stage.Metric{{Name: "distance.kl", Value: 3, N: 4}, {Name: "distance.gap", Value: .125, N: 8}}}})
	text(layout.FidelityPrompts, `{"index":0,"prompt":"one star","seed":1}
{"index":1,"prompt":"two stars","seed":2}
`)
	write(layout.FidelityImages, "images.safetensors", func(path string) error { return os.WriteFile(path, nil, 0o666) })

	curve := train.NewCurve("loss")
	curve.Steps, curve.Values = []int{2, 4}, [][]float64{{.5, .25}}
	writeJSON(layout.Finetune, "curves.json", curve)
	writeJSON(layout.BaseProbeVerdicts, "verdicts.json", []stage.VerdictSet{verdicts(0, "bad", "good", "skip", "bad")})
	writeJSON(layout.ProbeVerdicts, "verdicts.json", []stage.VerdictSet{verdicts(2, "good", "good", "bad", "bad"), verdicts(4, "good", "good", "good", "skip")})
	scores(layout.BaseProbeScores, map[string][]float32{"scores": {.25, .25, .5, 0}})
	scores(layout.ProbeScores, map[string][]float32{"scores 4": {1, 1, 1, 0}, "scores 2": {.5, .5, 1, 0}})
	writeJSON(layout.ProbeDistance, "metrics.json", []stage.MetricSet{
		{Step: 2, Metrics: []stage.Metric{{Name: "distance.kl", Value: 1, N: 4}, {Name: "distance.gap", Value: .5, N: 4}}},
		{Step: 4, Metrics: []stage.Metric{{Name: "distance.kl", Value: 2, N: 4}, {Name: "distance.gap", Value: .25, N: 4}}}})
	return r, c
}

// tables makes the tables from the current artifacts.
func (r *Result) tables(t *testing.T) *Tables {
	t.Helper()
	tables, err := NewTables(r.Project, r.Found)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// lines returns some columns of a table as text, one line per row, with a dash for null.
func lines(tab *table.Table, columns ...string) []string {
	var out []string
	for i := range tab.Rows() {
		var cells []string
		for _, name := range columns {
			c := tab.Column(name)
			if c.Has(i) {
				cells = append(cells, fmt.Sprint(c.Value(i)))
			} else {
				cells = append(cells, "-")
			}
		}
		out = append(out, strings.Join(cells, " "))
	}
	return out
}

// TestTrialRow: a trial's row has its metrics, each with its number of samples, and the
// ids of its artifacts. A trial without artifacts has null values.
func TestTrialRow(t *testing.T) {
	r, c := measured(t)
	trials := r.tables(t).Trials
	for name, want := range map[string]string{
		"alignment": "0.5 4", "alignment.seen": "0.3333333333333333 3", "alignment.unseen": "1 1",
		"alignment.count": "1 2", "alignment.count.seen": "1 1", "alignment.count.unseen": "1 1",
		"alignment.colour": "0 2", "alignment.colour.seen": "0 2", "alignment.colour.unseen": "- 0", "alignment.background": "- -",
		"skipped": "0.25 4", "proxy": "0.5 4", "embedder": "0.25 4",
		"fidelity.recall": "0.75 2", "fidelity.recall.real": "1 2", "fidelity.precision": "- -",
		"diversity": "1.5 2", "diversity.vendi": "- 0", "distance.kl": "3 4", "distance.gap": "0.125 8",
	} {
		if d := cmp.Diff([]string{"- -", want}, lines(trials, name, name+".n")); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for _, role := range layout.Roles() {
		a, want := c.Action(role), ""
		if a != nil {
			if out, ok := r.Found.Get(a); ok {
				want = out.ID.String()
			}
		}
		if col := trials.Column("artifact." + role.String()); col.Has(1) != (want != "") || col.Strings[1] != want {
			t.Errorf("%s has the artifact %q, want %q", role, col.Strings[1], want)
		}
	}
	// Metrics of one set of images do not depend on the metrics of another being there.
	for _, tc := range []struct {
		without layout.Role
		gone    []string
	}{
		{layout.AlignmentVerdicts, []string{"alignment", "skipped"}}, {layout.AlignmentPrompts, []string{"alignment", "skipped"}}, {layout.AlignmentScores, []string{"proxy", "embedder"}},
		{layout.Fidelity, []string{"fidelity.recall"}}, {layout.Diversity, []string{"diversity"}}, {layout.Distance, []string{"distance.kl", "distance.gap"}},
	} {
		r, c := measured(t)
		r.Found.Remove(c.Action(tc.without))
		trials := r.tables(t).Trials
		for _, name := range []string{"alignment", "skipped", "proxy", "embedder", "fidelity.recall", "diversity", "distance.kl", "distance.gap"} {
			if has, want := trials.Column(name).Has(1), !slices.Contains(tc.gone, name); has != want {
				t.Errorf("without %s it has %s: %v, want %v", tc.without, name, has, want)
			}
		}
	}
}

// TestSampleRows: samples.arrow has one row per image. Images of the study's prompts have
// category, verdict and scores; images of captions have none of these.
func TestSampleRows(t *testing.T) {
	columns := []string{"set", "index", "prompt", "category", "seen", "verdict", "read", "proxy", "embedder"}
	r, c := measured(t)
	captions := []string{"fidelity 0 one star - - - - - -", "fidelity 1 two stars - - - - - -"}
	if d := cmp.Diff(append([]string{
		"alignment 0 two circles count true good saw 0 0.5 0.5", "alignment 1 red bars colour true bad saw 1 0.25 0",
		"alignment 2 blue bars colour true skip saw 2 1 -0.25", "alignment 3 three bars count false good saw 3 0.25 0.75",
	}, captions...), lines(r.tables(t).Samples, columns...)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	r.Found.Remove(c.Action(layout.AlignmentScores))
	if d := cmp.Diff(append([]string{
		"alignment 0 two circles count true good saw 0 - -", "alignment 1 red bars colour true bad saw 1 - -",
		"alignment 2 blue bars colour true skip saw 2 - -", "alignment 3 three bars count false good saw 3 - -",
	}, captions...), lines(r.tables(t).Samples, columns...)); d != "" {
		t.Errorf("without scores (-want +got):\n%s", d)
	}
	r.Found.Remove(c.Action(layout.AlignmentVerdicts))
	if d := cmp.Diff(captions, lines(r.tables(t).Samples, columns...)); d != "" {
		t.Errorf("without verdicts (-want +got):\n%s", d)
	}
	r.Found.Remove(c.Action(layout.FidelityImages))
	if got := lines(r.tables(t).Samples, columns...); got != nil {
		t.Errorf("without images: %q", got)
	}
}

// TestProbeCurves: the curves of a fine-tuning begin with the pretrained model at step 0,
// which is at no distance from itself, and go on with each model that was kept.
func TestProbeCurves(t *testing.T) {
	r, c := measured(t)
	curves := func() []string {
		got := lines(r.tables(t).Curves, "stage", "step", "metric", "value")
		slices.Sort(got)
		return got
	}
	if d := cmp.Diff([]string{
		"finetune 0 denoising gap 0", "finetune 0 gold 0.25", "finetune 0 kl 0", "finetune 0 proxy 0.25",
		"finetune 2 denoising gap 0.5", "finetune 2 gold 0.5", "finetune 2 kl 1", "finetune 2 loss 0.5", "finetune 2 proxy 0.5",
		"finetune 4 denoising gap 0.25", "finetune 4 gold 0.75", "finetune 4 kl 2", "finetune 4 loss 0.25", "finetune 4 proxy 0.75",
	}, curves()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, role := range []layout.Role{layout.BaseProbeVerdicts, layout.ProbeVerdicts, layout.BaseProbeScores, layout.ProbeScores, layout.ProbeDistance} {
		r.Found.Remove(c.Action(role))
	}
	if d := cmp.Diff([]string{"finetune 2 loss 0.5", "finetune 4 loss 0.25"}, curves()); d != "" {
		t.Errorf("without probes (-want +got):\n%s", d)
	}
}

// TestIncomplete: a run that lacks one of its results is incomplete. The inputs of its
// results need not be there.
func TestIncomplete(t *testing.T) {
	for _, without := range layout.Results() {
		r, c := measured(t)
		assessment := c.Action(layout.Assessment)
		r.Found.Set(assessment, lookup.Output{ID: store.OutputID{99}})
		if got := r.Incomplete(); !slices.Equal(got, []string{"plain@1"}) {
			t.Errorf("of a whole run: incomplete are %q", got)
		}
		r.Found.Remove(c.Action(without))
		if got := r.Incomplete(); !slices.Equal(got, []string{"plain@1", "tuned@1"}) {
			t.Errorf("without %s: incomplete are %q", without, got)
		}
	}
}

// TestDamagedPrompts: if the prompts of the alignment images are damaged, every run is
// reported as damaged, and none is complete.
func TestDamagedPrompts(t *testing.T) {
	r, c := measured(t)
	p := r.Project
	prompts := c.Action(layout.AlignmentPrompts)
	if _, err := p.Claim(device.CPU); err != nil {
		t.Fatal(err)
	}
	w, err := p.Store.Begin(prompts.Key(device.CPU, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.Dir(), "prompts.jsonl"), []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	e, err := w.Commit(t.Context(), store.Commit{})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(p.Store.Path(e.Output), "prompts.jsonl")
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("[]\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if p.Store, err = store.Open(p.Store.Dir()); err != nil { // a later process, which trusts nothing yet
		t.Fatal(err)
	}
	if r, err = Gather(t.Context(), p, device.CPU); err != nil {
		t.Fatal(err)
	}
	if got := r.damagedViews(); len(got) != 2 || r.Damage() == nil {
		t.Errorf("damaged are %v, %v", got, r.Damage())
	}
	for _, role := range layout.Results() {
		r.Found.Set(c.Action(role), lookup.Output{ID: store.OutputID{99}})
	}
	if r.Complete(c) {
		t.Error("a run is complete with damaged prompts")
	}
}
