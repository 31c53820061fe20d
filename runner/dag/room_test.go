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
type parts struct {
	w                   nodes
	all, used, reserved int
}

func (p *parts) Begin() { p.reserved = 0 }
func (p *parts) Take(i int) bool {
	need := len(p.w[i].name)
	if p.used+p.reserved+need > p.all {
		p.reserved = min(p.reserved+need, p.all)
		return false
	}
	p.used += need
	return true
}
func (p *parts) Give(i int) { p.used -= len(p.w[i].name) }

// TestRoom: a large node waits and is not overtaken by nodes that need what it waits for.
// Nodes that fit beside it go on. What a node gives back early is used by others.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		start := map[string]int{}
		do := func(name string, priority, seconds int, free bool) node {
			return node{name: name, Hint: Hint{Need: string(rune('0' + len(name))), Priority: priority}, run: func(ctx context.Context) error {
				mu.Lock()
				start[name] = int(time.Since(began).Seconds())
				mu.Unlock()
				time.Sleep(time.Duration(seconds) * time.Second)
				if free {
					Free(ctx)
					time.Sleep(100 * time.Second)
				}
				return nil
			}}
		}
		w := nodes{
			do("aaa", 9, 10, true), do("bbbb", 8, 10, false), do("cccc", 7, 1, false),
			do("d", 6, 1, false), do("e", 5, 20, false), do("f", 4, 1, false), do("gg", 3, 1, false),
		}
		room := &parts{w: w, all: 6}
		if _, err := Run(t.Context(), w, Options{Room: room}); err != nil || room.used != 0 {
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
		w := steps(func(_ context.Context, name string) error { order = append(order, name); return nil }, "large", "after: large", "small")
		w[0].lookup = func(context.Context) (bool, error) { return time.Since(began) > time.Minute, nil }
		w[0].Priority, w[1].Priority = 1, 1
		var busy int
		states, err := Run(t.Context(), w, Options{Limit: 2, Elsewhere: func(i int) bool { return w[i].name == "large" }, Events: func(e Event) {
			if e.Kind == EventBusy {
				busy++
			}
		}})
		if err != nil || states[0] != Hit || busy != 1 || !slices.Equal(order, []string{"small", "after"}) {
			t.Errorf("%v, %v, %d busy, order %q", states, err, busy, order)
		}
		if took := time.Since(began); took != 70*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
