package dag

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// parts is a room of some units, of which each node needs as many as its name is long. What a
// node lacks is reserved for it.
type parts struct{ all, used, reserved int }

func (p *parts) Begin() { p.reserved = 0 }
func (p *parts) Take(name string) bool {
	if p.used+p.reserved+len(name) > p.all {
		p.reserved = min(p.reserved+len(name), p.all)
		return false
	}
	p.used += len(name)
	return true
}
func (p *parts) Give(name string) { p.used -= len(name) }

// TestRoom: a large node waits and is not overtaken by nodes that need what it waits for.
// Nodes that fit beside it go on. What a node gives back early is used by others.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		start := map[string]int{}
		node := func(name string, priority, seconds int, free bool) Node[int] {
			return Node[int]{Name: name, Need: string(rune('0' + len(name))), Priority: priority, Run: func(ctx context.Context, _ map[string]int) (int, error) {
				mu.Lock()
				start[name] = int(time.Since(began).Seconds())
				mu.Unlock()
				time.Sleep(time.Duration(seconds) * time.Second)
				if free {
					Free(ctx)
					time.Sleep(100 * time.Second)
				}
				return 0, nil
			}}
		}
		g, err := New([]Node[int]{
			node("aaa", 9, 10, true), node("bbbb", 8, 10, false), node("cccc", 7, 1, false),
			node("d", 6, 1, false), node("e", 5, 20, false), node("f", 4, 1, false), node("gg", 3, 1, false),
		})
		if err != nil {
			t.Fatal(err)
		}
		room := &parts{all: 6}
		if _, err := g.Run(t.Context(), Options{Room: room}); err != nil || room.used != 0 {
			t.Fatalf("%v, %d in use", err, room.used)
		}
		// bbbb lacks 1 of 4 beside aaa, and then cccc waits for bbbb: nothing else fits beside
		// their reservations. At 20, d and e begin beside cccc.
		for name, want := range map[string]int{"aaa": 0, "bbbb": 10, "cccc": 20, "d": 20, "e": 20, "f": 21, "gg": 21} {
			if start[name] != want {
				t.Errorf("%s began at %d s, want %d", name, start[name], want)
			}
		}
	})
}

// TestElsewhere: a node that only others can run takes no room, and what depends on it runs
// when others have computed it.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var order []string
		run := func(name string) func(context.Context, map[string]int) (int, error) {
			return func(context.Context, map[string]int) (int, error) { order = append(order, name); return 0, nil }
		}
		g, err := New([]Node[int]{
			{Name: "large", Priority: 1, Run: run("large"), Lookup: func(context.Context, map[string]int) (int, bool, error) {
				return 0, time.Since(began) > time.Minute, nil
			}},
			{Name: "after", Priority: 1, Deps: []string{"large"}, Run: run("after")},
			{Name: "small", Run: run("small")},
		})
		if err != nil {
			t.Fatal(err)
		}
		var busy int
		out, err := g.Run(t.Context(), Options{Limit: 2, Elsewhere: func(name string) bool { return name == "large" }, Events: func(e Event) {
			if e.Kind == EventBusy {
				busy++
			}
		}})
		if err != nil || out["large"].State != Hit || busy != 1 || !slices.Equal(order, []string{"small", "after"}) {
			t.Errorf("%+v, %v, %d busy, order %q", out, err, busy, order)
		}
		if took := time.Since(began); took != 70*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
