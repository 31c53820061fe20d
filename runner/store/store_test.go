package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCommit(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	if _, err := s.Lookup(key.ID()); !errors.Is(err, ErrNotFound) || Damaged(err) {
		t.Fatalf("before: %v", err)
	}
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	if _, err := s.Lookup(key.ID()); !errors.Is(err, ErrNotFound) {
		t.Fatalf("before the commit: %v", err)
	}
	e, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if e.Files != 3 || e.Bytes != 12 || e.Stage() != "finetune" || !e.Replaced.IsZero() {
		t.Errorf("entry %+v", e)
	}
	for _, s := range []*Store{s, open(t, s.dir)} {
		if found, err := s.Lookup(key.ID()); err != nil || found != e {
			t.Errorf("found %+v, %v", found, err)
		}
		got, err := get(t, s, key.ID())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(files, got); d != "" {
			t.Errorf("files mismatch (-want +got):\n%s", d)
		}
	}
	dir, _ := s.Artifact(e.Output)
	if info, err := os.Stat(filepath.Join(dir, "unet/weights")); err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Errorf("mode %v, %v: want read-only", info.Mode(), err)
	}
	if left := leftovers(t, s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
	if _, err := w.Commit(); err == nil {
		t.Error("a second commit")
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
}

// TestOutputID: the id follows from paths and bytes, and from nothing else.
func TestOutputID(t *testing.T) {
	id := func(files map[string]string, extra func(dir string)) OutputID {
		s := open(t, scratch(t))
		key, _ := sample()
		w, err := s.Begin(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w.Dir(), files)
		if extra != nil {
			extra(w.Dir())
		}
		e, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		return e.Output
	}
	_, files := sample()
	base := id(files, nil)
	if got := id(files, func(dir string) {
		os.Chmod(filepath.Join(dir, "empty"), 0o700)
		os.Mkdir(filepath.Join(dir, "nothing"), 0o777)
	}); got != base {
		t.Error("permissions or an empty folder changed the id")
	}
	for name, change := range map[string]func(map[string]string){
		"bytes": func(m map[string]string) { m["unet/weights"] = "012345678x" },
		"path":  func(m map[string]string) { m["unet/weight"] = m["unet/weights"]; delete(m, "unet/weights") },
		"more":  func(m map[string]string) { m["also empty"] = "" },
		"fewer": func(m map[string]string) { delete(m, "empty") },
	} {
		other := maps.Clone(files)
		change(other)
		if id(other, nil) == base {
			t.Errorf("%s did not change the id", name)
		}
	}
}

func TestCommitRefusesLinks(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	if err := os.Symlink("empty", filepath.Join(w.Dir(), "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err == nil || !strings.Contains(err.Error(), "link is neither a file nor a folder") {
		t.Errorf("got %v", err)
	}
	if left := leftovers(t, s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestNondeterminism(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	first, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := put(t, s, key, files); err != nil || again != first {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	other := map[string]string{"unet/config.json": "{}", "unet/weights": "9876543210", "empty": ""}
	_, err = put(t, s, key, other)
	var n *NondeterminismError
	if !errors.Is(err, ErrNondeterministic) || !errors.As(err, &n) || n.Have != first.Output || n.Got == n.Have {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"finetune", key.ID().Short(), n.Have.Short(), n.Got.Short(), "unet/weights differs"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(files, got) != "" {
		t.Errorf("the first is no longer there: %v, %v", got, err)
	}
	// Once the first is lost there is nothing to disagree with.
	if err := os.RemoveAll(s.artifact(first.Output)); err != nil {
		t.Fatal(err)
	}
	e, err := put(t, s, key, other)
	if err != nil || e.Replaced != first.Output {
		t.Errorf("got %+v, %v", e, err)
	}
	if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(other, got) != "" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestConcurrent: many writers of the same and of other actions, over two stores in
// one folder, as two processes have them.
func TestConcurrent(t *testing.T) {
	dir := scratch(t)
	stores := []*Store{open(t, dir), open(t, dir)}
	var group sync.WaitGroup
	for i := range 24 {
		group.Go(func() {
			s := stores[i%2]
			key := Key{Stage: "s", Revision: i % 3}
			files := map[string]string{"f": fmt.Sprint(i % 3 / 2)} // two actions share an artifact
			if _, err := put(fatalTB{t}, s, key, files); err != nil {
				t.Error(err)
			}
			if got, err := get(fatalTB{t}, s, key.ID()); err != nil || cmp.Diff(files, got) != "" {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	group.Wait()
	if left := leftovers(t, stores[0]); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
}

// fatalTB lets goroutines other than the test's own report what would end a test.
type fatalTB struct{ *testing.T }

func (f fatalTB) Fatal(args ...any)                 { f.Error(args...) }
func (f fatalTB) Fatalf(format string, args ...any) { f.Errorf(format, args...) }

func TestStudyDir(t *testing.T) {
	s := open(t, scratch(t))
	dir, err := s.StudyDir("papers/lee2023@0a1b")
	if err != nil || dir != filepath.Join(s.Dir(), "studies", "papers", "lee2023@0a1b") {
		t.Errorf("got %s, %v", dir, err)
	}
	for _, bad := range []string{"", ".", "..", "/a", "a/../b", "a//b", "a/", "a\x00"} {
		if _, err := s.StudyDir(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestStateMachine drives a store through random commits, damage and reopening, and
// compares it with a map.
func TestStateMachine(t *testing.T) {
	root := scratch(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		s := open(t, filepath.Join(root, fmt.Sprint(run)))
		model := map[ActionID]string{} // what each action gave
		bad := map[string]bool{}       // contents whose artifact is damaged
		keys := rapid.Custom(func(t *rapid.T) Key { return Key{Stage: "s", Revision: rapid.IntRange(0, 3).Draw(t, "key")} })
		contents := rapid.SampledFrom([]string{"", "a", "b"})
		id := func(content string) OutputID {
			m := manifest{{path: "d/f", size: int64(len(content))}}
			m[0].sum = sumOf(content)
			return m.id()
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				key, content := keys.Draw(t, "key"), contents.Draw(t, "content")
				old, had := model[key.ID()]
				e, err := put(t, s, key, map[string]string{"d/f": content})
				if had && old != content && !bad[old] {
					if !errors.Is(err, ErrNondeterministic) {
						t.Fatalf("%q after %q: %v", content, old, err)
					}
					return
				}
				if err != nil || e.Output != id(content) || e.Replaced.IsZero() == (had && old != content) {
					t.Fatalf("%q after %q: %+v, %v", content, old, e, err)
				}
				model[key.ID()] = content
				delete(bad, content) // a commit mends it for all actions
			},
			"abort": func(t *rapid.T) {
				w, err := s.Begin(keys.Draw(t, "key"))
				if err != nil {
					t.Fatal(err)
				}
				write(t, w.Dir(), map[string]string{"x": "y"})
				if err := w.Abort(); err != nil {
					t.Fatal(err)
				}
			},
			"damage": func(t *rapid.T) {
				content := contents.Draw(t, "content")
				name := filepath.Join(s.files(id(content)), "d/f")
				if _, err := os.Stat(name); err != nil {
					t.Skip()
				}
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
				bad[content] = true
			},
			"reopen": func(t *rapid.T) { s = open(t, s.dir) },
			"": func(t *rapid.T) {
				for i := range 4 {
					action := Key{Stage: "s", Revision: i}.ID()
					want, had := model[action]
					got, err := get(t, s, action)
					switch {
					case !had || bad[want]:
						if !errors.Is(err, ErrNotFound) || Damaged(err) != had {
							t.Fatalf("key %d: %v, %v", i, got, err)
						}
					case err != nil || len(got) != 1 || got["d/f"] != want:
						t.Fatalf("key %d: %v, %v, want %q", i, got, err, want)
					}
				}
				if left := leftovers(t, s); left != nil {
					t.Fatalf("left in tmp: %v", left)
				}
			},
		})
	})
}

// BenchmarkCommit waits for the disk, as a run does.
func BenchmarkCommit(b *testing.B) {
	s := open(b, b.TempDir())
	_, files := sample()
	for i := 0; b.Loop(); i++ {
		if _, err := put(b, s, Key{Stage: "s", Revision: i}, files); err != nil {
			b.Fatal(err)
		}
	}
}
