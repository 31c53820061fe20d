package export

import (
	"os"
	"path/filepath"
	"testing"

	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// chain is that of a trial with a model, and with an embedder if that is not nil.
func chain(model, embedder *layout.Action) layout.Chain {
	c := layout.Chain{{Role: layout.Model, Action: model}}
	if embedder != nil {
		c = append(c, layout.Part{Role: layout.Embedder, Action: embedder})
	}
	return c
}

// TestEmbedderOf: a model's embedder is that of its own trial, of another trial with
// the same model, or part of the adopted checkpoint.
func TestEmbedderOf(t *testing.T) {
	model, other := &layout.Action{Spec: &layout.Spec{Kind: stage.Pretrain}}, &layout.Action{Spec: &layout.Spec{Kind: stage.Pretrain}}
	adopted, mine, theirs := &layout.Action{Spec: &layout.Spec{Kind: stage.Adopt}}, &layout.Action{Spec: &layout.Spec{Kind: stage.Embed}}, &layout.Action{Spec: &layout.Spec{Kind: stage.Embed}}
	g := &layout.Graph{Chains: map[language.ID]layout.Chain{{1}: chain(model, theirs), {2}: chain(other, nil)}}
	for _, c := range []struct {
		name  string
		chain layout.Chain
		want  *layout.Action
	}{
		{"its own", chain(model, mine), mine},
		{"of another trial", chain(model, nil), theirs},
		{"none", chain(other, nil), nil},
		{"adopted", chain(adopted, nil), adopted},
	} {
		if got := embedderOf(g, c.chain); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestWriteKeeps: a folder that is not empty is not overwritten.
func TestWriteKeeps(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), project.Project{}, "go", language.View{}, dir); err == nil {
		t.Error("no error")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v (%v)", entries, err)
	}
}

// TestCopyFiles: files that are missing are left out, and folders are made.
func TestCopyFiles(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "new")
	if err := os.Mkdir(filepath.Join(from, "a"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "a", "b"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := copyFiles(from, to, []string{"a/b", "c"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "a", "b")); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(to, "c")); err == nil {
		t.Error("a missing file was made")
	}
}
