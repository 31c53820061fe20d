package store

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzRoots: a roots file that is parsed encodes to the same bytes.
func FuzzRoots(f *testing.F) {
	f.Add([]byte(""))
	f.Add(roots{map[ActionID]bool{{1}: true, {2}: true}, map[string]int64{"a-1-2.jsonl": 12, "\n\xff": 0}}.encode())
	f.Add([]byte(journalWord + "-1 \"a\"\n"))
	f.Add([]byte(strings.Repeat(ActionID{1}.String()+"\n", 2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRoots(data)
		if err == nil && !bytes.Equal(r.encode(), data) {
			t.Errorf("read %+v", r)
		}
	})
}

// study claims the folder of a study, whose module exists.
func study(t *testing.T, s *Store, name string) string {
	t.Helper()
	root := t.TempDir()
	dir, err := s.ClaimStudy(name, root, "xla:cpu")
	if err = errors.Join(err, os.Mkdir(filepath.Join(root, "cue.mod"), 0o777)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// result commits a result of an action that reads the outputs of others.
func result(t *testing.T, s *Store, name string, backend string, inputs ...Entry) Entry {
	t.Helper()
	key := Key{Stage: name, Backend: backend}
	for _, in := range inputs {
		key.Inputs = append(key.Inputs, Input{"in", in.Output})
	}
	e, err := put(t, s, key, map[string]string{"f": name, "g": "more"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// writeJournal writes events of a process about actions.
func writeJournal(t *testing.T, dir, process string, entries ...Entry) {
	t.Helper()
	j := &Journal{dir: dir, process: process}
	if err := os.MkdirAll(journals(dir), 0o777); err != nil {
		t.Fatal(err)
	}
	var err error
	if j.f, err = os.OpenFile(filepath.Join(journals(dir), process+journalSuffix), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, e := range entries {
		if err := j.Append(Event{Kind: Finished, Time: at(0), Action: e.Action}); err != nil {
			t.Fatal(err)
		}
	}
}

// someDead is the name of a process that has ended, someAlive that of one on another
// machine.
var someDead, someAlive = machine() + "-999999999-1", "000000000001-17-1"

// putLive writes the announcement of a process.
func putLive(t *testing.T, s *Store, process, text string) {
	t.Helper()
	write(t, s.dir, map[string]string{"live/" + process: text})
}

// needed returns the needed actions of a study by the names of their stages.
func needed(t *testing.T, s *Store, dir string) string {
	t.Helper()
	need, _, err := s.needs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return stages(t, s, need)
}

// stages returns the sorted stages of actions in the store; others count as ?.
func stages(t *testing.T, s *Store, ids map[ActionID]bool) string {
	t.Helper()
	names := map[string]bool{}
	for id := range ids {
		e, err := s.Index(id)
		if err != nil {
			names["?"] = true
			continue
		}
		names[e.Stage()] = true
	}
	var b strings.Builder
	for _, n := range []string{"?", "a", "b", "c", "d", "e", "f"} {
		if names[n] {
			b.WriteString(n)
		}
	}
	return b.String()
}

// TestRoots: roots grow with runs of a part of a study, and with what journals have that
// they do not account for; a run of the whole study replaces them.
func TestRoots(t *testing.T) {
	s := open(t, scratch(t))
	dir := study(t, s, "first")
	a, b, c, d := result(t, s, "a", ""), result(t, s, "b", ""), result(t, s, "c", ""), result(t, s, "d", "")
	if _, _, err := s.needs(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without roots: %v", err)
	}
	// The first part. A study that ran before it had roots needs its journals.
	writeJournal(t, dir, someDead, d)
	lost := Key{Stage: "lost"}.ID()
	if err := s.AddRoots(dir, []ActionID{a.Action, a.Action, lost}); err != nil {
		t.Fatal(err)
	}
	if got := needed(t, s, dir); got != "?ad" {
		t.Errorf("the first part: %s", got)
	}
	// The next one; what nothing is left of goes.
	writeJournal(t, dir, someDead, b)
	if got := needed(t, s, dir); got != "?abd" {
		t.Errorf("a journal that went on: %s", got)
	}
	if err := s.AddRoots(dir, []ActionID{c.Action}); err != nil {
		t.Fatal(err)
	}
	if got := needed(t, s, dir); got != "abcd" {
		t.Errorf("the next part: %s", got)
	}
	// The whole study.
	if err := s.SetRoots(dir, []ActionID{a.Action}, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	if got := needed(t, s, dir); got != "a" {
		t.Errorf("the whole study: %s", got)
	}
	// A process that is alive, or may be, needs all that it had.
	putLive(t, s, someAlive, "{}")
	writeJournal(t, dir, someAlive, b)
	for range 2 {
		if got := needed(t, s, dir); got != "ab" {
			t.Errorf("beside another process: %s", got)
		}
		if err := s.SetRoots(dir, []ActionID{a.Action}, "xla:cpu"); err != nil {
			t.Fatal(err)
		}
	}
	// A line that is not complete counts when it is.
	name := filepath.Join(journals(dir), someDead+journalSuffix)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	writeJournal(t, dir, someDead, c)
	longer, err := os.ReadFile(name)
	if err = errors.Join(err, os.WriteFile(name, longer[:len(whole)+20], 0o666), s.SetRoots(dir, []ActionID{a.Action}, "xla:cpu"), os.WriteFile(name, longer, 0o666)); err != nil {
		t.Fatal(err)
	}
	if got := needed(t, s, dir); got != "abc" {
		t.Errorf("a line that was incomplete: %s", got)
	}
}

// TestRootsOfClasses: what was computed on another class of backend stays, with all that
// was made of it.
func TestRootsOfClasses(t *testing.T) {
	s := open(t, scratch(t))
	dir := study(t, s, "first")
	a := result(t, s, "a", "")         // prompts
	b := result(t, s, "b", "xla:cuda") // images
	c := result(t, s, "c", "", b)      // their verdicts
	d := result(t, s, "d", "", c, a)
	e := result(t, s, "e", "xla:cpu", a)
	f := result(t, s, "f", "", e)
	if err := s.AddRoots(dir, []ActionID{a.Action, b.Action, c.Action, d.Action, e.Action, f.Action}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetRoots(dir, []ActionID{a.Action}, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	if got := needed(t, s, dir); got != "abcd" {
		t.Errorf("needed: %s", got)
	}
}

// TestDamagedRoots: what cannot be read is an error that says what to do, and stays until
// the whole study has run.
func TestDamagedRoots(t *testing.T) {
	s := open(t, scratch(t))
	dir := study(t, s, "first")
	a, b := result(t, s, "a", ""), result(t, s, "b", "")
	good := string(roots{map[ActionID]bool{a.Action: true, b.Action: true}, nil}.encode())
	for _, bad := range []string{good[1:], good + "x\n", good[:len(good)-1], good + good, good + "journal x \"a\"\n", good + "journal 1 a\n"} {
		write(t, dir, map[string]string{rootsFile: bad})
		err := s.AddRoots(dir, []ActionID{a.Action})
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, rootsFile)) || !strings.Contains(err.Error(), "run the whole study again") {
			t.Errorf("%.40q: %v", bad, err)
		}
		if have, err := os.ReadFile(filepath.Join(dir, rootsFile)); err != nil || string(have) != bad {
			t.Errorf("%.40q became %.40q, %v", bad, have, err)
		}
		if _, err := s.Garbage(t.Context(), GC{}); err == nil || !strings.Contains(err.Error(), rootsFile) {
			t.Errorf("%.40q: garbage: %v", bad, err)
		}
	}
	if err := s.SetRoots(dir, []ActionID{a.Action}, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	r, err := readRoots(dir)
	if err != nil || cmp.Diff(map[ActionID]bool{a.Action: true}, r.ids) != "" {
		t.Errorf("%v, %v", maps.Keys(r.ids), err)
	}
}

var old = time.Now().Add(-48 * time.Hour)

// age makes everything below a folder two days old.
func age(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(p, old, old))
	}); err != nil {
		t.Fatal(err)
	}
}
