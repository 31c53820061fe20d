package module

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"ablate/experiments/language"
	"ablate/experiments/schema"
)

// TestMake: a new module has a study that loads; made again, only its copy of the
// schema is renewed, and files that the schema no longer has are gone.
func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	example, err := Make(dir, "example.com/studies")
	if err != nil || example != filepath.Join(dir, "first", "study.cue") {
		t.Fatalf("example %q, error %v", example, err)
	}
	s, err := language.Load(filepath.Dir(example), language.Options{})
	if err != nil || len(s.Notes) > 0 || len(s.Views) == 0 {
		t.Errorf("the example study: %v, notes %q", err, s.Notes)
	}
	mine := []byte("package first\n")
	stale := filepath.Join(dir, "cue.mod", "pkg", filepath.FromSlash(schema.ImportPath), "old.cue")
	for _, name := range []string{example, stale} {
		if err := os.WriteFile(name, mine, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := Make(dir, "example.com/other"); again != "" || err != nil {
		t.Errorf("again: %q, %v", again, err)
	}
	if b, err := os.ReadFile(example); err != nil || string(b) != string(mine) {
		t.Errorf("the study is %q now (%v)", b, err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of an older schema stays: %v", err)
	}
}

// TestMakeKeeps: a study that is there is not overwritten.
func TestMakeKeeps(t *testing.T) {
	dir := t.TempDir()
	if err := write(filepath.Join(dir, "first", "study.cue"), []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(dir, "example.com/studies"); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(filepath.Join(dir, "cue.mod")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has made a module all the same: %v", err)
	}
}

func TestValidPath(t *testing.T) {
	for path, want := range map[string]bool{"example.com/studies": true, "a.b": true, "studies": false, "Example.com/x": false, "example.com/": false, "": false} {
		if got := ValidPath(path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}
