package stage

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTable: each stage has exactly one complete Def.
func TestTable(t *testing.T) {
	seen := map[Kind]bool{}
	for _, d := range table {
		if d.Kind == "" || seen[d.Kind] {
			t.Errorf("%q has two rows, or none of its own", d.Kind)
		}
		seen[d.Kind] = true
		if d.Revision < 1 || d.run == nil || d.params == nil || len(d.Files) == 0 {
			t.Errorf("%s: its row is incomplete: %+v", d.Kind, d)
		}
		if d.Trains && (!d.Backend || !d.Curve()) {
			t.Errorf("%s trains: it needs a backend, and leaves a curve", d.Kind)
		}
		if Cost(d.params) < 0 || Memory(d.params) < 0 {
			t.Errorf("%s: its estimates are negative", d.Kind)
		}
		var names []string
		for _, in := range d.Inputs {
			names = append(names, in.Name)
		}
		for _, f := range d.Files {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%s names an input or a file twice: %q", d.Kind, names)
		}
	}
	if unknown := Kind("later").Def(); unknown.run != nil || unknown.Revision != 0 || unknown.Kind != "later" {
		t.Errorf("an unknown kind has the row %+v", unknown)
	}
	if got := Kinds(); !slices.Equal(got[:2], []Kind{Prompts, Pretrain}) || len(got) != len(table) {
		t.Errorf("people see %q", got)
	}
}

// TestTabled: the files that tables are made from, and no others.
func TestTabled(t *testing.T) {
	for kind, want := range map[Kind]string{
		Pretrain: "curves.json", Adopt: "", Prompts: "prompts.jsonl", Draw: "", Judge: "verdicts.json", Label: "labels.json", Score: "scores.safetensors", Oracle: "",
		Assess: "assess.json", Finetune: "curves.json", Select: "", Fidelity: "metrics.json", Diversity: "metrics.json", Distance: "metrics.json",
	} {
		var got []string
		for _, f := range kind.Def().Files {
			if kind.Def().Tabled(f.Name) {
				got = append(got, f.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

// TestInputs: a task with a missing input, or with one that its stage does not read, is
// an error before anything is computed.
func TestInputs(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		inputs map[string]string
		want   string
	}{
		{Label, nil, `label: the task has no artifact for the input "prompts"`},
		{Label, map[string]string{"prompts": ""}, `label: the task has no artifact for the input "prompts"`},
		{Label, map[string]string{"prompts": "a", "verdicts": "b", "labels": "c"}, `label: unknown input "labels"; the stage reads "prompts", "verdicts"`},
		{Select, map[string]string{"images 0": "a", "scores 0": "b", "images 2": "c"}, `select: the task has the input "images 2" and not "images 1"`},
		{Select, map[string]string{"images": "a", "scores 0": "b"}, `select: the task has no artifact for the input "images 0"`},
		{Select, map[string]string{"images 0": "a", "scores 0": "b", "scores 01": "c"}, `select: unknown input "scores 01"`},
		{Pretrain, map[string]string{"model": "a"}, `pretrain: unknown input "model"; the stage reads nothing`},
		{Score, map[string]string{"images": "a", "reward": "b"}, `score: the task has no artifact for the input "prompts"`},
		{Score, map[string]string{"images": "a", "prompts": "b", "reward": "c"}, `score: the task has no reward with its embedder`},
		{"later", nil, `unknown stage "later"`},
	} {
		if err := Run(t.Context(), NewEnv(nil), Task{Kind: c.kind, Params: []byte("{}"), Inputs: c.inputs, Out: t.TempDir()}, nil); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s with %v: error %v, want %q", c.kind, c.inputs, err, c.want)
		}
	}
	if err := Finetune.Def().checkInputs(map[string]string{"model": "a", "labelled scores": "b"}); err != nil {
		t.Errorf("optional inputs: %v", err)
	}
}

// TestFiles: an artifact must have exactly the files of its Def.
func TestFiles(t *testing.T) {
	dir, d := t.TempDir(), Finetune.Def()
	write := func(name string) {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	write("curves.json")
	if err := d.checkFiles(dir); err == nil || !strings.Contains(err.Error(), "did not write") || !strings.Contains(err.Error(), "checkpoint.json") {
		t.Errorf("a missing file: %v", err)
	}
	write("checkpoint.json")
	write("steps/100/transformer/" + denoiserFile) // of a step that no row can name
	if err := d.checkFiles(dir); err != nil {
		t.Error(err)
	}
	write("steps/100/more.json")
	if err := d.checkFiles(dir); err == nil || !strings.Contains(err.Error(), "wrote steps/100/more.json") {
		t.Errorf("a file too many: %v", err)
	}
}
