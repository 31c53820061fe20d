package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process opens a store as another process, with a lease that tests can wait for.
func process(t *testing.T, dir, name string) *Store {
	t.Helper()
	s := open(t, dir)
	s.self, s.lease = name, time.Second // a busy machine must not miss it
	return s
}

// announce announces a process until the end of the test.
func announce(t *testing.T, s *Store, l Live) *Presence {
	t.Helper()
	p, err := s.Announce(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// freeze stops the heartbeat of a process, as SIGSTOP does.
func freeze(p *Presence) {
	close(p.quit)
	p.done.Wait()
	p.quit = make(chan struct{}) // for Close
}

// elsewhere is a name of a process of another machine.
func elsewhere(i int) string { return fmt.Sprintf("%012x-%d-1", 0xfeedface, i) }

// owners returns the owner of an action's claim.
func owners(t *testing.T, s *Store, id ActionID) string {
	t.Helper()
	owner, err := ownerOf(s.claim(id))
	if err != nil && !absent(err) {
		t.Fatal(err)
	}
	return owner
}

func TestClaim(t *testing.T) {
	dir, id := scratch(t), ActionID{1}
	a, b := announce(t, process(t, dir, elsewhere(1)), Live{}), announce(t, process(t, dir, elsewhere(2)), Live{})
	if err := a.Claim(id); err != nil {
		t.Fatal(err)
	}
	var taken *ClaimedError
	if err := a.Claim(id); !errors.As(err, &taken) || taken.Owner != elsewhere(1) {
		t.Errorf("a claim that this process holds: %v", err)
	}
	a.let(id) // as if it could not remove its claim when it released it
	if err := a.Claim(id); err != nil {
		t.Errorf("a claim that it left behind: %v", err)
	}
	if err := b.Claim(id); !errors.As(err, &taken) || taken.Owner != elsewhere(1) || taken.Action != id {
		t.Errorf("a claim of a live process: %v", err)
	}
	if err := b.Release(id); err != nil || owners(t, b.s, id) != elsewhere(1) {
		t.Errorf("another one's claim was released: %v", err)
	}
	if err := b.Claim(ActionID{2}); err != nil {
		t.Errorf("another action: %v", err)
	}
	if err := errors.Join(a.Release(id), b.Claim(id), b.Release(id), b.Release(ActionID{2})); err != nil {
		t.Error(err)
	}
	if left, err := a.s.list(filepath.Join(dir, "claims")); err != nil || len(left) != 0 {
		t.Errorf("left %q, %v", left, err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	a.quit, b.quit = make(chan struct{}), make(chan struct{}) // for the end of the test
	if left, err := a.s.list(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left %q, %v", left, err)
	}
}

// TestOddClaims: a damaged claim is lost after a lease, a folder in the place of a claim too,
// and an owner file that somebody removed is written again. Without links, claims are copies.
func TestOddClaims(t *testing.T) {
	dir := scratch(t)
	a := announce(t, process(t, dir, elsewhere(1)), Live{})
	write(t, dir, map[string]string{"claims/" + ActionID{1}.String(): "../../etc", "claims/" + ActionID{2}.String() + "/x": "", "claims/" + ActionID{3}.String(): ""})
	start := time.Now()
	for i := range 3 {
		for a.Claim(ActionID{byte(i + 1)}) != nil {
			if time.Since(start) > 20*a.s.lease {
				t.Fatalf("claim %d is never lost", i+1)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if time.Since(start) < a.s.lease {
		t.Error("they were lost at once")
	}
	if err := errors.Join(os.Remove(a.owner), a.Claim(ActionID{4})); err != nil {
		t.Error(err)
	}
	defer func(old func(string, string) error) { link = old }(link)
	link = func(string, string) error { return syscall.EPERM }
	b := announce(t, process(t, dir, elsewhere(2)), Live{})
	if err := b.Claim(ActionID{5}); err != nil || owners(t, b.s, ActionID{5}) != elsewhere(2) {
		t.Errorf("without links: %v", err)
	}
	if b.Claim(ActionID{4}) == nil || a.Claim(ActionID{5}) == nil {
		t.Error("without links, claims are not respected")
	}
}

// TestLostClaim: the claim of a process without a heartbeat is taken after a lease, not
// before. When that process goes on, it does not remove the claim of the other one.
func TestLostClaim(t *testing.T) {
	dir, id := scratch(t), ActionID{1}
	a, b := announce(t, process(t, dir, elsewhere(1)), Live{}), announce(t, process(t, dir, elsewhere(2)), Live{})
	if err := a.Claim(id); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * a.s.lease); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b.Claim(id) == nil {
			t.Fatal("a claim was taken from a process with a heartbeat")
		}
	}
	freeze(a)
	at, lease := a.beaten, a.s.lease
	for b.Claim(id) != nil {
		time.Sleep(5 * time.Millisecond)
	}
	if waited := time.Since(at); waited < lease-10*time.Millisecond { // times of files are a few milliseconds old
		t.Errorf("taken %v after the last heartbeat, with a lease of %v", waited, lease)
	}
	if err := a.Release(id); err != nil || owners(t, b.s, id) != elsewhere(2) {
		t.Errorf("the claim is of %q, %v", owners(t, b.s, id), err)
	}
	if a.Claim(id) == nil {
		t.Error("the process that woke up has the claim too")
	}
}

// TestClaimOfTheDead: the claim of a process of this machine that has ended is taken at
// once.
func TestClaimOfTheDead(t *testing.T) {
	dir, id := scratch(t), ActionID{1}
	gone := machine() + "-999999999-1"
	b := announce(t, open(t, dir), Live{}) // first, because it would remove what the dead one left
	a := announce(t, process(t, dir, gone), Live{})
	if err := a.Claim(id); err != nil {
		t.Fatal(err)
	}
	if err := b.Claim(id); err != nil {
		t.Error(err)
	}
	if all, err := b.s.Live(); err != nil || len(all) != 2 || all[0].Stale || !all[1].Stale || all[0].PID != os.Getpid() {
		t.Errorf("live: %+v, %v", all, err)
	}
	// The next process that writes removes what it left.
	if err := a.Claim(ActionID{2}); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).prepare(); err != nil {
		t.Fatal(err)
	}
	if names, _ := b.s.list(filepath.Join(dir, "live")); len(names) != 1 || owners(t, b.s, ActionID{2}) != "" || owners(t, b.s, id) != b.s.self {
		t.Errorf("left: %q, claims of %q and %q", names, owners(t, b.s, ActionID{2}), owners(t, b.s, id))
	}
}

// TestClockJump: a jump of the file server's clock ends no lease.
func TestClockJump(t *testing.T) {
	dir, id := scratch(t), ActionID{1}
	a, b := announce(t, process(t, dir, elsewhere(1)), Live{}), announce(t, process(t, dir, elsewhere(2)), Live{})
	if err := a.Claim(id); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		old := time.Now().Add(-time.Hour) // the last heartbeat, as it looks after the jump
		if err := os.Chtimes(a.path(), old, old); err != nil {
			t.Fatal(err)
		}
		if b.Claim(id) == nil {
			t.Fatal("the claim was taken")
		}
		time.Sleep(a.s.heartbeat() / 2)
	}
}

// TestStaleReads: where heartbeats are seen late and operations take long, as on a network file
// system, no claim is taken from a process that is alive, and that of a dead one is taken.
func TestStaleReads(t *testing.T) {
	dir := scratch(t)
	r := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	slow := func(name string) *Presence {
		s := process(t, dir, name)
		type seen struct{ beat, until time.Time }
		attributes := map[string]seen{} // cached for a quarter of a lease at most
		s.cached = func(process string, beat time.Time) time.Time {
			mu.Lock()
			defer mu.Unlock()
			was, ok := attributes[process]
			if !ok || time.Now().After(was.until) {
				was = seen{beat, time.Now().Add(time.Duration(r.Int64N(int64(s.lease) / 4)))}
				attributes[process] = was
			}
			return was.beat
		}
		s.step = func(string) {
			mu.Lock()
			d := time.Duration(r.IntN(10)) * time.Millisecond
			mu.Unlock()
			time.Sleep(d)
		}
		return announce(t, s, Live{})
	}
	id := ActionID{1}
	a := slow(elsewhere(1))
	if err := a.Claim(id); err != nil {
		t.Fatal(err)
	}
	others := []*Presence{slow(elsewhere(2)), slow(elsewhere(3)), slow(elsewhere(4))}
	for end := time.Now().Add(4 * a.s.lease); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		for _, p := range others {
			if p.Claim(id) == nil {
				t.Fatal("a claim was taken from a process with a heartbeat")
			}
		}
	}
	freeze(a)
	var got atomic.Int32
	var group sync.WaitGroup
	for _, p := range others {
		group.Go(func() {
			for end := time.Now().Add(5 * p.s.lease); time.Now().Before(end) && got.Load() == 0; time.Sleep(3 * time.Millisecond) {
				if p.Claim(id) == nil {
					got.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := got.Load(); n != 1 {
		t.Errorf("%d processes have taken the claim of a dead one", n)
	}
}

// TestOneTakes: of many processes that try to take a lost claim, one succeeds.
func TestOneTakes(t *testing.T) {
	dir := scratch(t)
	dead := announce(t, process(t, dir, machine()+"-999999999-1"), Live{})
	var all []*Presence
	for i := range 8 {
		s := process(t, dir, elsewhere(i))
		s.lease = time.Minute // a busy machine must not end the lease of the one that took it
		all = append(all, announce(t, s, Live{}))
	}
	for round := range 50 {
		id := ActionID{byte(round)}
		if err := dead.Claim(id); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		var got atomic.Int32
		for _, p := range all {
			group.Go(func() {
				var taken *ClaimedError
				switch err := p.Claim(id); {
				case err == nil:
					got.Add(1)
				case !errors.As(err, &taken):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := got.Load(); n != 1 {
			t.Fatalf("round %d: %d processes have the claim", round, n)
		}
	}
}

// TestLive: what a process says is read by others, also after a longer text, and in place
// of a file that somebody removed.
func TestLive(t *testing.T) {
	dir := scratch(t)
	a, b := announce(t, process(t, dir, elsewhere(1)), Live{Study: "first"}), process(t, dir, elsewhere(2))
	long := []LiveAction{{Action: ActionID{1}, Stage: "finetune", View: strings.Repeat("x", 500), Reached: Reached{Step: 3, Total: 4}}}
	for _, actions := range [][]LiveAction{long, nil} {
		a.Update(func(l *Live) { l.Actions = actions })
		if err := a.write(); err != nil {
			t.Fatal(err)
		}
		all, err := b.Live()
		if err != nil || len(all) != 1 || all[0].Study != "first" || len(all[0].Actions) != len(actions) || all[0].Stale {
			t.Errorf("%+v, %v", all, err)
		}
	}
	if err := errors.Join(os.Remove(a.path()), a.write()); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Live(); err != nil || len(all) != 1 || all[0].Study != "first" {
		t.Errorf("%+v, %v", all, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	a.quit = make(chan struct{}) // for the end of the test
	if all, err := b.Live(); err != nil || len(all) != 0 {
		t.Errorf("after its end: %+v, %v", all, err)
	}
	write(t, dir, map[string]string{"live/" + elsewhere(3): "torn {", "live/folder/x": ""})
	if all, err := b.Live(); err != nil || len(all) != 1 || all[0].Process != elsewhere(3) {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestLease: the environment sets the lease.
func TestLease(t *testing.T) {
	t.Setenv("ABLATE_LEASE", "5s")
	if s := open(t, t.TempDir()); s.lease != 5*time.Second {
		t.Errorf("lease %v", s.lease)
	}
	for _, bad := range []string{"5", "10ms", "-1m", "long"} {
		t.Setenv("ABLATE_LEASE", bad)
		if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "ABLATE_LEASE is \""+bad+"\"") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
