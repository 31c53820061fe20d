package dag

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// node is a node of a test. Its dependencies come before it.
type node struct {
	name string
	deps []string
	Hint
	lookup func(context.Context) (bool, error) // nil for a miss
	run    func(context.Context) error
}

// nodes are the work of a test.
type nodes []node

func (w nodes) Len() int { return len(w) }

// index returns the number of the node of a name, -1 if there is none.
func (w nodes) index(name string) int {
	return slices.IndexFunc(w, func(n node) bool { return n.name == name })
}

func (w nodes) Deps(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, name := range w[i].deps {
			if !yield(w.index(name)) {
				return
			}
		}
	}
}

func (w nodes) Hint(i int) Hint { return w[i].Hint }

func (w nodes) Lookup(ctx context.Context, i int) (bool, error) {
	if w[i].lookup == nil {
		return false, nil
	}
	return w[i].lookup(ctx)
}

func (w nodes) Run(ctx context.Context, i int) error { return w[i].run(ctx) }

// byName returns the states of nodes by their names.
func (w nodes) byName(states []State) map[string]State {
	m := map[string]State{}
	for i, s := range states {
		m[w[i].name] = s
	}
	return m
}

// steps makes nodes of "name: dep dep" lines; each runs f.
func steps(f func(ctx context.Context, name string) error, lines ...string) nodes {
	var w nodes
	for _, l := range lines {
		name, deps, _ := strings.Cut(l, ":")
		w = append(w, node{name: name, deps: strings.Fields(deps), run: func(ctx context.Context) error { return f(ctx, name) }})
	}
	return w
}

// TestOrder: a node depends only on nodes before it.
func TestOrder(t *testing.T) {
	for _, w := range []nodes{
		{{name: "a", deps: []string{"unknown"}}},
		{{name: "a", deps: []string{"a"}}},
		{{name: "a", deps: []string{"b"}}, {name: "b"}},
	} {
		if _, err := Run(t.Context(), w, Options{}); err == nil || !strings.Contains(err.Error(), "want a lower one") {
			t.Errorf("%v: %v", w, err)
		}
	}
}

// TestRandom runs random graphs and compares with a recursive evaluator.
func TestRandom(t *testing.T) { rapid.Check(t, random) }

func FuzzRandom(f *testing.F) { f.Fuzz(rapid.MakeFuzz(random)) }

func random(t *rapid.T) {
	n := rapid.IntRange(0, 25).Draw(t, "nodes")
	type plan struct {
		deps              []int
		hit, fail         bool // what Lookup says; whether the node fails
		inner             bool // the failure is Lookup's
		ran, looked, well atomic.Int32
	}
	plans := make([]plan, n)
	w := make(nodes, n)
	slots := rapid.IntRange(1, 4).Draw(t, "slots")
	var running atomic.Int32
	for i := range plans {
		p := &plans[i]
		if i > 0 {
			p.deps = rapid.SliceOfN(rapid.IntRange(0, i-1), 0, 4).Draw(t, "deps") // one may be there twice
		}
		p.hit, p.inner = rapid.Bool().Draw(t, "hit"), rapid.Bool().Draw(t, "inner")
		p.fail = rapid.IntRange(0, 9).Draw(t, "fail") == 0
		begin := func() {
			for _, d := range p.deps {
				if plans[d].well.Load() != 1 {
					t.Errorf("node %d begins before node %d has ended well", i, d)
				}
			}
		}
		w[i] = node{name: fmt.Sprint(i), Hint: Hint{Priority: rapid.IntRange(0, 2).Draw(t, "priority"), Need: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "need")},
			lookup: func(context.Context) (bool, error) {
				begin()
				p.looked.Add(1)
				if p.fail && p.inner {
					return false, errors.New(w[i].name)
				}
				if p.hit && !p.fail {
					p.well.Add(1)
				}
				return p.hit && !p.fail, nil
			},
			run: func(context.Context) error {
				begin()
				p.ran.Add(1)
				if k := running.Add(1); int(k) > slots {
					t.Errorf("%d run in %d slots", k, slots)
				}
				defer running.Add(-1)
				if p.fail {
					return errors.New(w[i].name)
				}
				p.well.Add(1)
				return nil
			}}
		for _, d := range p.deps {
			w[i].deps = append(w[i].deps, w[d].name)
		}
	}
	var last int
	told := map[int][]Kind{}
	roots := map[int]int{}
	states, err := Run(context.Background(), w, Options{Room: Slots(slots), Events: func(e Event) {
		told[e.Node] = append(told[e.Node], e.Kind)
		if e.Kind == EventSkipped {
			roots[e.Node] = e.Root
		}
		if e.Kind == EventFailed && e.Err.Error() != w[e.Node].name {
			t.Errorf("node %d failed with %v", e.Node, e.Err)
		}
		if e.Finished < last {
			t.Errorf("%d after %d", e.Finished, last)
		}
		last = e.Finished
	}})
	if err != nil || last != n {
		t.Errorf("%v, %d of %d have an outcome", err, last, n)
	}

	// The recursive evaluator returns the failed nodes because of which a node fails or is skipped.
	var eval func(i int) []int
	eval = func(i int) (failed []int) {
		for _, d := range plans[i].deps {
			failed = append(failed, eval(d)...)
		}
		if len(failed) == 0 && plans[i].fail {
			return []int{i}
		}
		return failed
	}
	for i := range plans {
		p := &plans[i]
		failed := eval(i)
		looked, ran := 1, 1
		want, events := Done, []Kind{EventStarted, EventFinished}
		switch {
		case len(failed) == 0 && p.hit:
			ran, want, events = 0, Hit, []Kind{EventHit}
		case len(failed) == 0:
		case slices.Contains(failed, i) && p.inner:
			ran, want, events = 0, Failed, []Kind{EventFailed}
		case slices.Contains(failed, i):
			want, events = Failed, []Kind{EventStarted, EventFailed}
		default:
			looked, ran, want, events = 0, 0, Skipped, []Kind{EventSkipped}
			if !slices.Contains(failed, roots[i]) {
				t.Errorf("node %d: skipped because of %d, want one of %v", i, roots[i], failed)
			}
		}
		if states[i] != want {
			t.Errorf("node %d: %v, want %v", i, states[i], want)
		}
		if int(p.ran.Load()) != ran || int(p.looked.Load()) != looked {
			t.Errorf("node %d: ran %d, want %d; looked up %d, want %d", i, p.ran.Load(), ran, p.looked.Load(), looked)
		}
		if d := cmp.Diff(events, told[i]); d != "" {
			t.Errorf("node %d: events mismatch (-want +got):\n%s", i, d)
		}
	}
}

func TestFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := steps(func(ctx context.Context, name string) error {
			if name == "bad" {
				time.Sleep(time.Second)
				return errors.New("no labels")
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("worker: %w", context.Cause(ctx))
			case <-time.After(time.Hour):
				return nil
			}
		}, "bad:", "long:", "later:", "after: bad")
		began := time.Now()
		states, err := Run(t.Context(), w, Options{Room: Slots(2), Fatal: func(error) bool { return true }})
		if err != nil || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		want := map[string]State{"bad": Failed, "long": Interrupted, "later": Waiting, "after": Skipped}
		if d := cmp.Diff(want, w.byName(states)); d != "" {
			t.Errorf("states mismatch (-want +got):\n%s", d)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the user pressed Ctrl-C")
		ctx, cancel := context.WithCancelCause(t.Context())
		w := steps(func(ctx context.Context, name string) error {
			switch name {
			case "quick":
				return nil
			case "stubborn": // finishes what it has begun
				time.Sleep(2 * time.Second)
				return nil
			case "unlucky":
				<-ctx.Done()
				return errors.New("disk full")
			}
			<-ctx.Done()
			return ctx.Err()
		}, "quick:", "stubborn:", "unlucky:", "waits: quick", "next: stubborn")
		go func() {
			time.Sleep(time.Second)
			cancel(cause)
		}()
		began := time.Now()
		states, err := Run(ctx, w, Options{Room: Slots(4)})
		if !errors.Is(err, cause) || time.Since(began) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		want := map[string]State{"quick": Done, "stubborn": Done, "unlucky": Failed, "waits": Interrupted, "next": Waiting}
		if d := cmp.Diff(want, w.byName(states)); d != "" {
			t.Errorf("states mismatch (-want +got):\n%s", d)
		}
	})
	// Before it begins: nothing runs.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := steps(func(context.Context, string) error { t.Error("ran"); return nil }, "a:")
	if states, err := Run(ctx, w, Options{}); !errors.Is(err, context.Canceled) || states[0] != Waiting {
		t.Errorf("got %v, %v", states, err)
	}
}

// TestLookupTakesNoSlot: hits are found while the only slot is busy.
func TestLookupTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hit := func(context.Context) (bool, error) { return true, nil }
		never := func(context.Context) error { t.Error("ran"); return nil }
		w := nodes{
			{name: "long", run: func(context.Context) error { time.Sleep(time.Hour); return nil }},
			{name: "a", lookup: hit, run: never},
			{name: "b", deps: []string{"a"}, lookup: hit, run: never},
		}
		hits := 0
		_, err := Run(t.Context(), w, Options{Room: Slots(1), Events: func(e Event) {
			if e.Kind == EventHit {
				hits++
				if time.Since(began) != 0 {
					t.Errorf("node %d came after %v", e.Node, time.Since(began))
				}
			}
		}})
		if err != nil || hits != 2 {
			t.Errorf("%d hits, %v", hits, err)
		}
	})
}

// TestPreference: with one slot, nodes run by priority, then by the length of the path to
// the end, then in the given order.
func TestPreference(t *testing.T) {
	var order []string
	w := nodes{
		{name: "short"},
		{name: "long", Hint: Hint{Cost: time.Minute}},
		{name: "head"}, {name: "tail", deps: []string{"head"}, Hint: Hint{Cost: time.Hour}},
		{name: "short too"},
		{name: "urgent", Hint: Hint{Priority: 1}},
	}
	for i := range w {
		w[i].run = func(context.Context) error { order = append(order, w[i].name); return nil }
	}
	if _, err := Run(t.Context(), w, Options{Room: Slots(1)}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"urgent", "head", "tail", "long", "short", "short too"}, order); d != "" {
		t.Errorf("order mismatch (-want +got):\n%s", d)
	}
}

// TestLimit: nodes beyond the limit are Waiting. They are no failures and have no events,
// and running nodes are not stopped, whatever the other options are.
func TestLimit(t *testing.T) {
	for _, fatal := range []bool{false, true} {
		var w nodes
		run := func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(20 * time.Millisecond):
				return nil
			}
		}
		for i := range 6 {
			name := fmt.Sprint("n", i)
			w = append(w, node{name: name, run: run}, node{name: fmt.Sprint("after", i), deps: []string{name}, run: run})
		}
		w = append(w, node{name: "known", lookup: func(context.Context) (bool, error) { return true, nil }})
		events := map[Kind]int{}
		finished := 0
		states, err := Run(t.Context(), w, Options{Room: Slots(2), Limit: 3, Fatal: func(error) bool { return fatal }, Events: func(e Event) {
			events[e.Kind]++
			if e.Finished > finished+1 {
				t.Errorf("the count jumps from %d to %d", finished, e.Finished)
			}
			finished = e.Finished
		}})
		if err != nil {
			t.Errorf("fatal %v: %v", fatal, err)
		}
		count := map[State]int{}
		for _, s := range states {
			count[s]++
		}
		if d := cmp.Diff(map[State]int{Done: 3, Hit: 1, Waiting: 9}, count); d != "" {
			t.Errorf("fatal %v: states mismatch (-want +got):\n%s", fatal, d)
		}
		if d := cmp.Diff(map[Kind]int{EventStarted: 3, EventFinished: 3, EventHit: 1}, events); d != "" {
			t.Errorf("fatal %v: events mismatch (-want +got):\n%s", fatal, d)
		}
	}
	for _, o := range []Options{{Limit: -1}, {Lookups: -1}} {
		if _, err := Run(t.Context(), nodes{}, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestLookupOrder: the order in which nodes run, and the nodes beyond a limit, do not
// depend on which Lookup returns first.
func TestLookupOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		var w nodes
		for i, name := range []string{"second", "first", "found", "third"} {
			w = append(w, node{name: name, Hint: Hint{Priority: []int{2, 3, 4, 1}[i]},
				lookup: func(context.Context) (bool, error) {
					time.Sleep(time.Duration([]int{2, 3, 4, 1}[i]) * time.Second) // the preferred take longest
					return name == "found", nil
				},
				run: func(context.Context) error { order = append(order, name); return nil }})
		}
		// The node that becomes ready when the lookup succeeds is preferred to all
		// waiting nodes.
		w = append(w, node{name: "follows", Hint: Hint{Priority: 4}, deps: []string{"found"}, run: func(context.Context) error {
			order = append(order, "follows")
			return nil
		}})
		states, err := Run(t.Context(), w, Options{Room: Slots(1), Lookups: 4, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"follows", "first", "second"}, order); d != "" {
			t.Errorf("order mismatch (-want +got):\n%s", d)
		}
		if s := states[w.index("third")]; s != Waiting {
			t.Errorf("what the limit leaves is %v", s)
		}
	})
}

// TestBusy: a busy node waits without a slot and without an end, and is looked up again. It
// counts for a limit only when it runs. A run that is stopped does not wait for it.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var order []string
		tries, there := 0, false
		do := func(name string, run func() error, deps ...string) node {
			return node{name: name, deps: deps, run: func(context.Context) error {
				err := run()
				if err == nil {
					order = append(order, name)
				}
				return err
			}}
		}
		busy := do("busy", func() error {
			if tries++; tries == 3 {
				there = true // computed elsewhere meanwhile
			}
			return fmt.Errorf("b: %w", ErrBusy)
		})
		busy.lookup = func(context.Context) (bool, error) { return there, nil }
		quick := func() error { return nil }
		w := nodes{busy, do("after", quick, "busy"), do("other", quick)}
		var kinds []string
		o := Options{Rest: time.Minute, Limit: 2, Events: func(e Event) {
			if e.Kind != EventStarted {
				kinds = append(kinds, w[e.Node].name+" "+e.Kind.String())
			}
		}}
		states, err := Run(t.Context(), w, o)
		if d := cmp.Diff(map[string]State{"busy": Hit, "after": Done, "other": Done}, w.byName(states)); d != "" || err != nil {
			t.Errorf("%v, states mismatch (-want +got):\n%s", err, d)
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
		states, err = Run(ctx, w, Options{Rest: time.Minute})
		if d := cmp.Diff(map[string]State{"busy": Waiting, "after": Waiting, "other": Done}, w.byName(states)); d != "" || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 90*time.Second {
			t.Errorf("stopped after %v: %v, states mismatch (-want +got):\n%s", time.Since(start), err, d)
		}
	})
}

// TestAdmit: a node that is not admitted stays waiting, and so does what depends on it; the
// others run, and nothing has failed.
func TestAdmit(t *testing.T) {
	w := steps(func(context.Context, string) error { return nil }, "a", "b: a", "c", "d: b c")
	states, err := Run(t.Context(), w, Options{Admit: func(i int) bool { return w[i].name != "b" }})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]State{"a": Done, "b": Waiting, "c": Done, "d": Waiting}, w.byName(states)); d != "" {
		t.Errorf("states mismatch (-want +got):\n%s", d)
	}
}

// TestFree: a node that gives its slot back lets another one run, and both are waited for.
func TestFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := steps(func(ctx context.Context, _ string) error {
			time.Sleep(time.Second) // computing
			Free(ctx)
			Free(ctx) // once is enough
			time.Sleep(10 * time.Second)
			return nil
		}, "a", "b", "c", "d: a b c")
		states, err := Run(t.Context(), w, Options{Room: Slots(1)})
		if err != nil || states[w.index("d")] != Done {
			t.Errorf("%v, %v", states, err)
		}
		if took := time.Since(start); took != (3+10+11)*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	// What depends on a node that has given its slot back goes before nodes of lower priority.
	synctest.Test(t, func(t *testing.T) {
		var order []string
		do := func(name string, priority int, deps ...string) node {
			return node{name: name, deps: deps, Hint: Hint{Priority: priority}, run: func(ctx context.Context) error {
				order = append(order, name)
				Free(ctx)
				time.Sleep(time.Second)
				return nil
			}}
		}
		w := nodes{do("last", -1), do("a", 0), do("b", 0, "a")}
		if _, err := Run(t.Context(), w, Options{Room: Slots(1)}); err != nil {
			t.Error(err)
		}
		if want := []string{"a", "b", "last"}; !slices.Equal(order, want) {
			t.Errorf("order %q", order)
		}
	})
	Free(t.Context()) // outside of a node it does nothing
}
