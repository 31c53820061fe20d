package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

const gib = 1 << 30

func gpus(memory ...int64) []GPU {
	var list []GPU
	for i, m := range memory {
		list = append(list, GPU{fmt.Sprint(i), m * gib})
	}
	return list
}

func drawNeed(t *rapid.T, c Capacity) Need {
	n := Need{CPUs: rapid.IntRange(0, c.CPUs).Draw(t, "cpus"), GPUs: rapid.IntRange(0, len(c.GPUs)).Draw(t, "gpus")}
	if c.Memory > 0 {
		n.Memory = rapid.Int64Range(0, c.Memory).Draw(t, "memory")
	}
	if n.GPUs > 0 && rapid.Bool().Draw(t, "shares") {
		n.GPUMemory = rapid.Int64Range(1, c.least()).Draw(t, "gpu memory")
	}
	return n
}

// TestRandom: grants never exceed the capacity, a GPU that is granted alone has no other
// user, and the first need of every round runs at last, whatever comes after it: it is not
// overtaken for ever.
func TestRandom(t *testing.T) { rapid.Check(t, random) }

func random(t *rapid.T) {
	c := Capacity{CPUs: rapid.IntRange(1, 8).Draw(t, "CPUs"), Memory: rapid.SampledFrom([]int64{0, 16 * gib}).Draw(t, "Memory")}
	for i := range rapid.IntRange(0, 4).Draw(t, "GPUs") {
		c.GPUs = append(c.GPUs, GPU{fmt.Sprint(i), rapid.SampledFrom([]int64{16, 80}).Draw(t, "GPU") * gib})
	}
	a := NewAllocator(c)
	type running struct {
		need  Need
		grant Grant
	}
	var now []running
	check := func() {
		cpus, memory := 0, int64(0)
		for _, r := range now {
			cpus += r.grant.CPUs
			memory += r.need.Memory
			if len(r.grant.GPUs) != r.need.GPUs || r.grant.CPUs != r.need.cpus() {
				t.Fatalf("%v got %+v", r.need, r.grant)
			}
		}
		if cpus > c.CPUs || c.Memory > 0 && memory > c.Memory {
			t.Fatalf("%d CPUs and %d bytes of %v", cpus, memory, c)
		}
		for _, g := range c.GPUs {
			users, alone, sum := 0, false, int64(0)
			for _, r := range now {
				if slices.Contains(r.grant.GPUs, g) {
					users++
					alone = alone || r.need.GPUMemory == 0
					sum += r.need.GPUMemory
				}
			}
			if sum > g.Memory || alone && users > 1 {
				t.Fatalf("GPU %v has %d users with %d bytes, alone %v", g, users, sum, alone)
			}
		}
	}
	first := drawNeed(t, c)
	waited := 0
	for step := range 60 {
		a.Begin()
		if step > 5 { // the others run already
			if g, ok := a.Take("first", first); ok {
				now = append(now, running{first, g})
				check()
				return
			}
			waited++
		}
		hog := drawNeed(t, c)
		if waited > 0 && rapid.Bool().Draw(t, "small") {
			hog = Need{}
		}
		for i := range 9 { // as many as there is room for
			if i > 4 || waited == 0 {
				hog = drawNeed(t, c)
			}
			if g, ok := a.Take(fmt.Sprint(step, i), hog); ok {
				now = append(now, running{hog, g})
			}
			check()
		}
		if len(now) > 0 {
			i := rapid.IntRange(0, len(now)-1).Draw(t, "ends")
			if waited > 0 {
				i = 0 // each runs for a limited time only
			}
			a.Give(now[i].grant)
			now = slices.Delete(now, i, i+1)
		}
	}
	t.Fatalf("%v never ran within %v, though %d others ended", first, c, waited)
}

// TestShare: actions share a GPU while their memory fits; one without a declared amount has
// its GPU alone; small ones go to the fullest GPU, so that others stay free.
func TestShare(t *testing.T) {
	a := NewAllocator(Capacity{CPUs: 8, GPUs: gpus(80, 80)})
	take := func(n Need) string {
		a.Begin()
		g, ok := a.Take("", n)
		if !ok {
			return "waits"
		}
		s := ""
		for _, g := range g.GPUs {
			s += g.ID
		}
		return s
	}
	small, alone := Need{GPUs: 1, GPUMemory: 30 * gib}, Need{GPUs: 1}
	var got []string
	for _, n := range []Need{small, small, alone, small, alone, {}, {GPUs: 1, GPUMemory: 20 * gib}, {GPUs: 2}} {
		got = append(got, take(n))
	}
	if want := []string{"0", "0", "1", "waits", "waits", "", "0", "waits"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// A GPU whose memory is not known is not shared.
	a = NewAllocator(Capacity{CPUs: 8, GPUs: gpus(0)})
	if got := []string{take(small), take(small)}; !slices.Equal(got, []string{"0", "waits"}) {
		t.Errorf("unknown memory: %q", got)
	}
}

// TestReservation: while an action waits for a GPU, others have the CPUs that it will not need,
// or that it will get from the action that it waits for; another one that waits for the same
// GPU keeps nothing.
func TestReservation(t *testing.T) {
	a := NewAllocator(Capacity{CPUs: 8, GPUs: gpus(80)})
	take := func(name string, n Need, want bool) Grant {
		t.Helper()
		g, ok := a.Take(name, n)
		if ok != want {
			t.Errorf("%s %v: %v, want %v", name, n, ok, want)
		}
		return g
	}
	round := func() {
		a.Begin()
		take("b", Need{CPUs: 4, GPUs: 1}, false)
		take("c", Need{CPUs: 4, GPUs: 1}, false)
	}
	a.Begin()
	busy := take("a", Need{CPUs: 4, GPUs: 1}, true)
	round()
	three := take("three", Need{CPUs: 3}, true) // it leaves 4 for b, which has those of a
	round()
	take("two", Need{CPUs: 2}, false)
	take("one", Need{}, true)
	a.Give(busy) // 4 are free, and b begins
	a.Begin()
	busy = take("b", Need{CPUs: 4, GPUs: 1}, true)
	take("c", Need{CPUs: 4, GPUs: 1}, false)
	take("eight", Need{CPUs: 8}, false)
	a.Give(three)
	a.Give(busy)
	a.Begin()
	busy = take("c", Need{CPUs: 4, GPUs: 1}, true)
	take("eight", Need{CPUs: 8}, false)
	take("small", Need{}, false) // eight would wait for it
	// What waited before is as old as it was: what began meanwhile has not made it wait longer.
	a.Begin()
	take("eight", Need{CPUs: 8}, false)
	take("small", Need{}, false)
	a.Give(busy)
}

// TestAcquire: those that wait go first, in their order; one that gives up leaves nothing.
func TestAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAllocator(Capacity{CPUs: 2})
		a.Begin()
		g, _ := a.Take("", Need{CPUs: 2})
		var mu sync.Mutex
		var order []int
		for i, n := range []int{2, 1} {
			go func() {
				g, err := a.Acquire(t.Context(), Need{CPUs: n})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				a.Give(g)
			}()
			synctest.Wait()
		}
		gaveUp := errors.New("gave up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gaveUp)
		defer cancel()
		if _, err := a.Acquire(ctx, Need{}); !errors.Is(err, gaveUp) {
			t.Error(err)
		}
		a.Begin()
		if _, ok := a.Take("", Need{}); ok {
			t.Error("a round overtook")
		}
		a.Give(g)
		time.Sleep(3 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(order, []int{0, 1}) {
			t.Errorf("order %v", order)
		}
		a.Begin()
		if _, ok := a.Take("", Need{CPUs: 2}); !ok {
			t.Error("something is still in use")
		}
	})
}

// TestMisfit: what can never run is named with what there is.
func TestMisfit(t *testing.T) {
	c := Capacity{CPUs: 2, GPUs: gpus(16, 80), Memory: 8 * gib}
	for _, x := range []struct {
		need Need
		want string
	}{
		{Need{}, ""}, {Need{CPUs: 2, GPUs: 2, Memory: 8 * gib, GPUMemory: 16 * gib}, ""},
		{Need{CPUs: 3}, "3 CPUs of 2"}, {Need{GPUs: 3}, "3 GPUs of 2"},
		{Need{GPUs: 2, GPUMemory: 20 * gib}, "21.5 GB of memory of a GPU with 17.2 GB"}, {Need{GPUs: 1, GPUMemory: 20 * gib}, ""},
		{Need{Memory: 9 * gib}, "9.7 GB of memory of 8.6 GB"},
	} {
		if got := c.Misfit(x.need); got != x.want {
			t.Errorf("%v: %q, want %q", x.need, got, x.want)
		}
	}
	if got := (Capacity{CPUs: 1}).Misfit(Need{Memory: 1 << 60}); got != "" {
		t.Errorf("unknown memory: %q", got)
	}
}
