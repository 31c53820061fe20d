package store

import (
	"bytes"
	"context"
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

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("ablate", dir, "tmpfs", 0, options); err != nil {
		skip(t, "a small file system cannot be mounted here (it takes root): "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk is full, and returns it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := bytes.Repeat([]byte("x"), 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return name
}

// says checks that an error names the store's folder and gives advice.
func says(t *testing.T, err error, dir, what string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "store "+dir+": "+what) || !strings.Contains(err.Error(), "--store") {
		t.Errorf("got %v", err)
	} else if strings.Count(err.Error(), "store "+dir) != 1 {
		t.Errorf("says it more than once: %v", err)
	}
}

// TestFullDisk fills a real disk at different moments of a commit. No incomplete files
// are left, earlier results stay, and with free space a commit succeeds.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=256k")
	s := open(t, dir)
	before, files := sample()
	if _, err := put(t, s, before, files); err != nil {
		t.Fatal(err)
	}
	key := Key{Stage: "pretrain"}
	study, err := s.ClaimStudy("quickstart", "/m", "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.OpenJournal(study)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	event := Event{Kind: Started, Time: time.Unix(1, 0).UTC(), Action: key.ID()}
	if err := j.Append(event); err != nil {
		t.Fatal(err)
	}

	// While the stage writes.
	w, err := s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(w.Dir(), "weights"), make([]byte, 1<<20), 0o666)
	says(t, s.Diagnose(err), dir, "the disk is full")
	if err := w.Abort(); err != nil {
		t.Error(err)
	}

	// While it is committed: the stage's files still fitted.
	w, err = s.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Dir(), files)
	filler := fill(t, dir)
	_, err = w.Commit(context.Background(), Commit{})
	says(t, err, dir, "the disk is full")
	if left := leftovers(t, s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
	if _, err := s.Lookup(key.ID()); !errors.Is(err, ErrNotFound) || Damaged(err) {
		t.Errorf("after a failed commit: %v", err)
	}
	if got, err := get(t, open(t, dir), before.ID()); err != nil || cmp.Diff(files, got) != "" {
		t.Errorf("what was there: %v, %v", got, err)
	}
	fill(t, dir) // the space that the failed commit has freed
	for err = nil; err == nil; {
		err = j.Append(event)
	}
	says(t, errors.Unwrap(err), dir, "the disk is full")

	// With space again.
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	event.Kind = Finished
	if err := j.Append(event); err != nil {
		t.Error(err)
	}
	events, unread, err := ReadJournal(study)
	if err != nil || unread > 1 || len(events) < 2 || events[len(events)-1].Kind != Finished {
		t.Errorf("%d events, %d unread, %v", len(events), unread, err)
	}
	if _, err := put(t, s, key, files); err != nil {
		t.Error(err)
	}
	if got, err := get(t, open(t, dir), key.ID()); err != nil || cmp.Diff(files, got) != "" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestOutOfNames fills a disk with names rather than bytes, so that folders cannot be made.
func TestOutOfNames(t *testing.T) {
	dir := smallDisk(t, "size=1m,nr_inodes=24")
	s := open(t, dir)
	key, files := sample()
	failed := 0
	for spare := 0; ; spare++ { // from none left to enough
		for n := 0; ; n++ {
			if os.Mkdir(filepath.Join(dir, "x"+strings.Repeat("x", n)), 0o777) != nil && n > 24 {
				break
			}
		}
		for n := range spare {
			os.Remove(filepath.Join(dir, "x"+strings.Repeat("x", n)))
		}
		w, err := s.Begin(key)
		if err == nil {
			for name, data := range files {
				p := filepath.Join(w.Dir(), name)
				if err == nil {
					err = os.MkdirAll(filepath.Dir(p), 0o777)
				}
				if err == nil {
					err = os.WriteFile(p, []byte(data), 0o666)
				}
			}
			if err == nil {
				_, err = w.Commit(context.Background(), Commit{})
			}
			w.Abort()
		}
		if err == nil {
			break
		}
		failed++
		says(t, s.Diagnose(err), dir, "the disk is full")
		if left := leftovers(t, s); left != nil {
			t.Errorf("left in tmp: %v", left)
		}
		if _, err := s.Lookup(key.ID()); !errors.Is(err, ErrNotFound) || Damaged(err) {
			t.Errorf("with %d spare: %v", spare, err)
		}
		if spare > 24 {
			t.Fatal("never enough")
		}
	}
	if got, err := get(t, open(t, dir), key.ID()); err != nil || cmp.Diff(files, got) != "" || failed < 5 {
		t.Errorf("after %d failures: %v, %v", failed, got, err)
	}
}

// TestReadOnly: a store that cannot be written can be read, and writing returns an error
// that says so.
func TestReadOnly(t *testing.T) {
	dir := smallDisk(t, "size=256k")
	key, files := sample()
	if _, err := put(t, open(t, dir), key, files); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		skip(t, "a file system cannot be made read-only here: "+err.Error())
	}
	s := open(t, dir)
	if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(files, got) != "" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err := s.Begin(Key{Stage: "other"})
	says(t, err, dir, "the folder cannot be written")
	_, err = s.ClaimStudy("quickstart", "/m", "xla:cpu")
	says(t, err, dir, "the folder cannot be written")
	_, err = open(t, filepath.Join(dir, "new")).Begin(key)
	says(t, err, filepath.Join(dir, "new"), "the folder cannot be written")
}

// TestSharedStore: in a store that its group may write, one user can use and extend what
// another made. If a user may not write, the error comes before anything is computed. An
// error of reading does not say that a file cannot be written.
func TestSharedStore(t *testing.T) {
	if dir := os.Getenv("ABLATE_STORE_TEST_SHARED"); dir != "" { // as another user
		s := open(t, dir)
		key, files := sample()
		switch os.Getenv("ABLATE_STORE_TEST_WHAT") {
		case "write":
			for i := range 300 { // into every shard, sooner or later
				key.Revision = i
				if _, err := put(t, s, key, map[string]string{"f": fmt.Sprint(i)}); err != nil {
					t.Fatal(err)
				}
			}
		case "study":
			study, err := s.ClaimStudy("first", "/m", "xla:cuda")
			if err != nil {
				t.Fatal(err)
			}
			j, err := s.OpenJournal(study)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if err := j.Append(Event{Kind: Finished, Time: at(1), Action: ActionID{1}}); err != nil {
				t.Fatal(err)
			}
			if events, unread, err := ReadJournal(study); err != nil || len(events) != 2 || unread != 0 {
				t.Errorf("%d events, %d unread, %v", len(events), unread, err)
			}
		case "damaged":
			var miss *MissError
			if _, err := get(t, s, key.ID()); !errors.As(err, &miss) || miss.Moved == "" {
				t.Errorf("got %v", err)
			}
			if _, err := put(t, s, key, files); err != nil {
				t.Error(err)
			}
		case "refused":
			_, err := s.Begin(Key{Stage: "other"})
			says(t, err, dir, "the folder cannot be written")
		case "unreadable":
			_, err := get(t, s, key.ID())
			says(t, err, dir, "a file cannot be read")
		case "read":
			if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(files, got) != "" {
				t.Errorf("got %v, %v", got, err)
			}
		}
		return
	}
	if os.Geteuid() != 0 {
		skip(t, "needs root, to act as two users")
	}
	const other = 65534
	as := func(dir, what string) {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestSharedStore$", "-test.v")
		cmd.Env = append(os.Environ(), "ABLATE_STORE_TEST_SHARED="+dir, "ABLATE_STORE_TEST_WHAT="+what)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	// The test binary is in a folder of root. A copy is in a folder from which everybody
	// may run it.
	public := scratch(t)
	if err := os.Chmod(public, 0o755); err != nil {
		t.Fatal(err)
	}
	bin, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(public, "store.test")
	if err := os.WriteFile(program, bin, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func(was string) { os.Args[0] = was }(os.Args[0])
	os.Args[0] = program

	key, files := sample()
	shared := filepath.Join(public, "shared")
	if err := errors.Join(os.Mkdir(shared, 0o777), os.Chown(shared, 0, other), os.Chmod(shared, 0o775|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for i := range 20 {
		if _, err := put(t, open(t, shared), Key{Stage: "mine", Revision: i}, map[string]string{"g": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := put(t, open(t, shared), key, files); err != nil {
		t.Fatal(err)
	}
	as(shared, "read")
	as(shared, "write")
	study, err := open(t, shared).ClaimStudy("first", "/m", "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	j, err := open(t, shared).OpenJournal(study)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Append(Event{Kind: Started, Time: at(0), Action: ActionID{1}}); err != nil {
		t.Fatal(err)
	}
	as(shared, "study")
	if st, err := ReadStudy(study); err != nil || st.Backend != "xla:cuda" {
		t.Errorf("the other user's run is %+v, %v", st, err)
	}
	// One user finds damage and the other repairs it, in both directions.
	weights := func() string { // of the same length
		e, err := open(t, shared).Lookup(key.ID())
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(open(t, shared).files(e.Output), "unet/weights")
	}
	overwrite(t, weights(), "01234x6789")
	if err := os.Chmod(weights(), 0o444); err != nil {
		t.Fatal(err)
	}
	as(shared, "damaged")
	as(shared, "read")

	syscall.Umask(0o022)
	private := filepath.Join(public, "private")
	if _, err := put(t, open(t, private), key, files); err != nil {
		t.Fatal(err)
	}
	as(private, "read")
	as(private, "refused")
	// A single folder that was made before the store was shared is enough to lose a
	// result.
	for _, sub := range []string{"actions", "artifacts"} {
		late := filepath.Join(public, "late-"+sub)
		if err := os.CopyFS(late, os.DirFS(shared)); err != nil {
			t.Fatal(err)
		}
		err := filepath.WalkDir(late, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return os.Chmod(path, 0o777)
		})
		shards, rerr := os.ReadDir(filepath.Join(late, sub))
		if err := errors.Join(err, rerr); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(late, sub, shards[0].Name()), 0o755); err != nil {
			t.Fatal(err)
		}
		as(late, "refused")
	}
	if err := os.Chmod(open(t, private).action(key.ID()), 0); err != nil {
		t.Fatal(err)
	}
	as(private, "unreadable")
}
