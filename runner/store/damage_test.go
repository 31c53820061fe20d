package store

import (
	"context"
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
	"time"

	"github.com/google/go-cmp/cmp"
)

func sumOf(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// TestDamage changes, truncates and removes every file of a store, at every kind of
// position. Each time the result is a miss with a reason and never a wrong entry, and
// computing again repairs it.
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
		// All damages use one store. Each is repaired before the next.
		s := open(t, scratch(t))
		try := func(how string, damage func(path string)) {
			t.Helper()
			if _, err := put(t, s, key, files); err != nil {
				t.Fatal(err)
			}
			s = open(t, s.dir) // a new process, which has checked nothing yet
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
			if i > 40 && i%7 != 0 { // this samples all digests, numbers, words and separators
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

// TestWrongPlace: an entry in the place of another action is a miss.
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

// TestCorruptIsTakenOut: a corrupt artifact is moved to quarantine/ with all its bytes.
// Another action with the same artifact then finds it missing and not corrupt.
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
	if _, err := s.Artifact(context.Background(), e.Output); !errors.As(err, &miss) || miss.Reason != CorruptArtifact || !strings.Contains(err.Error(), "unet/weights differs") {
		t.Fatalf("got %v", err)
	}
	if got := read(t, filepath.Join(miss.Moved, "files")); got["unet/weights"] != "01234x6789" || !strings.HasPrefix(miss.Moved, filepath.Join(s.dir, "quarantine")+"/") ||
		!strings.Contains(miss.Error(), miss.Moved) {
		t.Errorf("in quarantine: %v (%v)", got, miss)
	}
	if _, err := s.Artifact(context.Background(), e.Output); !errors.As(err, &miss) || miss.Reason != Missing {
		t.Errorf("got %v", err)
	}
	if _, err := s.Lookup(e.Action); !errors.As(err, &miss) || miss.Reason != Incomplete {
		t.Errorf("got %v", err)
	}
}

// TestFilesAlone: a reader of one file does not read, nor trust, the others.
func TestFilesAlone(t *testing.T) {
	ctx := context.Background()
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.files(e.Output), "unet/weights")
	if err := errors.Join(os.Chmod(name, 0o666), os.WriteFile(name, []byte("01234x6789"), 0o666)); err != nil {
		t.Fatal(err)
	}
	config := func(p string) bool { return p == "unet/config.json" }
	if dir, err := s.Files(ctx, e.Output, config); err != nil || dir != s.files(e.Output) {
		t.Errorf("got %s, %v", dir, err)
	}
	if _, err := s.Artifact(ctx, e.Output); !Damaged(err) {
		t.Errorf("all of it: %v", err)
	}
	if _, err := s.Files(ctx, e.Output, config); !errors.Is(err, ErrNotFound) {
		t.Errorf("after it was moved: %v", err)
	}
}

// TestReadsOnce: the process that stored an artifact does not read its files again for their
// digests, unless they were written or replaced since.
func TestReadsOnce(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	digests := 0
	s.step = func(point string) {
		if point == "digest" {
			digests++
		}
	}
	if _, err := s.Artifact(context.Background(), e.Output); err != nil || digests != 0 {
		t.Errorf("%d files were read again, %v", digests, err)
	}
	name := filepath.Join(s.files(e.Output), "unet/weights")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(name), os.WriteFile(name, data, 0o444)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Artifact(context.Background(), e.Output); err != nil || digests != 1 {
		t.Errorf("%d files were read again, want that which was replaced, %v", digests, err)
	}
	data[0]++
	if err := errors.Join(os.Remove(name), os.WriteFile(name, data, 0o444)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Artifact(context.Background(), e.Output); !Damaged(err) {
		t.Errorf("a file of other bytes: %v", err)
	}
}

// TestStopsHashing: computing a digest stops when the context ends.
func TestStopsHashing(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if _, err := open(t, s.Dir()).Artifact(ctx, e.Output); !errors.Is(err, stop) { // another process, which has computed no digest yet
		t.Errorf("got %v", err)
	}
	w, err := s.Begin(Key{Stage: "other"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	if _, err := w.Commit(ctx, Commit{}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Lookup(e.Action); err != nil {
		t.Errorf("it is taken for damage: %v", err)
	}
}

// TestNoRegularFile: a pipe, device or folder in the place of a file is a miss, and
// reading it does not block.
func TestNoRegularFile(t *testing.T) {
	key, files := sample()
	pipe := func(path string) error { return syscall.Mkfifo(path, 0o666) }
	folder := func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o777) }
	link := func(path string) error { return os.Symlink("/dev/zero", path) }
	for _, place := range []struct {
		name string
		of   func(s *Store, e Entry) string
	}{
		{"entry", func(s *Store, e Entry) string { return s.action(e.Action) }},
		{"manifest", func(s *Store, e Entry) string { return filepath.Join(s.artifact(e.Output), "manifest") }},
		{"file", func(s *Store, e Entry) string { return filepath.Join(s.files(e.Output), "empty") }},
		{"shard of artifacts", func(s *Store, e Entry) string { return filepath.Dir(s.artifact(e.Output)) }},
		{"shard of actions", func(s *Store, e Entry) string { return filepath.Dir(s.action(e.Action)) }},
	} {
		for how, make := range map[string]func(string) error{"pipe": pipe, "folder": folder, "link": link, "file": func(p string) error { return os.WriteFile(p, nil, 0o666) }} {
			if strings.HasPrefix(place.name, "shard") && (how == "folder" || how == "link") {
				continue // a link was made on purpose
			}
			s := open(t, scratch(t))
			e, err := put(t, s, key, files)
			if err != nil {
				t.Fatal(err)
			}
			path := place.of(s, e)
			if how == "file" && place.name == "file" {
				continue // it is the empty file that was there
			}
			if err := errors.Join(os.RemoveAll(path), make(path)); err != nil {
				t.Fatal(err)
			}
			s = open(t, s.dir)
			if got, err := get(t, s, key.ID()); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s in place of the %s: %v, %v", how, place.name, got, err)
			}
			if _, err := s.Entries(); err != nil {
				t.Errorf("%s in place of the %s: entries: %v", how, place.name, err)
			}
			if _, err := put(t, s, key, files); err != nil {
				t.Errorf("%s in place of the %s: once more: %v", how, place.name, err)
			}
			if got, err := get(t, open(t, s.dir), key.ID()); err != nil || cmp.Diff(files, got) != "" {
				t.Errorf("%s in place of the %s: mended: %v, %v", how, place.name, got, err)
			}
		}
	}
}

// sameName is a name in tmp of a living process on another host of this name, which
// was started at another time: there the process namespace has the same number, as on
// all hosts outside containers.
func sameName(boot string) string {
	host, _ := os.Hostname()
	space, _ := os.Readlink("/proc/self/ns/pid")
	return machineOf(host, space, boot) + "-4000001-12345-x"
}

// points are the places in Commit at which a process may die.
var points = []string{"sealing", "staged", "installed", "entered"}

// TestKilled kills a process at each step of a commit. The next process finds either
// nothing or the whole result, and no files are left over.
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
			if err := s.prepare(); err != nil {
				t.Fatal(err)
			}
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

// TestSweep: files of processes of this machine that are certainly dead are removed, and
// files that another machine has not touched for a week. Two hosts may have the same name
// and process namespace, as all hosts outside containers do; they are different machines.
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
	stay := []string{filepath.Base(w.tmp), "notes", fmt.Sprintf("%s-%d-0-x", here, me), fmt.Sprintf("000000000000-%d-1-x", child.Process.Pid), here + "-0-1-x", here + "--1-1-x", sameName("0a1b")}
	if _, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil { // where starts can be told apart
		stay = append(stay, sameName(""))
	}
	for _, name := range append([]string{fmt.Sprintf("%s-%d-1-x", here, child.Process.Pid), fmt.Sprintf("%s-%d-1-x", here, me)}, stay...) {
		if err := os.MkdirAll(filepath.Join(dir, "tmp", name, "files"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// Files not touched for more than a week: those of another machine, and those of a
	// process of this machine that is known to be alive.
	for _, name := range []string{"000000000001-1-1-x", filepath.Base(w.tmp)} {
		old := filepath.Join(dir, "tmp", name)
		write(t, filepath.Join(old, "files"), map[string]string{"weights": "0"})
		for _, path := range []string{filepath.Join(old, "files", "weights"), filepath.Join(old, "files"), old} {
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(-abandoned-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Files of another machine of which one has changed since.
	busy := filepath.Join(dir, "tmp", "000000000002-1-1-x")
	write(t, filepath.Join(busy, "files"), map[string]string{"weights": "0"})
	for _, path := range []string{filepath.Join(busy, "files"), busy} {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-abandoned-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	stay = append(stay, filepath.Base(busy))
	left := map[string]bool{}
	s = open(t, dir)
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, name := range leftovers(t, s) {
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
