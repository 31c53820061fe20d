package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// merged merges a store into another one.
func merged(t *testing.T, s, other *Store) *Merged {
	t.Helper()
	m, err := s.Merge(t.Context(), other, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
	return m
}

// snapshot returns the path, size and time of every file below a folder.
func snapshot(t *testing.T, dir string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprint(p, info.Size(), info.ModTime(), info.Mode()))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMerge: what the other store has is copied once, with its environment and program; the
// other store does not change.
func TestMerge(t *testing.T) {
	other, _, _, m := two(t)
	w, err := other.Begin(Key{Stage: "a", Lines: []string{"made x"}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), map[string]string{"deep/f": "made", "empty": ""})
	made, err := w.Commit(t.Context(), Commit{Made: "there\n", Build: "build"})
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, other.dir)
	s := open(t, filepath.Join(scratch(t), "new"))
	if got := merged(t, s, other); got.Copied.Count != 7 || got.Copied.Bytes != made.Bytes+6*m["a"].Bytes || got.Present != 0 || got.Studies != 2 || got.Conflicts == nil || got.Damaged == nil {
		t.Errorf("got %+v", got)
	}
	if got := have(t, s); got != "abcdef 7" {
		t.Errorf("it has %s", got)
	}
	e, err := s.Lookup(made.Action)
	if err != nil || e.Made != "there\n" || e.Build != "build" || e.Output != made.Output {
		t.Errorf("got %+v, %v", e, err)
	}
	if files, err := get(t, s, made.Action); err != nil || files["deep/f"] != "made" {
		t.Errorf("files %v, %v", files, err)
	}
	if got := merged(t, s, other); got.Copied.Count != 0 || got.Present != 7 || got.Journals != 0 {
		t.Errorf("again: %+v", got)
	}
	if d := cmp.Diff(before, snapshot(t, other.dir)); d != "" {
		t.Errorf("the other store changed:\n%s", d)
	}
	// Its studies need what they needed there.
	age(t, s.dir)
	sweepAll(t, garbage(t, s))
	if got := have(t, s); got != "abcd 4" {
		t.Errorf("after the removal of garbage: %s", got)
	}
}

// TestMergeConflicts: of two results of one action the one that is here stays; one whose
// bytes are lost here is replaced.
func TestMergeConflicts(t *testing.T) {
	other, s := open(t, scratch(t)), open(t, scratch(t))
	key, files := sample()
	kept, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	w, err := other.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), map[string]string{"unet/config.json": "{}", "unet/weights": "012345678x", "empty": ""})
	theirs, err := w.Commit(t.Context(), Commit{Made: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Conflict{{Action: kept.Action, Stage: "finetune", Kept: kept.Output, Other: theirs.Output, Difference: "unet/weights differs", Elsewhere: true}}
	if d := cmp.Diff(want, merged(t, s, other).Conflicts); d != "" {
		t.Errorf("conflicts (-want +got):\n%s", d)
	}
	if got, err := get(t, s, kept.Action); err != nil || cmp.Diff(files, got) != "" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.Remove(filepath.Join(s.files(kept.Output), "unet/weights")); err != nil {
		t.Fatal(err)
	}
	if got := merged(t, open(t, s.dir), other); got.Copied.Count != 1 || len(got.Conflicts) != 0 {
		t.Errorf("a lost one: %+v", got)
	}
	if e, err := open(t, s.dir).Lookup(kept.Action); err != nil || e.Output != theirs.Output {
		t.Errorf("a lost one: %+v, %v", e, err)
	}
}

// TestMergeDamaged: what is damaged in the other store is listed and not copied, and
// everything else is.
func TestMergeDamaged(t *testing.T) {
	for name, damage := range map[string]func(s *Store, e Entry){
		"bytes differ":  func(s *Store, e Entry) { overwrite(t, filepath.Join(s.files(e.Output), "f"), "x") },
		"shorter":       func(s *Store, e Entry) { overwrite(t, filepath.Join(s.files(e.Output), "f"), "") },
		"file gone":     func(s *Store, e Entry) { os.Remove(filepath.Join(s.files(e.Output), "g")) },
		"artifact gone": func(s *Store, e Entry) { os.RemoveAll(s.artifact(e.Output)) },
		"manifest":      func(s *Store, e Entry) { overwrite(t, filepath.Join(s.artifact(e.Output), "manifest"), "x") },
		"entry":         func(s *Store, e Entry) { overwrite(t, s.action(e.Action), "x") },
		"link": func(s *Store, e Entry) {
			f := filepath.Join(s.files(e.Output), "f")
			if err := errors.Join(os.Remove(f), os.Symlink("g", f)); err != nil {
				t.Error(err)
			}
		},
	} {
		other, _, _, m := two(t)
		damage(other, m["b"])
		before := snapshot(t, other.dir)
		s := open(t, scratch(t))
		got := merged(t, s, other)
		if got.Copied.Count != 5 || len(got.Damaged) != 1 || got.Damaged[0].Action != m["b"].Action || got.Damaged[0].Error == "" {
			t.Errorf("%s: got %+v", name, got)
		}
		if got := have(t, s); got != "acdef 5" {
			t.Errorf("%s: it has %s", name, got)
		}
		if d := cmp.Diff(before, snapshot(t, other.dir)); d != "" {
			t.Errorf("%s: the other store changed:\n%s", name, d)
		}
	}
}

// TestMergeStudies: journals, failures, logs and rounds come into the folder of their
// study, and never into that of another one.
func TestMergeStudies(t *testing.T) {
	other, first, _, m := two(t)
	st, err := ReadStudy(first)
	if err != nil {
		t.Fatal(err)
	}
	lost := Key{Stage: "lost"}.ID()
	writeJournal(t, first, someDead, m["a"], m["e"])
	write(t, first, map[string]string{"logs/x.log": "why", "rounds.json": "{}"})
	write(t, other.dir, map[string]string{"studies/imported/report/index.html": ""})
	if err := errors.Join(other.Fail(Failure{Action: lost, Class: "error", Error: "it broke", Log: "studies/first/logs/x.log"}),
		other.Fail(Failure{Action: m["a"].Action, Class: "error", Error: "it broke", Log: ""})); err != nil {
		t.Fatal(err)
	}

	// Here, another module has a study of the same name.
	s := open(t, scratch(t))
	mine := study(t, s, "first")
	write(t, mine, map[string]string{"rounds.json": "mine"})
	got := merged(t, s, other)
	if got.Studies != 2 || got.Journals != 1 || got.Failures != 1 {
		t.Errorf("got %+v", got)
	}
	its := s.StudyFolder("first", st.Root)
	if its == mine || its == filepath.Dir(mine) {
		t.Fatalf("its folder is %s", its)
	}
	if have, err := ReadStudy(its); err != nil || have != st {
		t.Errorf("study.json: %+v, %v", have, err)
	}
	if got := read(t, its); got["rounds.json"] != "{}" || got["logs/x.log"] != "why" {
		t.Errorf("files: %v", got)
	}
	if got := read(t, mine); got["rounds.json"] != "mine" || len(got) != 2 {
		t.Errorf("of the other study: %v", got)
	}
	events, _, err := ReadJournal(its)
	if err != nil || len(events) != 2 || events[0].Process != someDead {
		t.Errorf("events: %v, %v", events, err)
	}
	if f, ok := s.Failed(lost); !ok || f.Log != filepath.Join("studies", filepath.Base(its), "logs/x.log") || f.Process != other.self {
		t.Errorf("failure: %+v", f)
	}
	if got := needed(t, s, its); got != "abe" { // e has an event after the roots
		t.Errorf("needed: %s", got)
	}

	// The journal goes on.
	writeJournal(t, first, someDead, m["f"])
	if got := merged(t, s, other); got.Journals != 1 || got.Failures != 0 {
		t.Errorf("later: %+v", got)
	}
	if events, _, err := ReadJournal(its); err != nil || len(events) != 3 {
		t.Errorf("events: %v, %v", events, err)
	}

	// What a study needs stays unknown if it is not known on one side.
	if err := os.Remove(filepath.Join(its, rootsFile)); err != nil {
		t.Fatal(err)
	}
	merged(t, s, other)
	if _, _, err := s.needs(its); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown here: %v", err)
	}
	if err := os.Remove(filepath.Join(first, rootsFile)); err != nil {
		t.Fatal(err)
	}
	third := open(t, scratch(t))
	merged(t, third, other)
	if _, _, err := third.needs(third.StudyFolder("first", st.Root)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown there: %v", err)
	}
	// A name that leads out of studies/ is refused.
	write(t, other.dir, map[string]string{"studies/evil/study.json": `{"study":"..","root":"/m"}`})
	if _, err := third.Merge(t.Context(), other, func(int, int) {}); err == nil || !strings.Contains(err.Error(), "relative path") {
		t.Errorf("got %v", err)
	}
}

// TestMergeStopped: a merge that is stopped at any moment goes on when it is done again.
func TestMergeStopped(t *testing.T) {
	other, _, _, _ := two(t)
	dir := scratch(t)
	stop := errors.New("stop")
	for n := 1; n <= 6; n++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := open(t, dir)
		if _, err := s.Merge(ctx, other, func(done, _ int) {
			if done == n {
				cancel(stop)
			}
		}); !errors.Is(err, stop) {
			t.Errorf("%d: %v", n, err)
		}
		if left := leftovers(t, s); left != nil {
			t.Errorf("%d: left in tmp: %v", n, left)
		}
		all, err := s.Entries()
		if err != nil || len(all) < n {
			t.Errorf("%d entries, %v; want at least %d", len(all), err, n)
		}
		for _, e := range all {
			if _, err := get(t, open(t, dir), e.Action); err != nil {
				t.Error(err)
			}
		}
	}
	if got := merged(t, open(t, dir), other); got.Present != 6 {
		t.Errorf("at last: %+v", got)
	}
}

// TestCompare: a writer's files are compared with an artifact, which stays as it is.
func TestCompare(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s.artifact(e.Output))
	for change, want := range map[string]string{"": "", "unet/weights": "unet/weights differs", "new": "new is new"} {
		w, err := s.Begin(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w.Dir(), files)
		if change != "" {
			write(t, w.Dir(), map[string]string{change: "x"})
		}
		written, err := Written(t.Context(), w.Dir())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := w.Compare(t.Context(), written, e); err != nil || got != want {
			t.Errorf("%q: got %q, %v", change, got, err)
		}
		if err := os.Remove(filepath.Join(w.Dir(), "empty")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Compare(t.Context(), written, e); err == nil || !strings.Contains(err.Error(), "empty is gone") {
			t.Errorf("%q: files that were lost: %v", change, err)
		}
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
		if _, err := w.Compare(t.Context(), "", e); err == nil {
			t.Error("a closed writer was compared")
		}
	}
	if !slices.Equal(before, snapshot(t, s.artifact(e.Output))) || quarantined(t, s) != nil || leftovers(t, s) != nil {
		t.Error("the store changed")
	}
}
