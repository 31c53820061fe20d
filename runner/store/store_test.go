package store

import (
	"context"
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
	e, err := w.Commit(context.Background(), Commit{})
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
	dir, _ := s.Artifact(context.Background(), e.Output)
	if info, err := os.Stat(filepath.Join(dir, "unet/weights")); err != nil || info.Mode().Perm()&0o222 != 0 {
		t.Errorf("mode %v, %v: want read-only", info.Mode(), err)
	}
	if left := leftovers(t, s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
	if _, err := w.Commit(context.Background(), Commit{}); err == nil {
		t.Error("a second commit")
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
}

// TestOutputID: the id depends only on paths and bytes.
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
		e, err := w.Commit(context.Background(), Commit{})
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
	if _, err := w.Commit(context.Background(), Commit{}); err == nil || !strings.Contains(err.Error(), "link is neither a file nor a folder") {
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
	// The first files stay, and the second commit reports this.
	e, err := put(t, s, key, other)
	if err != nil || e.Output != first.Output || e.Rejected.IsZero() || e.Rejected == first.Output || e.Difference != "unet/weights differs" {
		t.Fatalf("got %+v, %v", e, err)
	}
	if found, err := s.Lookup(key.ID()); err != nil || found != first {
		t.Errorf("the entry is now %+v, %v", found, err)
	}
	// With Strict this is an error.
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), other)
	_, err = w.Commit(context.Background(), Commit{Strict: true})
	var n *NondeterminismError
	if !errors.As(err, &n) || n.Have != first.Output || n.Got != e.Rejected {
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
	// If the first output is lost, the second replaces it.
	if err := os.RemoveAll(s.artifact(first.Output)); err != nil {
		t.Fatal(err)
	}
	e, err = put(t, s, key, other)
	if err != nil || e.Replaced != first.Output {
		t.Errorf("got %+v, %v", e, err)
	}
	if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(other, got) != "" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestConcurrent: many writers of equal and different actions use two Stores on one
// folder, as two processes would.
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

// fatalTB lets other goroutines than that of the test report fatal errors.
type fatalTB struct{ *testing.T }

func (f fatalTB) Fatal(args ...any)                 { f.Error(args...) }
func (f fatalTB) Fatalf(format string, args ...any) { f.Errorf(format, args...) }

// TestFirstWins: many processes commit different bytes for one action at the same moment.
// One is the first, and all agree on it.
func TestFirstWins(t *testing.T) {
	dir := scratch(t)
	for round := range 20 {
		key := Key{Stage: "s", Revision: round}
		entries := make([]Entry, 8)
		var group sync.WaitGroup
		for i := range entries {
			group.Go(func() {
				var err error
				if entries[i], err = put(fatalTB{t}, open(fatalTB{t}, dir), key, map[string]string{"f": fmt.Sprint(i % 4)}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		found, err := open(t, dir).Lookup(key.ID())
		if err != nil {
			t.Fatal(err)
		}
		won := 0
		for _, e := range entries {
			if e.Output != found.Output {
				t.Errorf("round %d: one has %s, the index %s", round, e.Output.Short(), found.Output.Short())
			}
			if e.Rejected.IsZero() {
				won++
			}
		}
		if won != 2 { // two computed each content
			t.Errorf("round %d: %d processes have their own bytes, want 2", round, won)
		}
	}
}

// TestLost: files that vanish, or change, between the worker and the store are missed.
func TestLost(t *testing.T) {
	ctx := context.Background()
	s := open(t, scratch(t))
	key, files := sample()
	for name, lose := range map[string]func(dir string) error{
		"unet/config.json is gone": func(dir string) error { return os.Remove(filepath.Join(dir, "unet/config.json")) },
		"unet/weights differs": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "unet/weights"), []byte("012345678x"), 0o666)
		},
		"new is new": func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o666) },
	} {
		w, err := s.Begin(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w.Dir(), files)
		written, err := Written(ctx, w.Dir())
		if err != nil {
			t.Fatal(err)
		}
		if err := lose(w.Dir()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(ctx, Commit{Written: written}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
		if _, err := s.Lookup(key.ID()); !errors.Is(err, ErrNotFound) || Damaged(err) {
			t.Errorf("%s: it is in the store: %v", name, err)
		}
	}
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	written, err := Written(ctx, w.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ctx, Commit{Written: written}); err != nil {
		t.Error(err)
	}
}

// TestMade: the fields of an entry besides its key are stored and returned, and change
// neither the action id nor the output id.
func TestMade(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	made := "backend xla:cpu\ncpu \"Some\" é\n\nkey 3\n"
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	e, err := w.Commit(context.Background(), Commit{Made: made, Build: "ablate devel"})
	if err != nil || e.Action != key.ID() {
		t.Fatal(e, err)
	}
	found, err := open(t, s.dir).Lookup(key.ID())
	if err != nil || found != e || found.Made != made || found.Build != "ablate devel" {
		t.Errorf("found %+v, %v", found, err)
	}
	other, err := put(t, open(t, scratch(t)), key, files)
	if err != nil || other.Output != e.Output || other.Action != e.Action {
		t.Errorf("without: %+v, %v", other, err)
	}
	// Equal bytes from another environment do not change the first entry.
	if again, err := put(t, s, key, files); err != nil || again != e {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// TestOpenMakesNothing: reading a store creates nothing, and a store that does not exist
// is empty.
func TestOpenMakesNothing(t *testing.T) {
	dir := filepath.Join(scratch(t), "none")
	s := open(t, dir)
	if _, err := s.Lookup(Key{Stage: "s"}.ID()); !errors.Is(err, ErrNotFound) || Damaged(err) {
		t.Errorf("got %v", err)
	}
	if e, err := s.Entries(); err != nil || e != nil {
		t.Errorf("got %v, %v", e, err)
	}
	if a, err := s.Attempts(); err != nil || a != nil {
		t.Errorf("got %v, %v", a, err)
	}
	if st, err := ReadStudy(s.StudyFolder("first", "/m")); err != nil || st != (Study{}) {
		t.Errorf("got %v, %v", st, err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("reading made the store: %v", err)
	}
}

// TestOddNames: characters with a meaning in patterns have none in the path of a store.
func TestOddNames(t *testing.T) {
	for _, name := range []string{"st[1]", "st[", `a\z`, "a*", "a b", "é"} {
		s := open(t, filepath.Join(scratch(t), name))
		key, files := sample()
		if _, err := put(t, s, key, files); err != nil {
			t.Fatal(err)
		}
		if e, err := s.Entries(); err != nil || len(e) != 1 {
			t.Errorf("%s: entries %v, %v", name, e, err)
		}
	}
}

// TestStudies: no two studies share a folder of results, and none lies in another's.
func TestStudies(t *testing.T) {
	s := open(t, scratch(t))
	module := func() string {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "cue.mod"), 0o777); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	a, b := module(), module()
	claim := func(name, root string) string {
		t.Helper()
		dir, err := s.ClaimStudy(name, root, "xla:cpu")
		if err != nil {
			t.Fatal(err)
		}
		if at := s.StudyFolder(name, root); at != dir {
			t.Errorf("%s of %s is claimed in %s and read in %s", name, root, dir, at)
		}
		return dir
	}
	if dir := claim("papers/lee2023@0a1b", a); dir != filepath.Join(s.Dir(), "studies", "papers~1lee2023@0a1b") {
		t.Errorf("got %s", dir)
	}
	seen := map[string]string{}
	for _, root := range []string{a, b} {
		for _, name := range []string{"first", "./first", "first/report/images", "first/journal", "one", "one.cue", "a/b", "a~b", "a~1b", "a~0b", "dir/one.cue", "dir/two.cue"} {
			dir := claim(name, root)
			if other, ok := seen[dir]; ok {
				t.Errorf("%s of %s has the folder of %s", name, root, other)
			}
			if filepath.Dir(dir) != filepath.Join(s.Dir(), "studies") {
				t.Errorf("%s lies in another's folder: %s", name, dir)
			}
			seen[dir] = name + " of " + root
			if again := claim(name, root); again != dir {
				t.Errorf("%s of %s moved from %s to %s", name, root, dir, again)
			}
		}
	}
	// The class of the last run is recorded and can be read.
	dir, err := s.ClaimStudy("first", a, "xla:cuda")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := ReadStudy(dir); err != nil || st != (Study{"first", a, "xla:cuda"}) {
		t.Errorf("got %+v, %v", st, err)
	}
	// A module that was moved finds its results; one that is still there keeps them.
	if err := os.Rename(a, a+"-moved"); err != nil {
		t.Fatal(err)
	}
	if got := s.StudyFolder("first", a+"-moved"); got != dir {
		t.Errorf("after the module was moved: %s, want %s", got, dir)
	}
	if got := s.StudyFolder("first", b); got == dir {
		t.Errorf("another module took %s", dir)
	}
	for _, bad := range []string{"", ".", "..", "/a", "a/../b", "a//b", "a/", "a\x00"} {
		if _, err := s.ClaimStudy(bad, b, "xla:cpu"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	// Two modules at once.
	roots := []string{module(), module(), module(), module()}
	dirs := make([]string, len(roots))
	var group sync.WaitGroup
	for i, root := range roots {
		group.Go(func() {
			var err error
			if dirs[i], err = open(fatalTB{t}, s.dir).ClaimStudy("race", root, "xla:cpu"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, root := range roots {
		if st, err := ReadStudy(dirs[i]); err != nil || st.Root != root {
			t.Errorf("%s of %s is %+v, %v", dirs[i], root, st, err)
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
					if err != nil || e.Output != id(old) || e.Rejected != id(content) {
						t.Fatalf("%q after %q: %+v, %v", content, old, e, err)
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
