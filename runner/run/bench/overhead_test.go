package main

import (
	"math"
	"testing"
)

// TestAccount: the time of two workers, in seconds. A run of 10 s computes a from 1 to 3, and
// b, which reads it, from 4 to 6; c, which reads nothing, from 2 to 5; d, which reads b and c,
// from 7 to 8. Storing takes half a second.
func TestAccount(t *testing.T) {
	tasks := []task{
		{begin: 1, end: 3, stored: 3.5},
		{begin: 4, end: 6, stored: 6.5, inputs: []int{0}},
		{begin: 2, end: 5, stored: 5.5},
		{begin: 7, end: 8, stored: 8.5, inputs: []int{1, 2}},
	}
	want := ledger{
		compute: 2 + 2 + 3 + 1,
		before:  2 * 1,
		after:   2 * 1.5,
		ready:   1 /* c, from 1 to 2 */ + .5 /* b, from 3.5 to 4 */ + .5, /* d, from 6.5 to 7 */
		storing: .5 /* a, for b */ + .5 /* b, for d */ + 2*.5,            /* d, for the end */
		idle:    1 /* d waits for b from 5 to 6 */ + .5 + .5 /* the other worker, while b is stored and d begins */ + 1,
	}
	got := account(tasks, 2, 10)
	check := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v s, want %v", name, got, want)
		}
	}
	check("computing", got.compute, want.compute)
	check("before the first action", got.before, want.before)
	check("after the last", got.after, want.after)
	check("ready", got.ready, want.ready)
	check("until a result is stored", got.storing, want.storing)
	check("idle", got.idle, want.idle)
	check("all", got.compute+got.before+got.after+got.ready+got.storing+got.idle, 2*10)
}
