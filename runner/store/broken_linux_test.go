//go:build amd64 || arm64

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ablate/runner/internal/diskfault"
)

// brokenWork is everything that a store writes: what a run does with some actions, and then the
// other studies of the store, a removal of garbage and a merge. It returns the outcome of each
// step; a step goes on after an error only where a run would.
func brokenWork(dir string) (steps []brokenStep) {
	did := func(name string, err error) bool {
		steps = append(steps, brokenStep{name, err})
		return err == nil
	}
	s, err := Open(dir)
	if !did("open", err) {
		return steps
	}
	study, err := s.ClaimStudy("first", filepath.Dir(dir), "xla:cuda")
	if !did("study", err) {
		return steps
	}
	if !did("roots", s.AddRoots(study, []ActionID{{1}, brokenKey("kept").ID(), brokenKey("new").ID()})) {
		return steps
	}
	j, err := s.OpenJournal(study)
	if !did("journal", err) {
		return steps
	}
	defer j.Close()
	p, err := s.Announce(Live{Study: "first"})
	if !did("announce", err) {
		return steps
	}
	ids := []ActionID{{1}}
	for _, name := range brokenActions {
		key := brokenKey(name)
		ids = append(ids, key.ID())
		if !strings.HasPrefix(name, "group") {
			did("compute "+name, brokenCompute(s, p, j, key, brokenFiles(name)))
		}
	}
	s.step = func(at string) {
		if at == "syncing" { // of the first one; so the others meet
			time.Sleep(5 * time.Millisecond)
		}
	}
	var group sync.WaitGroup
	errs := make([]error, brokenGroup)
	for i := range errs {
		name := fmt.Sprint("group ", i)
		group.Go(func() { errs[i] = brokenCompute(s, p, j, brokenKey(name), brokenFiles(name)) })
	}
	group.Wait()
	s.step = nil
	for i, err := range errs {
		did(fmt.Sprint("compute group ", i), err)
	}
	// The first result of an action stays.
	did("compute kept", brokenCompute(s, p, j, brokenKey("kept"), map[string]string{"f": "other bytes"}))
	did("fail", s.Fail(Failure{Action: ActionID{1}, Class: "error", Error: "it failed", Time: at(1)}))
	did("retry", s.Retry(ActionID{2}))
	did("set roots", s.SetRoots(study, append(ids, brokenKey("kept").ID()), "xla:cpu"))
	if !did("close", p.Close()) {
		return steps
	}
	other, err := Open(dir + " other")
	if err == nil {
		_, err = s.Merge(context.Background(), other, func(int, int) {})
	}
	if !did("merge", err) { // a removal of garbage refuses to work on half of a study
		return steps
	}
	g, err := s.Garbage(context.Background(), GC{Quarantine: true})
	if err == nil {
		err = g.Remove(context.Background(), func(int, int) {})
	}
	did("gc", err)
	return steps
}

type brokenStep struct {
	name string
	err  error
}

// brokenActions are computed by brokenWork: a new one, one of equal bytes, one whose claim a
// dead process has, one whose artifact is damaged, one whose entry is, and a group of actions
// at the same time, whose files are synced together.
var brokenActions = []string{"new", "twin", "taken", "damaged", "corrupt", "group 0", "group 1", "group 2", "group 3", "group 4", "group 5"}

const brokenGroup = 6

func brokenKey(name string) Key { return Key{Stage: name, Backend: "xla:cpu"} }

func brokenFiles(name string) map[string]string {
	if name == "twin" {
		name = "new"
	}
	return map[string]string{"f": name, "deep/g": strings.Repeat(name, 1000), "empty": ""}
}

// brokenCompute computes an action as a run does.
func brokenCompute(s *Store, p *Presence, j *Journal, key Key, files map[string]string) (err error) {
	id := key.ID()
	if err := p.Claim(id); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Release(id)) }()
	if err := j.Append(Event{Kind: Started, Time: time.Now(), Action: id}); err != nil {
		return err
	}
	w, err := s.Begin(key)
	if err != nil {
		return err
	}
	defer w.Abort()
	state, err := s.Partial(id, "here")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(state, "state"), []byte("half of it"), 0o666); err != nil {
		return s.Diagnose(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(w.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return s.Diagnose(err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o666); err != nil {
			return s.Diagnose(err)
		}
	}
	written, err := Written(context.Background(), w.Dir())
	if err != nil {
		return err
	}
	if _, err := w.Commit(context.Background(), Commit{Written: written}); err != nil {
		return err
	}
	s.RemovePartial(id)
	return errors.Join(s.Retry(id), j.Append(Event{Kind: Finished, Time: time.Now(), Action: id}))
}

// brokenStart makes the store with which brokenWork begins, and the one that it merges.
func brokenStart(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir)
	study, err := s.ClaimStudy("first", filepath.Dir(dir), "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]Entry{}
	for _, name := range []string{"kept", "damaged", "corrupt", "garbage"} {
		if entries[name], err = put(t, s, brokenKey(name), brokenFiles(name)); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(t, filepath.Join(s.files(entries["damaged"].Output), "f"), "Damaged")
	overwrite(t, s.action(entries["corrupt"].Action), "corrupt")
	write(t, dir, map[string]string{
		"live/" + someDead: "{}", "claims/" + brokenKey("taken").ID().String(): someDead, "tmp/" + someDead + "-x/f": "left",
		"partial/" + brokenKey("kept").ID().String() + "/here/state": "old", "failed/" + brokenKey("new").ID().String(): "{}", "failed/" + ActionID{2}.String(): "{}",
		"quarantine/x": "old",
	})
	if err := s.AddRoots(study, []ActionID{entries["kept"].Action}); err != nil {
		t.Fatal(err)
	}
	o := open(t, dir+" other")
	if _, err := put(t, o, brokenKey("merged"), brokenFiles("merged")); err != nil {
		t.Fatal(err)
	}
	theirs, err := o.ClaimStudy("second", filepath.Dir(dir), "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	writeJournal(t, theirs, someDead, Entry{Action: brokenKey("merged").ID()})
	if err := errors.Join(o.AddRoots(theirs, []ActionID{brokenKey("merged").ID()}), o.Fail(Failure{Action: ActionID{3}, Class: "error", Error: "it failed"})); err != nil {
		t.Fatal(err)
	}
}

// A brokenRun is a process that does the work while a fault is injected.
type brokenRun struct {
	t     *testing.T
	dir   string
	hit   []diskfault.Op    // the operations that failed
	ops   []diskfault.Op    // all operations
	cause string            // text of the error that was injected; empty if the process was killed
	done  map[string]string // the error of each step, "" for none
	dirty map[string]bool   // files and folders that were changed, and not synced since
}

// do does the work in another process, in which the operations for which fault has one fail.
func (b *brokenRun) do(fault func(diskfault.Op) diskfault.Fault) {
	b.t.Helper()
	brokenStart(b.t, b.dir)
	cmd := exec.Command(os.Args[0], "-test.run=^TestBrokenDisk$")
	cmd.Env = append(os.Environ(), "ABLATE_STORE_TEST_DIR="+b.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	b.dirty = map[string]bool{}
	ended, err := diskfault.Start(cmd, b.dir, func(o diskfault.Op) diskfault.Fault {
		if _, err := os.Lstat(o.Path); o.Name == diskfault.Remove && absent(err) {
			return diskfault.Fault{} // nothing is there to remove
		}
		b.ops = append(b.ops, o)
		f := fault(o)
		if f == (diskfault.Fault{}) || f.Short {
			b.changed(o)
		}
		if f != (diskfault.Fault{}) {
			b.hit = append(b.hit, o)
			if b.cause = f.Err.Error(); f.Kill {
				b.cause = ""
			}
		}
		return f
	})
	if err != nil {
		skip(b.t, err.Error())
	}
	_ = cmd.Wait()
	<-ended
	b.done = map[string]string{}
	for line := range strings.Lines(out.String()) {
		if name, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), brokenMark); ok {
			if b.done[name], err = strconv.Unquote(text); err != nil {
				b.t.Fatalf("%s: %v", line, err)
			}
		}
	}
	if strings.Contains(out.String(), "panic") || b.cause != "" && len(b.done) == 0 {
		b.t.Errorf("%v: it printed\n%s", b.hit, &out)
	}
}

const brokenMark = " ==> "

// changed notes what an operation changes, or syncs. Files and folders that get their names in
// the store must have been synced: after a power failure, a name must not be there without the
// bytes.
func (b *brokenRun) changed(o diskfault.Op) {
	move := func(keep bool) {
		for path := range maps.Clone(b.dirty) {
			if rest, ok := strings.CutPrefix(path, o.Path); ok && (rest == "" || rest[0] == '/') {
				if b.dirty[o.To+rest] = true; !keep {
					delete(b.dirty, path)
				}
			}
		}
	}
	switch o.Name {
	case diskfault.Write:
		b.dirty[o.Path] = true
	case diskfault.Create, diskfault.Mkdir:
		b.dirty[filepath.Dir(o.Path)] = true
	case diskfault.Sync:
		delete(b.dirty, o.Path)
	case diskfault.SyncAll:
		clear(b.dirty)
	case diskfault.Rename, diskfault.Link:
		rel, err := filepath.Rel(b.dir, o.To)
		if err != nil {
			b.t.Fatal(err)
		}
		if part := strings.Split(rel, "/")[0]; slices.Contains([]string{"actions", "artifacts", "studies", "failed"}, part) {
			for path := range b.dirty {
				if path == o.Path || strings.HasPrefix(path, o.Path+"/") {
					b.t.Errorf("%s: %s is not synced", o, path)
				}
			}
		}
		move(o.Name == diskfault.Link)
		b.dirty[filepath.Dir(o.To)] = true
	}
}

// harmless reports whether an operation may fail and nobody is told: what it does is done in
// another way, or by a later process.
func (b *brokenRun) harmless(o diskfault.Op) bool {
	rel := strings.TrimPrefix(o.Path, b.dir+"/")
	part, _, _ := strings.Cut(rel, "/")
	swept := slices.IndexFunc(b.ops, func(o diskfault.Op) bool {
		return o.Name == diskfault.Remove && strings.HasPrefix(o.Path, b.dir+"/partial/")
	})
	if i := slices.Index(b.ops, o); i < swept { // what dead processes left is removed first of all, as far as that is possible
		return true
	}
	switch o.Name {
	case diskfault.Remove:
		return part == "tmp" || part == "partial" || strings.Contains(rel, someDead) || strings.HasPrefix(rel, "claims/"+brokenKey("taken").ID().String())
	case diskfault.Link:
		return strings.HasPrefix(o.To, b.dir+"/claims/") // tried again with a copy
	case diskfault.Attribute:
		return part == "artifacts" // the time of an artifact that is found again
	}
	return false
}

// check checks what the process said and what it left, and that the next one can do the work.
func (b *brokenRun) check() {
	b.t.Helper()
	fail := func(format string, args ...any) {
		b.t.Helper()
		b.t.Errorf("%v: %s", b.hit, fmt.Sprintf(format, args...))
	}
	said := ""
	for name, text := range b.done {
		if text == "" {
			continue
		}
		said = text
		if b.cause != "" && (!strings.Contains(text, b.cause) || !strings.Contains(text, b.dir)) {
			fail("%s: the error does not have the cause and the place: %s", name, text)
		}
	}
	if loud := slices.ContainsFunc(b.hit, func(o diskfault.Op) bool { return !b.harmless(o) }); loud && b.cause != "" && said == "" {
		fail("nobody is told")
	}
	s := open(b.t, b.dir)
	found := func(name string, id ActionID, want map[string]string) {
		b.t.Helper()
		if got, err := get(b.t, s, id); err != nil || !maps.Equal(got, want) {
			fail("%s: %v, %v", name, got, err)
		}
	}
	// What was finished before or is said to be finished now is there; other entries are whole.
	found("kept", brokenKey("kept").ID(), brokenFiles("kept"))
	for _, name := range append([]string{"garbage", "merged"}, brokenActions...) {
		id := brokenKey(name).ID()
		_, err := s.Index(id)
		text, ok := b.done["compute "+name]
		if name == "merged" {
			text, ok = b.done["merge"]
		}
		started := (name == "damaged" || name == "corrupt") && (!ok || text != "")
		switch {
		case ok && text == "", err == nil && !started:
			found(name, id, brokenFiles(name))
		case err != nil && !errors.Is(err, ErrNotFound), Damaged(err) && !started:
			fail("%s: %v", name, err)
		}
	}
	study := filepath.Join(b.dir, "studies", "first")
	if st, err := ReadStudy(study); err != nil || st.Study != "first" {
		fail("study: %+v, %v", st, err)
	}
	if r, err := readRoots(study); err != nil || !r.ids[brokenKey("kept").ID()] {
		fail("roots: %v, %v", r, err)
	} else if text, ok := b.done["set roots"]; ok && text == "" && !r.ids[brokenKey("twin").ID()] {
		fail("roots lack what was set")
	}
	events, _, err := ReadJournal(study)
	if err != nil {
		fail("journal: %v", err)
	}
	for _, name := range brokenActions {
		n := 0
		for _, e := range events {
			if e.Action == brokenKey(name).ID() {
				n++
			}
		}
		if text, ok := b.done["compute "+name]; ok && text == "" && n < 2 {
			fail("%d events of %s", n, name)
		}
	}
	if text, ok := b.done["fail"]; ok && text == "" {
		if f, ok := s.Failed(ActionID{1}); !ok || f.Error != "it failed" {
			fail("the failure is lost")
		}
	}
	// The next process repairs everything.
	for _, step := range brokenWork(b.dir) {
		if step.err != nil {
			fail("again: %s: %v", step.name, step.err)
		}
	}
	for _, name := range append([]string{"kept", "merged"}, brokenActions...) {
		found("again: "+name, brokenKey(name).ID(), brokenFiles(name))
	}
	if _, err := s.Index(brokenKey("garbage").ID()); !errors.Is(err, ErrNotFound) || Damaged(err) {
		fail("again: garbage: %v", err)
	}
	for _, part := range []string{"tmp", "claims", "live", "partial"} {
		if names, err := s.list(filepath.Join(b.dir, part)); err != nil || len(names) > 0 {
			fail("again: left in %s: %v, %v", part, names, err)
		}
	}
	if names, err := s.shards("artifacts"); err != nil || len(names) != 6+brokenGroup {
		fail("again: artifacts %v, %v", names, err)
	}
}

// TestBrokenDisk lets operations on files fail below the store, each on its own or all from one
// on, as on a disk that is full, and kills the process before any. What the store says to have
// is there, an error has its cause and the place, and the next process does everything that is
// left. ABLATE_TEST_FAULTS is the number of faults and ABLATE_TEST_SEED the seed, which the test
// prints.
func TestBrokenDisk(t *testing.T) {
	if dir := os.Getenv("ABLATE_STORE_TEST_DIR"); dir != "" { // the process with the faults
		if err := diskfault.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, step := range brokenWork(dir) {
			text := ""
			if step.err != nil {
				text = step.err.Error()
			}
			fmt.Printf("%s%s%q\n", step.name, brokenMark, text)
		}
		return
	}
	root := scratch(t)
	next := func() *brokenRun {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		return &brokenRun{t: t, dir: filepath.Join(dir, "store")}
	}
	whole := next()
	whole.do(func(diskfault.Op) diskfault.Fault { return diskfault.Fault{} })
	for name, text := range whole.done {
		if text != "" {
			t.Errorf("without a fault: %s: %s", name, text)
		}
	}
	whole.check()
	covered(t, whole)
	kinds := map[string]int{} // number of operations of each kind
	for _, o := range whole.ops {
		kinds[whole.kind(o)]++
	}
	names := slices.Sorted(maps.Keys(kinds))
	number, r := diskfault.Random(t, 40)
	for n := range number {
		if n%len(names) == 0 {
			r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		kind := names[n%len(names)]
		err := []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT}[r.IntN(3)]
		fault := diskfault.Fault{Err: err, Short: r.IntN(2) == 0, Kill: r.IntN(5) == 0}
		rest := r.IntN(3) == 0 && !fault.Kill // the disk stays so
		b, at := next(), 1+r.IntN(kinds[kind])
		b.do(func(o diskfault.Op) diskfault.Fault {
			if b.kind(o) == kind {
				at--
			}
			if at == 0 && b.kind(o) == kind || rest && at < 0 && o.Name != diskfault.Remove {
				return fault
			}
			return diskfault.Fault{}
		})
		if b.check(); t.Failed() {
			t.Fatalf("fault %d: %s, %+v, and the rest: %v", n, kind, fault, rest)
		}
		if err := os.RemoveAll(filepath.Dir(b.dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// kind returns what an operation does, and in which part of the store.
func (b *brokenRun) kind(o diskfault.Op) string {
	part := func(path string) string {
		rel, _ := filepath.Rel(b.dir, path)
		return strings.Split(rel, "/")[0]
	}
	if o.To != "" {
		return o.Name + " " + part(o.Path) + " to " + part(o.To)
	}
	return o.Name + " " + part(o.Path)
}

// covered checks that the work has every kind of operation that a store has, in every part of it.
func covered(t *testing.T, b *brokenRun) {
	t.Helper()
	have := map[string]bool{}
	for _, o := range b.ops {
		have[b.kind(o)] = true
	}
	for _, want := range strings.Split("attribute artifacts, attribute tmp, create live, create partial, create studies, create tmp, "+
		"link tmp to actions, link tmp to claims, link tmp to studies, mkdir actions, mkdir artifacts, mkdir partial, mkdir studies, mkdir tmp, "+
		"remove claims, remove failed, remove live, remove partial, remove tmp, rename actions to quarantine, rename actions to tmp, "+
		"rename artifacts to quarantine, rename artifacts to tmp, rename quarantine to tmp, rename tmp to artifacts, rename tmp to failed, rename tmp to studies, "+
		"sync actions, sync artifacts, sync tmp, sync all ., write live, write partial, write studies, write tmp", ", ") {
		if !have[want] {
			t.Errorf("no operation is %q", want)
		}
	}
	t.Logf("%d operations", len(b.ops))
}
