package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// quarantined returns the names in quarantine/.
func quarantined(t tb, s *Store) []string {
	t.Helper()
	names, err := s.list(filepath.Join(s.dir, "quarantine"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// overwrite puts other bytes into a read-only file.
func overwrite(t tb, name, data string) {
	t.Helper()
	if err := errors.Join(os.Remove(name), os.WriteFile(name, []byte(data), 0o444)); err != nil {
		t.Fatal(err)
	}
}

// TestFirstOfReplacements: an entry whose bytes are lost, or that is corrupt, is
// replaced once. Of two processes that compute it again at the same time, with
// different bytes, the later one finds the entry of the first, whatever the moment.
func TestFirstOfReplacements(t *testing.T) {
	key, files := sample()
	for how, damage := range map[string]func(s *Store, e Entry){
		"lost":    func(s *Store, e Entry) { os.RemoveAll(s.artifact(e.Output)) },
		"corrupt": func(s *Store, e Entry) { overwrite(t, s.action(e.Action), "ablate entry 2\n") },
	} {
		for _, point := range []string{"staged", "installed", "taken", "replacing"} {
			s := open(t, scratch(t))
			e, err := put(t, s, key, files)
			if err != nil {
				t.Fatal(err)
			}
			damage(s, e)
			var first Entry
			s.step = func(at string) {
				if at != point {
					return
				}
				s.step = nil
				if first, err = put(t, open(t, s.dir), key, map[string]string{"f": "first"}); err != nil {
					t.Error(err)
				}
			}
			second, err := put(t, s, key, map[string]string{"f": "second"})
			if err != nil || first.Output.IsZero() || second.Output != first.Output || second.Rejected.IsZero() {
				t.Errorf("%s, %s: the first is %s, the second got %+v, %v", how, point, first.Output.Short(), second, err)
			}
			if got, err := get(t, open(t, s.dir), key.ID()); err != nil || got["f"] != "first" {
				t.Errorf("%s, %s: the index has %v, %v", how, point, got, err)
			}
			if left := leftovers(t, s); left != nil {
				t.Errorf("%s, %s: left in tmp: %v", how, point, left)
			}
		}
	}
}

// TestCorruptEntryIsKept: the bytes of a corrupt entry are in quarantine/ after it was
// replaced.
func TestCorruptEntryIsKept(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, s.action(e.Action), "damaged")
	if _, err := put(t, s, key, files); err != nil {
		t.Fatal(err)
	}
	names := quarantined(t, s)
	if len(names) != 1 || !strings.HasPrefix(names[0], e.Action.Short()+"-") {
		t.Fatalf("quarantine: %v", names)
	}
	if data, err := os.ReadFile(filepath.Join(s.dir, "quarantine", names[0])); err != nil || string(data) != "damaged" {
		t.Errorf("got %q, %v", data, err)
	}
}

// TestMendedMeanwhile: a process that finds an artifact damaged does not move the new one
// that another process has put in its place.
func TestMendedMeanwhile(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir)
	overwrite(t, filepath.Join(s.files(e.Output), "unet/weights"), "01234x6789")
	s.step = func(at string) {
		if at == "compared" {
			s.step = nil
			if _, err := put(t, open(t, s.dir), key, files); err != nil {
				t.Error(err)
			}
		}
	}
	var miss *MissError
	if _, err := s.Artifact(context.Background(), e.Output); !errors.As(err, &miss) || miss.Moved != "" {
		t.Errorf("got %v", err)
	}
	if got, err := get(t, open(t, s.dir), key.ID()); err != nil || cmp.Diff(files, got) != "" {
		t.Errorf("what was mended: %v, %v", got, err)
	}
	if names := quarantined(t, s); len(names) != 1 {
		t.Errorf("quarantine: %v", names)
	}
}

// TestReadOnce: if many goroutines need an artifact at the same time, only one compares
// its bytes.
func TestReadOnce(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir)
	var digests atomic.Int64
	all := make(chan struct{})
	s.step = func(at string) {
		if at == "digest" && digests.Add(1) == 1 {
			<-all
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := s.Artifact(context.Background(), e.Output); err != nil {
				t.Error(err)
			}
		})
	}
	// Waiting for another goroutine stops when the context ends.
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	for digests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel(stop)
	if _, err := s.Artifact(ctx, e.Output); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	close(all)
	group.Wait()
	if n := digests.Load(); n != int64(len(files)) {
		t.Errorf("%d files were read, want %d", n, len(files))
	}
}

// TestOtherFormat: an intact entry of an earlier or later version counts as missing. An
// entry that only looks like one is damaged.
func TestOtherFormat(t *testing.T) {
	s := open(t, scratch(t))
	key, files := sample()
	e, err := put(t, s, key, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"ablate entry 1", "ablate entry 3"} {
		text := fmt.Sprintf("%s\naction %s\noutput %s\nkey %d\n%s", format, e.Action, e.Output, len(e.Key), e.Key)
		var miss *MissError
		overwrite(t, s.action(e.Action), text+fmt.Sprintf("sum %x\n", sumOf(text)))
		if _, err := s.Lookup(e.Action); !errors.As(err, &miss) || miss.Reason != Missing {
			t.Errorf("%s: got %v", format, err)
		}
		overwrite(t, s.action(e.Action), text+fmt.Sprintf("sum %x\n", sumOf(text+"x")))
		if _, err := s.Lookup(e.Action); !errors.As(err, &miss) || miss.Reason != CorruptEntry {
			t.Errorf("%s with another sum: got %v", format, err)
		}
		if _, err := put(t, s, key, files); err != nil {
			t.Errorf("%s: once more: %v", format, err)
		}
		if got, err := get(t, s, key.ID()); err != nil || cmp.Diff(files, got) != "" {
			t.Errorf("%s: once more: %v, %v", format, got, err)
		}
	}
}

// TestEntryText: any content of an entry is read as it was written.
func TestEntryText(t *testing.T) {
	raw := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("\n\r\t\"\\`%a 0\x00\u2028\ufffd"))),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		key := Key{Stage: raw.Draw(t, "stage"), Lines: []string{raw.Draw(t, "line")}}
		e := Entry{Action: key.ID(), Output: OutputID{1}, Files: 1, Bytes: 2, Key: key.Text(), Made: raw.Draw(t, "made"), Build: raw.Draw(t, "build")}
		if got, err := parseEntry(e.encode()); err != nil || got != e {
			t.Fatalf("%v\n%s", err, cmp.Diff(e, got))
		}
	})
}

// TestNoLinks: a file system without links keeps results and claims of studies.
func TestNoLinks(t *testing.T) {
	was := link
	defer func() { link = was }()
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENOSYS, syscall.EOPNOTSUPP} {
		link = func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: errno} }
		s := open(t, scratch(t))
		key, files := sample()
		first, err := put(t, s, key, files)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := put(t, s, key, map[string]string{"f": "other"}); err != nil || e.Output != first.Output || e.Rejected.IsZero() {
			t.Errorf("%v: the second got %+v, %v", errno, e, err)
		}
		overwrite(t, s.action(first.Action), "damaged")
		if _, err := put(t, s, key, files); err != nil {
			t.Errorf("%v: once more: %v", errno, err)
		}
		if got, err := get(t, open(t, s.dir), key.ID()); err != nil || cmp.Diff(files, got) != "" {
			t.Errorf("%v: got %v, %v", errno, got, err)
		}
		root := t.TempDir()
		for range 2 {
			dir, err := s.ClaimStudy("first", root, "xla:cpu")
			if err != nil {
				t.Fatal(err)
			}
			if st, err := ReadStudy(dir); err != nil || st != (Study{"first", root, "xla:cpu"}) {
				t.Errorf("%v: study.json is %+v, %v", errno, st, err)
			}
		}
	}
}

// TestOpenFile: a file is not a store, and is not an empty one.
func TestOpenFile(t *testing.T) {
	name := filepath.Join(scratch(t), "f")
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name); err == nil || !strings.Contains(err.Error(), "store "+name+": it is a file") || !strings.Contains(err.Error(), "--store") {
		t.Errorf("got %v", err)
	}
}

// TestJournalInTheWay: a file in the place of a folder of journals is an error when that
// folder is read or written; anything else beside journals is skipped, and nothing blocks.
func TestJournalInTheWay(t *testing.T) {
	s := open(t, scratch(t))
	dir, err := s.ClaimStudy("first", t.TempDir(), "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := j.Append(Event{Kind: Started, Time: at(0), Action: ActionID{1}}); err != nil {
		t.Fatal(err)
	}
	studies := filepath.Dir(dir)
	write(t, studies, map[string]string{".DS_Store": "", "old/study.json": "", "old/events": ""})
	if err := syscall.Mkfifo(filepath.Join(journals(dir), "pipe"+journalSuffix), 0o666); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Attempts(); err != nil || len(all) != 1 {
		t.Errorf("%d attempts, %v", len(all), err)
	}
	old := filepath.Join(studies, "old")
	if events, _, err := ReadJournal(old); err != nil || len(events) != 0 {
		t.Errorf("reading: %v, %v", events, err)
	}
	if _, err := s.OpenJournal(old); err == nil || !strings.Contains(err.Error(), journals(old)) || !strings.Contains(err.Error(), "ove it away") {
		t.Errorf("opening: %v", err)
	}
}

// TestElsewhere: an attempt on another machine counts as running until it has had no
// event for a week.
func TestElsewhere(t *testing.T) {
	old := time.Now().Add(-abandoned - time.Hour)
	for _, c := range []struct {
		process string
		last    time.Time
		want    Outcome
	}{
		{"000000000001-17-1", time.Now().Add(-time.Hour), OutcomeRunning},
		{"000000000001-17-1", old, OutcomeInterrupted},
		{processName(), old, OutcomeRunning}, // this one lives, whatever its age
		{"", old, OutcomeRunning},
	} {
		all := Attempts([]Event{
			{Kind: Started, Process: c.process, Time: old, Action: ActionID{1}},
			{Kind: Started, Process: c.process, Time: c.last, Action: ActionID{2}},
		})
		for _, a := range all {
			if a.Outcome != c.want {
				t.Errorf("%s, last event %v: got %s, want %s", c.process, c.last, a.Outcome, c.want)
			}
		}
	}
}

// TestStudyFile: a file that is not exactly the record of a study is an error.
func TestStudyFile(t *testing.T) {
	dir := scratch(t)
	name := filepath.Join(dir, studyFile)
	good := `{"study":"first","root":"/m","backend":"xla:cpu"}`
	for _, bad := range []string{"", "{}", "null", good + good, good + " x", `{"study":"first","root":"/m","extra":1}`, `{"study":"first"}`,
		good + strings.Repeat(" ", mostStudy)} {
		if err := os.WriteFile(name, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		if st, err := ReadStudy(dir); err == nil || st != (Study{}) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "the next run writes it again") {
			t.Errorf("%.60q: %+v, %v", bad, st, err)
		}
	}
	if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o666)); err != nil {
		t.Fatal(err)
	}
	if st, err := ReadStudy(dir); err == nil || !strings.Contains(err.Error(), "the next run writes it again") {
		t.Errorf("pipe: %+v, %v", st, err)
	}
}

// TestClaimOfTheGone: two modules that claim the folder of a removed module get different
// folders.
func TestClaimOfTheGone(t *testing.T) {
	s := open(t, scratch(t))
	gone, a, b := filepath.Join(t.TempDir(), "gone"), t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(a, "cue.mod"), 0o777), os.Mkdir(filepath.Join(b, "cue.mod"), 0o777)); err != nil {
		t.Fatal(err)
	}
	old, err := s.ClaimStudy("first", gone, "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	var first string
	s.step = func(string) {
		s.step = nil
		if first, err = open(t, s.dir).ClaimStudy("first", a, "xla:cpu"); err != nil {
			t.Error(err)
		}
	}
	second, err := s.ClaimStudy("first", b, "xla:cpu")
	if err != nil || first != old || second == first {
		t.Errorf("%s and %s, %v", first, second, err)
	}
	for dir, root := range map[string]string{first: a, second: b} {
		if st, err := ReadStudy(dir); err != nil || st.Root != root {
			t.Errorf("%s is %+v, %v", dir, st, err)
		}
	}
}
