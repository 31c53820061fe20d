package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sumOf(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// TestDamage changes, cuts and removes every file of a store, at every place that
// differs in kind. Each time it is a miss with a reason, never another answer, and
// computing again mends it.
func TestDamage(t *testing.T) {
	key, files := sample()
	whole := scratch(t)
	if _, err := put(t, open(t, whole), key, files); err != nil {
		t.Fatal(err)
	}
	var names []string
	filepath.WalkDir(whole, func(p string, d fs.DirEntry, _ error) error {
		if d.Type().IsRegular() {
			rel, _ := filepath.Rel(whole, p)
			names = append(names, rel)
		}
		return nil
	})
	if len(names) != 5 { // the entry, the manifest, three files
		t.Fatalf("files %v", names)
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		reason := CorruptArtifact
		if strings.HasPrefix(name, "actions") {
			reason = CorruptEntry
		}
		// At one store for all: each damage is mended before the next.
		s := open(t, scratch(t))
		try := func(how string, damage func(path string)) {
			t.Helper()
			if _, err := put(t, s, key, files); err != nil {
				t.Fatal(err)
			}
			s = open(t, s.dir) // which has checked nothing yet
			damage(filepath.Join(s.dir, name))
			_, err := get(t, s, key.ID())
			var miss *MissError
			if !errors.As(err, &miss) || !Damaged(err) || miss.Detail == "" ||
				miss.Reason != reason && (reason != CorruptArtifact || miss.Reason != Incomplete) {
				t.Errorf("%s %s: got %v", name, how, err)
			}
			if e, err := put(t, s, key, files); err != nil || !e.Replaced.IsZero() {
				t.Fatalf("%s %s: mending: %v", name, how, err)
			}
			if got, err := get(t, open(t, s.dir), key.ID()); err != nil || cmp.Diff(files, got) != "" {
				t.Errorf("%s %s: after mending: %v, %v", name, how, got, err)
			}
			if left := leftovers(t, s); left != nil {
				t.Errorf("%s %s: left in tmp: %v", name, how, left)
			}
		}
		replace := func(with []byte) func(string) {
			return func(path string) {
				if err := errors.Join(os.Remove(path), os.WriteFile(path, with, 0o444)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range data {
			if i > 40 && i%7 != 0 { // a byte in each digest, number and word, and in each separator sooner or later
				continue
			}
			changed := append([]byte(nil), data...)
			changed[i] ^= 1
			try(fmt.Sprintf("byte %d", i), replace(changed))
		}
		if len(data) > 0 {
			try("cut", replace(data[:len(data)-1]))
			try("emptied", replace(nil))
		}
		try("longer", replace(append(append([]byte(nil), data...), 'x')))
		if reason == CorruptArtifact {
			try("gone", func(path string) { os.Remove(path) })
			try("a folder", func(path string) { os.Remove(path); os.Mkdir(path, 0o777) })
			try("a link", func(path string) { os.Remove(path); os.Symlink("/dev/null", path) })
		}
		if strings.Contains(name, "files") {
			try("with another", func(path string) { os.WriteFile(filepath.Join(filepath.Dir(path), "new"), nil, 0o444) })
		}
	}
}

// TestWrongPlace: an entry under another action's name is no answer for it.
func TestWrongPlace(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	other := ActionID{1}
	os.MkdirAll(filepath.Dir(s.action(other)), 0o777)
	if err := os.Rename(s.action(e.Action), s.action(other)); err != nil {
		t.Fatal(err)
	}
	var miss *MissError
	if _, err := s.Lookup(other); !errors.As(err, &miss) || miss.Reason != CorruptEntry {
		t.Errorf("got %v", err)
	}
}

// TestCorruptIsTakenOut: a corrupt artifact is removed, so that an action which has
// not been looked at yet finds it missing and not corrupt.
func TestCorruptIsTakenOut(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir)
	name := filepath.Join(s.files(e.Output), "unet/weights")
	if err := errors.Join(os.Chmod(name, 0o666), os.WriteFile(name, []byte("01234x6789"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(e.Action); err != nil {
		t.Errorf("sizes are right: %v", err)
	}
	var miss *MissError
	if _, err := s.Artifact(e.Output); !errors.As(err, &miss) || miss.Reason != CorruptArtifact || !strings.Contains(err.Error(), "unet/weights differs") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Artifact(e.Output); !errors.As(err, &miss) || miss.Reason != Missing {
		t.Errorf("got %v", err)
	}
	if _, err := s.Lookup(e.Action); !errors.As(err, &miss) || miss.Reason != Incomplete {
		t.Errorf("got %v", err)
	}
}

// points are the places in Commit at which a process may die.
var points = []string{"sealing", "staged", "installed", "entered"}

// TestKilled kills a process at each step of a commit. The next finds nothing or
// all of it, and nothing left over.
func TestKilled(t *testing.T) {
	key, files := sample()
	if dir := os.Getenv("ABLATE_STORE_TEST_DIR"); dir != "" {
		s := open(t, dir)
		s.step = func(point string) {
			if point == os.Getenv("ABLATE_STORE_TEST_POINT") {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		put(t, s, key, files)
		t.Fatal("was not killed")
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			dir := scratch(t)
			cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
			cmd.Env = append(os.Environ(), "ABLATE_STORE_TEST_DIR="+dir, "ABLATE_STORE_TEST_POINT="+point)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%v: %s", err, out)
			}
			if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) == 0 {
				t.Fatal("died with nothing in tmp: this tests nothing")
			}
			s := open(t, dir)
			if left := leftovers(t, s); left != nil {
				t.Errorf("left in tmp: %v", left)
			}
			got, err := get(t, s, key.ID())
			if point == "entered" {
				if err != nil || cmp.Diff(files, got) != "" {
					t.Errorf("got %v, %v", got, err)
				}
			} else if !errors.Is(err, ErrNotFound) || Damaged(err) {
				t.Errorf("got %v, %v", got, err)
			}
			if _, err := put(t, s, key, files); err != nil {
				t.Errorf("once more: %v", err)
			}
			if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(files, got) != "" {
				t.Errorf("once more: %v, %v", got, err)
			}
		})
	}
}

// TestSweep: only what certainly belongs to a dead process of this machine goes.
func TestSweep(t *testing.T) {
	dir := scratch(t)
	s := open(t, dir)
	w, err := s.Begin(Key{Stage: "s"})
	if err != nil {
		t.Fatal(err)
	}
	here, me := machine(), os.Getpid()
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	stay := []string{filepath.Base(w.tmp), "notes", fmt.Sprintf("%s-%d-0-x", here, me), fmt.Sprintf("000000000000-%d-1-x", child.Process.Pid), here + "-0-1-x", here + "--1-1-x"}
	for _, name := range append([]string{fmt.Sprintf("%s-%d-1-x", here, child.Process.Pid), fmt.Sprintf("%s-%d-1-x", here, me)}, stay...) {
		if err := os.MkdirAll(filepath.Join(dir, "tmp", name, "files"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	left := map[string]bool{}
	for _, name := range leftovers(t, open(t, dir)) {
		left[name] = true
	}
	want := map[string]bool{}
	for _, name := range stay {
		want[name] = true
	}
	if startTime(me) == "0" { // a process that has the number of a dead one cannot be told from it here
		want[fmt.Sprintf("%s-%d-1-x", here, me)] = true
	}
	if d := cmp.Diff(want, left); d != "" {
		t.Errorf("tmp mismatch (-want +got):\n%s", d)
	}
}
