package stage

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/models/checkpoint"
	"ablate/models/finetune"
	"ablate/runner/engine"
	"ablate/runner/launch"
)

func scored(prompt string, score float64) engine.Row {
	return engine.Row{Prompt: prompt, Score: &score}
}

// TestPreferences: a pair is the best and the worst image of a prompt whose scores differ.
func TestPreferences(t *testing.T) {
	rows := []engine.Row{scored("a", .5), scored("b", .2), scored("a", .9), scored("c", 1), scored("a", .1), scored("b", .2), scored("c", 0)}
	var got [][3]any
	for i, r := range preferences(rows) {
		if r.Index != i || *r.Weight != 1 {
			t.Errorf("%+v", r)
		}
		got = append(got, [3]any{r.Prompt, *r.Better, *r.Worse})
	}
	if d := cmp.Diff([][3]any{{"a", 2, 4}, {"c", 3, 6}}, got); d != "" {
		t.Errorf("pairs (-want +got):\n%s", d)
	}
}

// TestFilteredRows: an engine is given the images that the method "filtered" keeps.
func TestFilteredRows(t *testing.T) {
	rows := []engine.Row{scored("a", .5), scored("b", .2), scored("c", .9), scored("d", .5)}
	for _, tc := range []struct {
		f    finetune.Filter
		want string
	}{
		{finetune.Filter{By: "fraction", Fraction: .25}, "c"}, {finetune.Filter{By: "fraction", Fraction: .5}, "acd"}, {finetune.Filter{By: "threshold", Threshold: .5}, "acd"},
	} {
		kept, err := filtered(slices.Clone(rows), tc.f)
		got := ""
		for _, r := range kept {
			got += r.Prompt
		}
		if err != nil || got != tc.want {
			t.Errorf("%+v keeps %q, want %q; %v", tc.f, got, tc.want, err)
		}
	}
	if _, err := filtered(rows, finetune.Filter{By: "threshold", Threshold: 1}); !errors.Is(err, finetune.ErrNothing) {
		t.Error(err)
	}
}

// TestCandidates: candidates of best of n have seeds of their own, the first those of the list.
func TestCandidates(t *testing.T) {
	prompts := []Prompt{{Index: 0, Prompt: "a", Seed: 5}, {Index: 1, Prompt: "b", Seed: 6}}
	seen := map[int64]bool{}
	for k := range 3 {
		for i, r := range promptRows(prompts, k) {
			if seen[r.Seed] || r.Seed < 1 || k == 0 && r.Seed != prompts[i].Seed {
				t.Errorf("candidate %d: row %d has seed %d", k, i, r.Seed)
			}
			seen[r.Seed] = true
		}
	}
}

// TestShards: tasks have the rows in their order, each once; rows that are computed together
// are one task.
func TestShards(t *testing.T) {
	rows := make([]engine.Row, 7)
	for _, tc := range []struct {
		v    engine.Verb
		want []int
	}{{engine.Verb{Shard: 3}, []int{3, 3, 1}}, {engine.Verb{Shard: 7}, []int{7}}, {engine.Verb{Shard: 3, Rows: "together"}, []int{7}}} {
		var got []int
		next := 0
		for from, part := range shards(rows, &tc.v) {
			if from != next {
				t.Errorf("a task begins at row %d, want %d", from, next)
			}
			got, next = append(got, len(part)), from+len(part)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("tasks of %v rows, want %v", got, tc.want)
		}
	}
}

// TestCallLines: each parameter of an engine has a line of its own in the key, a whole number
// stays one, and what only records or finds the program has none.
func TestCallLines(t *testing.T) {
	p := EngineTrainParams{Call: Call{Engine: "e", Revision: 2, Source: "s", Params: `{"lora.rank":4,"name":"x","rate":0.5,"truth":true}`, Recorded: `{"workers":3}`, Program: "id"}, Seed: 7, Keep: "5 10"}
	want := []string{`engine "e"`, "engine.revision 2", `engine.source "s"`, `keep "5 10"`, "params.lora.rank 4", `params.name "x"`, "params.rate 0.5", "params.truth true", "seed.feedback 7"}
	if d := cmp.Diff(want, Lines(p)); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	got, err := p.params()
	if d := cmp.Diff(map[string]any{"lora.rank": int64(4), "name": "x", "rate": .5, "truth": true, "workers": int64(3)}, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if EngineOf(p) != "e" || EngineOf(DrawParams{}) != "" {
		t.Error("the engine of a stage is another")
	}
}

// TestClassed: the failure of a program has a class of runner/failure.
func TestClassed(t *testing.T) {
	for want, e := range map[string]*engine.TaskError{
		"out of memory": {Status: engine.Failed, Class: engine.Memory}, "lost": {Status: engine.Failed, Class: engine.Device}, "hung": {Status: engine.Failed, Class: engine.Silent},
		"disk full": {Status: engine.Failed, Class: engine.Disk}, "crash": {Status: engine.Failed, Class: engine.Program}, "diverged": {Status: engine.Diverged}, "error": {Status: engine.Refused},
	} {
		if got := launch.Class(classed(e)); got != want {
			t.Errorf("%+v has class %q, want %q", e, got, want)
		}
	}
	if got := launch.Class(classed(&engine.TaskError{Status: engine.Failed, Class: engine.Contract})); got != "error" {
		t.Errorf("outputs that are not whole have class %q", got)
	}
}

// TestResemblance: the floor is the second half of the real images against the first, and
// generated images are compared with the first half alone. A Fréchet distance of two samples
// of normal features that differ by a shift is the squared shift.
func TestResemblance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	write := func(n int, shift float64) string {
		t.Helper()
		dir := t.TempDir()
		x := make([]float32, 3*n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
			if i%3 == 0 {
				x[i] += float32(shift)
			}
		}
		if err := checkpoint.WriteFile(filepath.Join(dir, featuresFile), map[string]checkpoint.Tensor{featuresName: checkpoint.Floats(x, n, 3)}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	run := func(generated, real string) (map[string]Metric, error) {
		out := t.TempDir()
		if err := Run(t.Context(), NewEnv(nil), Task{Kind: Resemblance, Params: []byte(`{"images": 1}`), Inputs: map[string]string{FeaturesInput: generated, ReferenceInput: real}, Out: out}, nil); err != nil {
			return nil, err
		}
		s, err := Only(ReadMetrics(out))
		values := map[string]Metric{}
		for _, m := range s.Metrics {
			values[m.Name] = m
		}
		return values, err
	}
	real := write(4000, 0)
	values, err := run(write(3000, 3), real)
	if err != nil {
		t.Fatal(err)
	}
	if m := values["fidelity.frechet"]; math.Abs(m.Value-9) > .5 || m.N != 2000 {
		t.Errorf("Fréchet distance %+v, want 9 over 2000 images", m)
	}
	if m := values["fidelity.frechet.real"]; m.Value > .05 {
		t.Errorf("its floor is %+v", m)
	}
	if m := values["fidelity.precision.real"]; m.Value < .9 {
		t.Errorf("precision of real images %+v", m)
	}
	if _, err := run(write(10, 0), write(3, 0)); err == nil || !strings.Contains(err.Error(), "3 real images have no two halves") {
		t.Error(err)
	}
}
