package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tb has the methods of a test that the store's tests use; tests of the package rapid
// have them too.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// scratch returns a folder in memory if possible, because on a disk these tests would
// mostly wait for syncs.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store-test-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// open opens a store in dir.
func open(t tb, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write writes files into a folder.
func write(t tb, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o777), os.WriteFile(p, []byte(data), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
}

// put commits files under key.
func put(t tb, s *Store, key Key, files map[string]string) (Entry, error) {
	t.Helper()
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	return w.Commit(context.Background(), Commit{})
}

// read returns the files of a folder.
func read(t tb, dir string) map[string]string {
	t.Helper()
	m, err := list(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range m {
		data, err := os.ReadFile(filepath.Join(dir, f.path))
		if err != nil {
			t.Fatal(err)
		}
		files[f.path] = string(data)
	}
	return files
}

// get returns the files that the store has for an action.
func get(t tb, s *Store, id ActionID) (map[string]string, error) {
	t.Helper()
	e, err := s.Lookup(id)
	if err != nil {
		return nil, err
	}
	dir, err := s.Artifact(context.Background(), e.Output)
	if err != nil {
		return nil, err
	}
	return read(t, dir), nil
}

// leftovers returns what is in tmp.
func leftovers(t tb, s *Store) (names []string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(s.dir, "tmp"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, d := range left {
		names = append(names, d.Name())
	}
	return names
}

// skip skips a test that lacks a tool, or fails it if ABLATE_TEST_STRICT is set.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("ABLATE_TEST_STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// sample returns any key with its files.
func sample() (Key, map[string]string) {
	return Key{Stage: "finetune", Revision: 1, Lines: []string{"finetune.beta 0.5"}, Backend: "xla:cpu"},
		map[string]string{"unet/config.json": "{}", "unet/weights": "0123456789", "empty": ""}
}
