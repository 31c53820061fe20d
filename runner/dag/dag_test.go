package dag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// steps makes nodes of "name: dep dep" lines; each runs f, or gives its own name.
func steps(t *testing.T, f func(ctx context.Context, name string) (string, error), lines ...string) *Graph[string] {
	t.Helper()
	var nodes []Node[string]
	for _, l := range lines {
		name, deps, _ := strings.Cut(l, ":")
		nodes = append(nodes, Node[string]{Name: name, Deps: strings.Fields(deps),
			Run: func(ctx context.Context, _ map[string]string) (string, error) { return f(ctx, name) }})
	}
	g, err := New(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNewRefuses(t *testing.T) {
	run := func(context.Context, map[string]int) (int, error) { return 0, nil }
	node := func(name string, deps ...string) Node[int] { return Node[int]{Name: name, Deps: deps, Run: run} }
	for name, c := range map[string]struct {
		nodes []Node[int]
		want  string
	}{
		"no name": {[]Node[int]{node("")}, "has no name or nothing to run"},
		"no run":  {[]Node[int]{{Name: "a"}}, "has no name or nothing to run"},
		"twice":   {[]Node[int]{node("a"), node("a")}, `node "a": is there twice`},
		"unknown": {[]Node[int]{node("a", "b")}, `node "a": depends on "b", which is not in the graph`},
		"itself":  {[]Node[int]{node("a", "a")}, "nodes depend on each other: a ← a"},
		"cycle":   {[]Node[int]{node("z"), node("d", "a"), node("a", "z", "c"), node("b", "a"), node("c", "b")}, "nodes depend on each other: a ← c ← b ← a"},
	} {
		if _, err := New(c.nodes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestRandom runs random graphs and compares with a recursive evaluator.
func TestRandom(t *testing.T) { rapid.Check(t, random) }

func FuzzRandom(f *testing.F) { f.Fuzz(rapid.MakeFuzz(random)) }

func random(t *rapid.T) {
	n := rapid.IntRange(0, 25).Draw(t, "nodes")
	type plan struct {
		deps          []int
		hit, fail     bool // what Lookup says; whether the node fails
		lookup, inner bool // there is a Lookup; the failure is Lookup's
		ran, looked   atomic.Int32
	}
	plans := make([]plan, n)
	names := func(i int) string { return fmt.Sprintf("n%d", i) }
	nodes := make([]Node[int], n)
	slots := rapid.IntRange(1, 4).Draw(t, "slots")
	var running atomic.Int32
	for i := range plans {
		p := &plans[i]
		if i > 0 {
			p.deps = rapid.SliceOfNDistinct(rapid.IntRange(0, i-1), 0, 4, rapid.ID[int]).Draw(t, "deps")
		}
		p.lookup, p.hit, p.inner = rapid.Bool().Draw(t, "lookup"), rapid.Bool().Draw(t, "hit"), rapid.Bool().Draw(t, "inner")
		p.fail = rapid.IntRange(0, 9).Draw(t, "fail") == 0
		value := func(deps map[string]int) int {
			sum := i
			for _, v := range deps {
				sum += v
			}
			return sum
		}
		node := Node[int]{Name: names(i), Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
			Run: func(_ context.Context, deps map[string]int) (int, error) {
				p.ran.Add(1)
				if k := running.Add(1); int(k) > slots {
					t.Errorf("%d run in %d slots", k, slots)
				}
				defer running.Add(-1)
				if p.fail {
					return 0, errors.New(names(i))
				}
				return value(deps), nil
			}}
		for _, d := range p.deps {
			node.Deps = append(node.Deps, names(d))
		}
		if p.lookup {
			node.Lookup = func(_ context.Context, deps map[string]int) (int, bool, error) {
				p.looked.Add(1)
				if p.fail && p.inner {
					return 0, false, errors.New(names(i))
				}
				return value(deps), p.hit && !p.fail, nil
			}
		}
		nodes[i] = node
	}
	// The nodes are shuffled, so that they are not in topological order.
	shuffled := rapid.Permutation(nodes).Draw(t, "order")
	g, err := New(shuffled)
	if err != nil {
		t.Fatal(err)
	}
	var last int
	told := map[string][]Kind{}
	out, err := g.Run(context.Background(), Options{Room: Slots(slots), Events: func(e Event) {
		told[e.Name] = append(told[e.Name], e.Kind)
		if e.Finished < last || e.Total != n {
			t.Errorf("%d of %d after %d", e.Finished, e.Total, last)
		}
		last = e.Finished
	}})

	// The recursive evaluator returns the value, or the failed nodes on which it depends.
	var eval func(i int) (int, []string)
	eval = func(i int) (sum int, roots []string) {
		sum = i
		for _, d := range plans[i].deps {
			v, r := eval(d)
			sum += v
			roots = append(roots, r...)
		}
		if len(roots) == 0 && plans[i].fail {
			roots = []string{names(i)}
		}
		return sum, roots
	}
	failed := false
	for i := range plans {
		p, s, kinds := &plans[i], out[names(i)], told[names(i)]
		want, roots := eval(i)
		computed := !(p.lookup && (p.hit && !p.fail || p.fail && p.inner))
		ran, looked := 0, 0
		var events []Kind
		switch {
		case len(roots) == 0 && !computed:
			looked, events = 1, []Kind{EventHit}
			if s.State != Hit || s.Result != want {
				t.Errorf("%s: %+v, want hit %d", names(i), s, want)
			}
		case len(roots) == 0:
			ran, events = 1, []Kind{EventStarted, EventFinished}
			if s.State != Done || s.Result != want {
				t.Errorf("%s: %+v, want %d", names(i), s, want)
			}
		case slices.Contains(roots, names(i)):
			failed = true
			events = []Kind{EventFailed}
			if computed {
				ran, events = 1, []Kind{EventStarted, EventFailed}
			}
			if s.State != Failed || s.Root != names(i) || s.Err.Error() != names(i) {
				t.Errorf("%s: %+v, want it failed", names(i), s)
			}
		default:
			events = []Kind{EventSkipped}
			if s.State != Skipped || !slices.Contains(roots, s.Root) || s.Err.Error() != s.Root {
				t.Errorf("%s: %+v, want skipped because of one of %v", names(i), s, roots)
			}
		}
		if p.lookup && (ran == 1 || slices.Contains(roots, names(i))) {
			looked = 1
		}
		if int(p.ran.Load()) != ran || int(p.looked.Load()) != looked {
			t.Errorf("%s: ran %d, want %d; looked up %d, want %d", names(i), p.ran.Load(), ran, p.looked.Load(), looked)
		}
		if d := cmp.Diff(events, kinds); d != "" {
			t.Errorf("%s: events mismatch (-want +got):\n%s", names(i), d)
		}
	}
	var f *FailedError
	if failed != errors.As(err, &f) || !failed && err != nil {
		t.Errorf("got %v, failed %v", err, failed)
	}
	if last != n {
		t.Errorf("%d of %d have an outcome", last, n)
	}
}

// TestRootCause: if a node is skipped because of several failures, it names the one that
// is first in the graph, not the first in time.
func TestRootCause(t *testing.T) {
	for _, slow := range []string{"a", "b"} {
		synctest.Test(t, func(t *testing.T) {
			g := steps(t, func(_ context.Context, name string) (string, error) {
				if name == slow {
					time.Sleep(time.Second)
				}
				if name == "a" || name == "b" {
					return "", errors.New("no " + name)
				}
				return name, nil
			}, "a:", "b:", "c: a b", "d: c", "e:")
			out, err := g.Run(t.Context(), Options{Room: Slots(3)})
			for _, n := range []string{"c", "d"} {
				if s := out[n]; s.State != Skipped || s.Root != "a" || s.Err.Error() != "no a" {
					t.Errorf("%s slow: %s: %+v", slow, n, s)
				}
			}
			if s := out["e"]; s.State != Done {
				t.Errorf("what depends on no failure: %+v", s)
			}
			if want := "a: no a (and 1 more failed); 2 skipped because of it"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := steps(t, func(ctx context.Context, name string) (string, error) {
			if name == "bad" {
				time.Sleep(time.Second)
				return "", errors.New("no labels")
			}
			select {
			case <-ctx.Done():
				return "", fmt.Errorf("worker: %w", context.Cause(ctx))
			case <-time.After(time.Hour):
				return name, nil
			}
		}, "bad:", "long:", "later:", "after: bad")
		began := time.Now()
		out, err := g.Run(t.Context(), Options{Room: Slots(2), FailFast: true})
		var f *FailedError
		if !errors.As(err, &f) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		got := map[string]State{}
		for name, s := range out {
			got[name] = s.State
		}
		want := map[string]State{"bad": Failed, "long": Interrupted, "later": Waiting, "after": Skipped}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("states mismatch (-want +got):\n%s", d)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the user pressed Ctrl-C")
		ctx, cancel := context.WithCancelCause(t.Context())
		g := steps(t, func(ctx context.Context, name string) (string, error) {
			switch name {
			case "quick":
				return name, nil
			case "stubborn": // finishes what it has begun
				time.Sleep(2 * time.Second)
				return name, nil
			case "unlucky":
				<-ctx.Done()
				return "", errors.New("disk full")
			}
			<-ctx.Done()
			return "", ctx.Err()
		}, "quick:", "stubborn:", "unlucky:", "waits: quick", "next: stubborn")
		go func() {
			time.Sleep(time.Second)
			cancel(cause)
		}()
		began := time.Now()
		out, err := g.Run(ctx, Options{Room: Slots(4)})
		if !errors.Is(err, cause) || time.Since(began) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		got := map[string]State{}
		for name, s := range out {
			got[name] = s.State
		}
		want := map[string]State{"quick": Done, "stubborn": Done, "unlucky": Failed, "waits": Interrupted, "next": Waiting}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("states mismatch (-want +got):\n%s", d)
		}
	})
	// Before it begins: nothing runs.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := steps(t, func(context.Context, string) (string, error) { t.Error("ran"); return "", nil }, "a:")
	if out, err := g.Run(ctx, Options{}); !errors.Is(err, context.Canceled) || out["a"].State != Waiting {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestLookupTakesNoSlot: hits are found while the only slot is busy.
func TestLookupTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hit := func(context.Context, map[string]int) (int, bool, error) { return 1, true, nil }
		never := func(context.Context, map[string]int) (int, error) { t.Error("ran"); return 0, nil }
		g, err := New([]Node[int]{
			{Name: "long", Run: func(context.Context, map[string]int) (int, error) { time.Sleep(time.Hour); return 0, nil }},
			{Name: "a", Lookup: hit, Run: never},
			{Name: "b", Deps: []string{"a"}, Lookup: hit, Run: never},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Run(t.Context(), Options{Room: Slots(1), Events: func(e Event) {
			if e.Kind == EventHit && time.Since(began) != 0 {
				t.Errorf("%s came after %v", e.Name, time.Since(began))
			}
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestPreference: with one slot, nodes run by priority, then by the length of the path to
// the end, then in the given order.
func TestPreference(t *testing.T) {
	var order []string
	run := func(name string) func(context.Context, map[string]int) (int, error) {
		return func(context.Context, map[string]int) (int, error) { order = append(order, name); return 0, nil }
	}
	var nodes []Node[int]
	for _, n := range []Node[int]{
		{Name: "short"},
		{Name: "long", Cost: time.Minute},
		{Name: "head"}, {Name: "tail", Deps: []string{"head"}, Cost: time.Hour},
		{Name: "short too"},
		{Name: "urgent", Priority: 1},
	} {
		n.Run = run(n.Name)
		nodes = append(nodes, n)
	}
	g, err := New(nodes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Run(t.Context(), Options{Room: Slots(1)}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"urgent", "head", "tail", "long", "short", "short too"}, order); d != "" {
		t.Errorf("order mismatch (-want +got):\n%s", d)
	}
}

// TestLimit: nodes beyond the limit are Waiting. They are no failures and have no events,
// and running nodes are not stopped, whatever the other options are.
func TestLimit(t *testing.T) {
	for _, failFast := range []bool{false, true} {
		var nodes []Node[int]
		for i := range 6 {
			nodes = append(nodes, Node[int]{Name: fmt.Sprint("n", i), Run: func(ctx context.Context, _ map[string]int) (int, error) {
				select {
				case <-ctx.Done():
					return 0, context.Cause(ctx)
				case <-time.After(20 * time.Millisecond):
					return i, nil
				}
			}})
			nodes = append(nodes, Node[int]{Name: fmt.Sprint("after", i), Deps: []string{fmt.Sprint("n", i)}, Run: nodes[2*i].Run})
		}
		nodes = append(nodes, Node[int]{Name: "known", Lookup: func(context.Context, map[string]int) (int, bool, error) { return 7, true, nil }, Run: nodes[0].Run})
		g, err := New(nodes)
		if err != nil {
			t.Fatal(err)
		}
		events := map[Kind]int{}
		finished := 0
		out, err := g.Run(t.Context(), Options{Room: Slots(2), Limit: 3, FailFast: failFast, Events: func(e Event) {
			events[e.Kind]++
			if e.Finished > finished+1 || e.Total != len(nodes) {
				t.Errorf("the count jumps from %d to %d of %d", finished, e.Finished, e.Total)
			}
			finished = e.Finished
		}})
		if err != nil {
			t.Errorf("fail fast %v: %v", failFast, err)
		}
		states := map[State]int{}
		for _, s := range out {
			states[s.State]++
		}
		if d := cmp.Diff(map[State]int{Done: 3, Hit: 1, Waiting: 9}, states); d != "" {
			t.Errorf("fail fast %v: states mismatch (-want +got):\n%s", failFast, d)
		}
		if d := cmp.Diff(map[Kind]int{EventStarted: 3, EventFinished: 3, EventHit: 1}, events); d != "" {
			t.Errorf("fail fast %v: events mismatch (-want +got):\n%s", failFast, d)
		}
	}
	g, err := New([]Node[int]{{Name: "a", Run: func(context.Context, map[string]int) (int, error) { return 0, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Run(t.Context(), Options{Limit: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
}

// TestLookupOrder: the order in which nodes run, and the nodes beyond a limit, do not
// depend on which Lookup returns first.
func TestLookupOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		var nodes []Node[int]
		for i, name := range []string{"second", "first", "found", "third"} {
			nodes = append(nodes, Node[int]{Name: name, Priority: []int{2, 3, 4, 1}[i],
				Lookup: func(context.Context, map[string]int) (int, bool, error) {
					time.Sleep(time.Duration([]int{2, 3, 4, 1}[i]) * time.Second) // the preferred take longest
					return 0, name == "found", nil
				},
				Run: func(context.Context, map[string]int) (int, error) { order = append(order, name); return 0, nil }})
		}
		// The node that becomes ready when the lookup succeeds is preferred to all
		// waiting nodes.
		nodes = append(nodes, Node[int]{Name: "follows", Priority: 4, Deps: []string{"found"}, Run: func(context.Context, map[string]int) (int, error) {
			order = append(order, "follows")
			return 0, nil
		}})
		g, err := New(nodes)
		if err != nil {
			t.Fatal(err)
		}
		out, err := g.Run(t.Context(), Options{Room: Slots(1), Lookups: 4, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"follows", "first", "second"}, order); d != "" {
			t.Errorf("order mismatch (-want +got):\n%s", d)
		}
		if s := out["third"].State; s != Waiting {
			t.Errorf("what the limit leaves is %v", s)
		}
	})
}

// TestFailureOrder: failures are listed in the order of the graph (each after its
// dependencies, otherwise as given), not in the order of time.
func TestFailureOrder(t *testing.T) {
	g := steps(t, func(_ context.Context, name string) (string, error) {
		if name == "head" {
			return name, nil
		}
		return "", errors.New(name)
	}, "tail: head", "b:", "head:", "a:")
	_, err := g.Run(t.Context(), Options{Room: Slots(1)})
	var failed *FailedError
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"b", "a", "tail"}, failed.Nodes); d != "" {
		t.Errorf("failed nodes mismatch (-want +got):\n%s", d)
	}
}

// TestDeps: a node gets the results of its dependencies and no others. A dependency that
// is named twice counts once.
func TestDeps(t *testing.T) {
	give := func(v int) func(context.Context, map[string]int) (int, error) {
		return func(context.Context, map[string]int) (int, error) { return v, nil }
	}
	g, err := New([]Node[int]{
		{Name: "a", Run: give(1)}, {Name: "b", Run: give(2)}, {Name: "other", Run: give(3)},
		{Name: "sum", Deps: []string{"a", "b", "a"}, Run: func(_ context.Context, deps map[string]int) (int, error) {
			if d := cmp.Diff(map[string]int{"a": 1, "b": 2}, deps); d != "" {
				t.Errorf("results mismatch (-want +got):\n%s", d)
			}
			return deps["a"] + deps["b"], nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := g.Run(t.Context(), Options{}); err != nil || out["sum"].Result != 3 {
		t.Errorf("got %v, %v", out, err)
	}
	if _, err := g.Run(t.Context(), Options{Lookups: -1}); err == nil {
		t.Error("fewer than no lookups")
	}
}

// TestBusy: a busy node waits without a slot and without an end, and is looked up again. It
// counts for a limit only when it runs. A run that is stopped does not wait for it.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var order []string
		tries, there := 0, false
		node := func(name string, run func() (string, error), deps ...string) Node[string] {
			return Node[string]{Name: name, Deps: deps, Run: func(context.Context, map[string]string) (string, error) {
				v, err := run()
				if err == nil {
					order = append(order, name)
				}
				return v, err
			}}
		}
		busy := node("busy", func() (string, error) {
			if tries++; tries == 3 {
				there = true // computed elsewhere meanwhile
			}
			return "", fmt.Errorf("b: %w", ErrBusy)
		})
		busy.Lookup = func(context.Context, map[string]string) (string, bool, error) { return "found", there, nil }
		quick := func() (string, error) { return "", nil }
		g, err := New([]Node[string]{busy, node("after", quick, "busy"), node("other", quick)})
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		o := Options{Rest: time.Minute, Limit: 2, Events: func(e Event) {
			if e.Kind != EventStarted {
				kinds = append(kinds, e.Name+" "+e.Kind.String())
			}
		}}
		out, err := g.Run(t.Context(), o)
		if err != nil || out["busy"].State != Hit || out["busy"].Result != "found" || out["after"].State != Done {
			t.Errorf("%+v, %v", out, err)
		}
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("it took %v", took)
		}
		if want := []string{"other", "after"}; !slices.Equal(order, want) {
			t.Errorf("order %q", order)
		}
		if want := []string{"busy busy", "other finished", "busy hit", "after finished"}; !slices.Equal(kinds, want) {
			t.Errorf("events %q", kinds)
		}
		there, tries = false, 10
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		start = time.Now()
		out, err = g.Run(ctx, Options{Rest: time.Minute})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 90*time.Second || out["busy"].State != Waiting || out["other"].State != Done {
			t.Errorf("stopped after %v: %+v, %v", time.Since(start), out, err)
		}
	})
}

// TestAdmit: a node that is not admitted stays waiting, and so does what depends on it; the
// others run, and nothing has failed.
func TestAdmit(t *testing.T) {
	g := steps(t, func(_ context.Context, name string) (string, error) { return name, nil }, "a", "b: a", "c", "d: b c")
	out, err := g.Run(t.Context(), Options{Admit: func(name string) bool { return name != "b" }})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]State{"a": Done, "b": Waiting, "c": Done, "d": Waiting} {
		if out[name].State != want {
			t.Errorf("%s is %s, want %s", name, out[name].State, want)
		}
	}
}

// TestFree: a node that gives its slot back lets another one run, and both are waited for.
func TestFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g := steps(t, func(ctx context.Context, name string) (string, error) {
			time.Sleep(time.Second) // computing
			Free(ctx)
			Free(ctx) // once is enough
			time.Sleep(10 * time.Second)
			return name, nil
		}, "a", "b", "c", "d: a b c")
		out, err := g.Run(t.Context(), Options{Room: Slots(1)})
		if err != nil || out["d"].State != Done {
			t.Errorf("%+v, %v", out, err)
		}
		if took := time.Since(start); took != (3+10+11)*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	// What depends on a node that has given its slot back goes before nodes of lower priority.
	synctest.Test(t, func(t *testing.T) {
		var order []string
		node := func(name string, priority int, deps ...string) Node[string] {
			return Node[string]{Name: name, Priority: priority, Deps: deps, Run: func(ctx context.Context, _ map[string]string) (string, error) {
				order = append(order, name)
				Free(ctx)
				time.Sleep(time.Second)
				return name, nil
			}}
		}
		g, err := New([]Node[string]{node("last", -1), node("a", 0), node("b", 0, "a")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Run(t.Context(), Options{Room: Slots(1)}); err != nil {
			t.Error(err)
		}
		if want := []string{"a", "b", "last"}; !slices.Equal(order, want) {
			t.Errorf("order %q", order)
		}
	})
	Free(t.Context()) // outside of a node it does nothing
}
