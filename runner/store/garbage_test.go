package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// garbage finds what no study needs and is older than a day.
func garbage(t *testing.T, s *Store, forget ...string) *Garbage {
	t.Helper()
	g, err := s.Garbage(t.Context(), GC{Age: 24 * time.Hour, Forget: forget, Quarantine: true})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// sweepAll removes garbage.
func sweepAll(t *testing.T, g *Garbage) {
	t.Helper()
	n := 0
	if err := g.Remove(t.Context(), func(done, total int) {
		if n++; done != n || done > total {
			t.Errorf("progress is %d of %d, want %d", done, total, n)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, g.s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
}

// have returns the stages of all entries of a store, and the number of its artifacts.
func have(t *testing.T, s *Store) string {
	t.Helper()
	ids := map[ActionID]bool{}
	all, err := s.index(t.Context(), func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		ids[x.id] = true
	}
	artifacts, err := s.shards("artifacts")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %d", stages(t, s, ids), len(artifacts))
}

// two is a store with two studies: the first needs a and b, the second b and d, which is
// made from c. Nobody needs e, and f, which is made from e.
func two(t *testing.T) (s *Store, first, second string, entries map[string]Entry) {
	t.Helper()
	s = open(t, scratch(t))
	first, second = study(t, s, "first"), study(t, s, "second/part")
	m := map[string]Entry{"a": result(t, s, "a", ""), "b": result(t, s, "b", ""), "c": result(t, s, "c", ""), "e": result(t, s, "e", "")}
	m["d"], m["f"] = result(t, s, "d", "", m["c"]), result(t, s, "f", "", m["e"])
	if err := errors.Join(s.AddRoots(first, []ActionID{m["a"].Action, m["b"].Action}), s.AddRoots(second, []ActionID{m["b"].Action, m["d"].Action})); err != nil {
		t.Fatal(err)
	}
	age(t, s.dir)
	return s, first, second, m
}

// TestGarbage: what no study needs is found and removed, and nothing else.
func TestGarbage(t *testing.T) {
	s, _, _, m := two(t)
	lost := Key{Stage: "lost"}.ID()
	write(t, s.dir, map[string]string{
		"partial/" + lost.String() + "/abc/state": "12345", "failed/" + lost.String(): "{}", "failed/" + m["a"].Action.String(): "{}",
		"quarantine/x": "1", "claims/" + lost.String(): someDead, "live/" + someDead: "{}",
	})
	age(t, s.dir)
	before := have(t, s)
	g := garbage(t, s)
	one := int64(len("a") + len("more"))
	want := []StudySize{{Study: "first", Folder: "first", Needed: Size{2, 2 * one}, Alone: Size{1, one}}, {Study: "second/part", Folder: "second~1part", Needed: Size{3, 3 * one}, Alone: Size{2, 2 * one}}}
	if d := cmp.Diff(want, g.Studies); d != "" {
		t.Errorf("studies (-want +got):\n%s", d)
	}
	if g.Needed != (Size{4, 4 * one}) || g.Shared != (Size{1, one}) || g.Spared != (Size{}) {
		t.Errorf("needed %v, shared %v, spared %v", g.Needed, g.Shared, g.Spared)
	}
	// The time of quarantine/ is that of the move.
	if g.Entries != 2 || g.Artifacts.Count != 2 || g.Artifacts.Bytes <= 2*one || g.States != (Size{1, 5}) || g.Failures != 1 || g.Dead != 2 || g.Quarantine.Count != 0 {
		t.Errorf("got %+v", g)
	}
	if now := have(t, s); now != before {
		t.Errorf("looking changed %s to %s", before, now)
	}
	sweepAll(t, g)
	if got := have(t, s); got != "abcd 4" {
		t.Errorf("left: %s", got)
	}
	for _, part := range []string{"partial", "live", filepath.Join("claims", lost.String())} {
		if names, _ := s.list(filepath.Join(s.dir, part)); len(names) > 0 {
			t.Errorf("left in %s: %v", part, names)
		}
	}
	if names, _ := s.list(filepath.Join(s.dir, "failed")); !slices.Equal(names, []string{m["a"].Action.String()}) {
		t.Errorf("failures: %v", names)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if _, err := get(t, open(t, s.dir), m[name].Action); err != nil {
			t.Error(err)
		}
	}
	if g := garbage(t, s); g.Entries != 0 || g.Artifacts.Count != 0 {
		t.Errorf("again: %+v", g)
	}
}

// TestSpared: what is young or in use stays, with what it was made from.
func TestSpared(t *testing.T) {
	now := time.Now()
	for name, use := range map[string]func(s *Store, f Entry){
		"young entry": func(s *Store, f Entry) { _ = os.Chtimes(s.action(f.Action), now, now) },
		"claimed": func(s *Store, f Entry) {
			write(t, filepath.Dir(s.claim(f.Action)), map[string]string{f.Action.String(): someAlive})
			putLive(t, s, someAlive, "{}")
		},
		"being computed": func(s *Store, f Entry) {
			putLive(t, s, someAlive, fmt.Sprintf(`{"actions":[{"action":"%s"}]}`, f.Action))
		},
		"journal since": func(s *Store, f Entry) { writeJournal(t, filepath.Join(s.dir, "studies/first"), someDead, f) },
	} {
		s, _, _, m := two(t)
		use(s, m["f"])
		g := garbage(t, s)
		sweepAll(t, g)
		if got := have(t, s); got != "abcdef 6" {
			t.Errorf("%s: left %s", name, got)
		}
	}
	// A young artifact stays without its entry.
	s, _, _, m := two(t)
	if err := os.Chtimes(s.artifact(m["f"].Output), now, now); err != nil {
		t.Fatal(err)
	}
	g := garbage(t, s)
	sweepAll(t, g)
	if got := have(t, s); got != "abcd 5" || g.Spared.Count != 1 {
		t.Errorf("left %s, spared %v", got, g.Spared)
	}
	// While a process uses the store, an age of less than an hour is refused.
	putLive(t, s, someAlive, "{}")
	var few *AgeError
	if _, err := s.Garbage(t.Context(), GC{Age: time.Minute}); !errors.As(err, &few) || few.Processes != 1 {
		t.Errorf("got %v", err)
	}
	if _, err := s.Garbage(t.Context(), GC{Age: time.Hour}); err != nil {
		t.Error(err)
	}
}

// TestForget: a study whose needs are not known is named, and one that is forgotten needs
// nothing.
func TestForget(t *testing.T) {
	s, first, _, _ := two(t)
	if err := os.Remove(filepath.Join(first, rootsFile)); err != nil {
		t.Fatal(err)
	}
	write(t, s.dir, map[string]string{"studies/imported/report/index.html": "", "studies/.DS_Store": ""})
	var unknown *RootsError
	if _, err := s.Garbage(t.Context(), GC{}); !errors.As(err, &unknown) || !slices.Equal(unknown.Studies, []string{"first"}) {
		t.Errorf("got %v", err)
	}
	sweepAll(t, garbage(t, s, "first"))
	if got := have(t, s); got != "bcd 3" {
		t.Errorf("left: %s", got)
	}
	var none *ForgetError
	for _, name := range []string{"third", "imported"} {
		if _, err := s.Garbage(t.Context(), GC{Forget: []string{"first", name}}); !errors.As(err, &none) || !slices.Equal(none.Studies, []string{"first", "second~1part"}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	putLive(t, s, someAlive, `{"study":"first"}`)
	if _, err := s.Garbage(t.Context(), GC{Age: time.Hour, Forget: []string{"first"}}); err == nil || !strings.Contains(err.Error(), "cannot be forgotten now") {
		t.Errorf("got %v", err)
	}
}

// TestNeededMeanwhile: what a run has come to need after the look stays, and an artifact
// that got a new entry stays.
func TestNeededMeanwhile(t *testing.T) {
	s, first, _, m := two(t)
	g := garbage(t, s)
	s.step = func(at string) {
		if at == "taken" {
			s.step = nil
			if err := s.AddRoots(first, []ActionID{m["f"].Action}); err != nil {
				t.Error(err)
			}
		}
	}
	sweepAll(t, g)
	// f is read by the run; e, its input, is only computed again if its bytes are lost.
	if got := have(t, s); got != "abcdf 6" {
		t.Errorf("left: %s", got)
	}
	if _, err := get(t, open(t, s.dir), m["f"].Action); err != nil {
		t.Error(err)
	}

	s, _, _, m = two(t)
	g = garbage(t, s)
	s.step = func(at string) {
		if at == "entries taken" {
			s.step = nil
			if _, err := put(t, open(t, s.dir), Key{Stage: "e", Lines: []string{"new x"}}, map[string]string{"f": "e", "g": "more"}); err != nil {
				t.Error(err)
			}
		}
	}
	sweepAll(t, g)
	if got := have(t, s); got != "abcde 5" {
		t.Errorf("left: %s", got)
	}
	if _, err := get(t, open(t, s.dir), Key{Stage: "e", Lines: []string{"new x"}}.ID()); err != nil {
		t.Error(err)
	}
	_ = m
}

// TestKilledRemoval: at no moment is there an entry whose artifact is not whole, and what
// a killed removal has moved is removed later.
func TestKilledRemoval(t *testing.T) {
	killed := errors.New("killed")
	for stop := 1; ; stop++ {
		s, _, _, _ := two(t)
		g := garbage(t, s)
		n := 0
		s.step = func(string) {
			if n++; n == stop {
				panic(killed)
			}
		}
		// It dies without removing what is in tmp: a copy of the store is made then.
		copied := filepath.Join(scratch(t), "copy")
		func() {
			defer func() {
				if recover() == nil {
					copied = ""
				}
			}()
			was := s.step
			s.step = func(at string) {
				if n+1 == stop {
					if err := os.CopyFS(copied, os.DirFS(s.dir)); err != nil {
						t.Error(err)
					}
				}
				was(at)
			}
			_ = g.Remove(context.Background(), func(int, int) {})
		}()
		if copied == "" {
			if stop < 3 {
				t.Fatalf("it has only %d moments", stop-1)
			}
			return
		}
		c := open(t, copied)
		all, err := c.Entries()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if _, err := get(t, c, e.Action); err != nil {
				t.Errorf("moment %d: %v", stop, err)
			}
		}
		for _, name := range leftovers(t, c) { // its process has ended
			if err := os.Rename(filepath.Join(copied, "tmp", name), filepath.Join(copied, "tmp", someDead+"-x"+name[len(name)-4:])); err != nil {
				t.Fatal(err)
			}
		}
		age(t, copied)
		sweepAll(t, garbage(t, c))
		if got := have(t, c); got != "abcd 4" {
			t.Errorf("moment %d: after the next removal: %s", stop, got)
		}
	}
}

// TestInterruptedRemoval: a removal that is stopped while it takes entries puts them back.
func TestInterruptedRemoval(t *testing.T) {
	s, _, _, _ := two(t)
	g := garbage(t, s)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := g.Remove(ctx, func(int, int) { cancel(stop) }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if got := have(t, s); got != "abcdef 6" {
		t.Errorf("left: %s", got)
	}
	if left := leftovers(t, s); left != nil {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestReusedGarbage: an action gives the bytes of an artifact that is being removed as
// garbage. However the steps of both interleave, the result is there at the end.
func TestReusedGarbage(t *testing.T) {
	for seed := range uint64(200) {
		s, _, _, m := two(t)
		g := garbage(t, s)
		other := open(t, s.dir)
		rng := rand.New(rand.NewPCG(seed, 0))
		// Each of the two goes on to its next step when it is told to, and tells when it is there.
		type party struct{ goOn, there chan bool }
		begin := func(s *Store, work func()) party {
			p := party{make(chan bool), make(chan bool)}
			s.step = func(string) { p.there <- true; <-p.goOn }
			go func() {
				defer close(p.there)
				<-p.goOn
				work()
			}()
			return p
		}
		var rerr, perr error
		var e Entry
		running := []party{
			begin(s, func() { rerr = g.Remove(context.Background(), func(int, int) {}) }),
			begin(other, func() { e, perr = put(t, other, Key{Stage: "again"}, map[string]string{"f": "e", "g": "more"}) }),
		}
		for len(running) > 0 {
			i := rng.IntN(len(running))
			for range 1 + rng.IntN(12) {
				running[i].goOn <- true
				if !<-running[i].there {
					running = slices.Delete(running, i, i+1)
					break
				}
			}
		}
		if err := errors.Join(rerr, perr); err != nil || e.Output != m["e"].Output {
			t.Fatalf("seed %d: output %s, %v", seed, e.Output, err)
		}
		if _, err := get(t, open(t, s.dir), e.Action); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestOtherEntries: damaged entries and those of earlier formats are garbage, unless they
// are needed; one of a later format stops everything.
func TestOtherEntries(t *testing.T) {
	s, _, _, m := two(t)
	of := func(name, format string) {
		text := fmt.Sprintf("%s\naction %s\n", format, m[name].Action)
		overwrite(t, s.action(m[name].Action), text+fmt.Sprintf("sum %x\n", sumOf(text)))
	}
	of("e", "ablate entry 1")
	overwrite(t, s.action(m["f"].Action), "damaged")
	overwrite(t, s.action(m["a"].Action), "damaged")
	age(t, s.dir)
	sweepAll(t, garbage(t, s))
	// a is needed; its artifact goes, because nothing reads it before it is computed again.
	if got := have(t, s); got != "?bcd 3" {
		t.Errorf("left: %s", got)
	}
	of("b", "ablate entry 3")
	age(t, s.dir)
	if _, err := s.Garbage(t.Context(), GC{}); err == nil || !strings.Contains(err.Error(), "later version") || !strings.Contains(err.Error(), m["b"].Action.String()) {
		t.Errorf("got %v", err)
	}
}

// TestQuarantine: damaged files are garbage when they are asked for and their move was a
// day ago.
func TestQuarantine(t *testing.T) {
	s, _, _, _ := two(t)
	write(t, s.dir, map[string]string{"quarantine/x/manifest": "12"})
	for _, c := range []struct {
		o    GC
		want Size
	}{{GC{}, Size{}}, {GC{Quarantine: true}, Size{1, 2}}, {GC{Quarantine: true, Age: time.Hour}, Size{}}} {
		g, err := s.Garbage(t.Context(), c.o)
		if err != nil || g.Quarantine != c.want {
			t.Errorf("%+v: %v, %v", c.o, g.Quarantine, err)
		}
		if c.want.Count > 0 {
			sweepAll(t, g)
			if names := quarantined(t, s); len(names) > 0 {
				t.Errorf("left: %v", names)
			}
			write(t, s.dir, map[string]string{"quarantine/x/manifest": "12"})
		}
	}
}

// TestChangedGarbage: what changes in the moment before it is moved away goes back.
func TestChangedGarbage(t *testing.T) {
	s, _, _, m := two(t)
	lost := Key{Stage: "lost"}.ID()
	write(t, s.dir, map[string]string{"partial/" + lost.String() + "/abc/state": "old", "failed/" + lost.String(): "old"})
	age(t, s.dir)
	now := time.Now()
	for path, change := range map[string]func(){
		s.partial(lost):           func() { write(t, s.partial(lost), map[string]string{"abc/state": "new"}) },
		s.failed(lost):            func() { write(t, s.dir, map[string]string{"failed/" + lost.String(): "new"}) },
		s.artifact(m["e"].Output): func() { _ = os.Chtimes(s.artifact(m["e"].Output), now, now) },
	} {
		r := removal{s: s, dir: s.tempName(), progress: func(int, int) {}}
		if err := s.folder(r.dir); err != nil {
			t.Fatal(err)
		}
		x := item{path: path, time: touched(path)}
		s.step = func(at string) {
			if at == "taking" {
				change()
			}
		}
		if err := r.remove(t.Context(), x); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); err != nil || touched(path).Equal(x.time) {
			t.Errorf("%s: %v, changed at %v", path, err, touched(path))
		}
		s.step = nil
		if err := r.remove(t.Context(), item{path: path, time: touched(path)}); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !absent(err) {
			t.Errorf("%s is not removed: %v", path, err)
		}
		if err := os.RemoveAll(r.dir); err != nil {
			t.Error(err)
		}
	}
}
