package project

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/experiments/language"
	"ablate/runner/internal/example"
)

const halvedArms = `arms: {
	plain: set: {}
	pretrained: set: finetune: method: "none"
	check: {control: true, set: finetune: clip: 2}
	short: set: finetune: {steps: 150, clip: 3}
	a: set: finetune: clip: 4
	b: set: finetune: clip: 5
	again: set: finetune: clip: 5
	c: set: finetune: clip: 6
	d: set: finetune: clip: 7
	like: set: finetune: clip: 2
}`

// scores are scores of rows at rungs, by the first of several rows with the same trials.
type scores map[string][]float64

func (s scores) of(v language.View, rung int) (Score, error) {
	list := s[v.Row()]
	if rung >= len(list) {
		return Score{}, nil
	}
	return Score{Known: true, Value: list[rung]}, nil
}

// state describes how far the rows of a project are asked to go: "100" up to a rung, "100!"
// stopped there, and "end".
func state(p Project) map[string]string {
	out := map[string]string{}
	for _, v := range p.Study.Views {
		at := "end"
		if v.Cut {
			at = steps(v.Rungs[len(v.Rungs)-1])
		}
		if v.Stopped {
			at += "!"
		}
		if old, ok := out[v.Row()]; ok && old != at {
			at = "seeds differ"
		}
		out[v.Row()] = at
	}
	return out
}

func steps(n int) string { return map[int]string{100: "100", 200: "200"}[n] }

func check(t *testing.T, what string, p Project, want map[string]string) {
	t.Helper()
	got := state(p)
	for _, row := range []string{"plain", "pretrained", "check", "like"} { // they never stop
		if got[row] != "end" {
			t.Errorf("%s: %s runs to %s", what, row, got[row])
		}
	}
	for row, at := range want {
		if got[row] != at {
			t.Errorf("%s: %s runs to %q, want %q", what, row, got[row], at)
		}
	}
}

// TestSharedTraining: rows that differ in their evaluation only share their training, so that they stop
// together; and one that shares that of the reference does not stop.
func TestSharedTraining(t *testing.T) {
	s := example.Study(t, `seeds: [1, 2]
arms: {
	plain: set: {}
	reference: set: evaluate: bestOf: 2
	a: {set: finetune: clip: 4, sweep: "evaluate.bestOf": [1, 2, 4]}
	b: set: finetune: clip: 5
	c: set: finetune: clip: 6
}
halving: {by: "proxy", at: [100], keep: 0.5}`)
	p, err := Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := state(p); got["reference"] != "end" || got["plain"] != "end" {
		t.Errorf("%v", got)
	}
	// 2 of 3 trainings go on.
	next, _, stopped, _, err := p.Halve("go", scores{"a[evaluate.bestOf=1]": {.1}, "b": {.2}, "c": {.3}}.of)
	if err != nil || len(stopped) != 3 || state(next)["b"] != "end" || state(next)["c"] != "end" {
		t.Errorf("stopped %v, %v, %v", stopped, state(next), err)
	}
}

// TestHalve: rows wait at a rung until all have reached it. Those with the highest scores go
// on, rows of the same trials together, and the decisions are the same when they are made
// again from the scores.
func TestHalve(t *testing.T) {
	s := example.Study(t, "seeds: [1, 2]\n"+halvedArms+"\nhalving: {by: \"proxy\", at: [100, 200], keep: 0.5}")
	p, err := Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	check(t, "at first", p, map[string]string{"short": "100", "a": "100", "b": "100", "again": "100", "c": "100", "d": "100"})
	if _, _, _, more, err := p.Halve("go", scores{"short": {.1}, "a": {.2}, "b": {.3}, "c": {.4}}.of); more || err != nil {
		t.Errorf("a rung that d has not reached is decided; %v", err)
	}

	// 3 of 5 go on: b with its repetition, c, and short, which ties with a and is before it.
	// short ends before the second rung.
	first := scores{"short": {.2}, "a": {.2}, "b": {.5}, "c": {.4}, "d": {math.Inf(-1)}}
	next, on, stopped, more, err := p.Halve("go", first.of)
	if err != nil || !more || !slices.Equal(on, []string{"short", "b", "again", "c"}) || !slices.Equal(stopped, []string{"a", "d"}) {
		t.Fatalf("on %v, stopped %v, %v", on, stopped, err)
	}
	afterFirst := map[string]string{"short": "end", "a": "100!", "b": "200", "again": "200", "c": "200", "d": "100!"}
	check(t, "after the first rung", next, afterFirst)
	if _, _, _, more, _ := next.Halve("go", first.of); more {
		t.Error("the second rung is decided without scores")
	}

	// The state is there when the study is opened again.
	if next, err = next.Claim("go"); err != nil {
		t.Fatal(err)
	}
	if err := next.SaveRounds(); err != nil {
		t.Fatal(err)
	}
	if p, err = Open(s, nil, ""); err != nil {
		t.Fatal(err)
	}
	check(t, "opened again", p, afterFirst)

	if err := p.Decided("go"); err != nil {
		t.Error(err)
	}
	if err := p.Decided("xla:cuda"); err == nil || !strings.Contains(err.Error(), "from go, and this run computes on xla:cuda") {
		t.Errorf("another class of backend: %v", err)
	}

	both := scores{"short": {.2}, "a": {.2}, "b": {.5, .1}, "c": {.4, .2}, "d": {math.Inf(-1)}}
	end, _, stopped, more, _ := p.Halve("go", both.of)
	last := map[string]string{"short": "end", "a": "100!", "b": "200!", "again": "200!", "c": "end", "d": "100!"}
	if check(t, "at the end", end, last); !more || !slices.Equal(stopped, []string{"b", "again"}) {
		t.Errorf("stopped %v", stopped)
	}
	if _, _, _, more, _ := end.Halve("go", both.of); more {
		t.Error("nothing is left to decide")
	}
	if ends, open := end.Finishing(); len(open) != 0 || ends != 2*5 { // check and like are the same trials
		t.Errorf("%d trials run to their end, of %v rungs are open", ends, open)
	}

	// A run that is behind leaves the newer state.
	if end, err = end.Claim("go"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Project{end, next} {
		if err := p.SaveRounds(); err != nil {
			t.Fatal(err)
		}
	}
	if p, err = Open(s, nil, ""); err != nil {
		t.Fatal(err)
	}
	check(t, "after a run that is behind", p, last)

	// A rung that is no longer known, because a row was added or a score is lost, leaves what was
	// decided there as it is.
	lost := scores{"short": {.2}, "a": {.2}, "b": {.5, .1}, "c": {.4}, "d": {math.Inf(-1)}}
	if _, _, _, more, _ := end.Halve("go", lost.of); more {
		t.Error("decisions are taken back because a score is lost")
	}
	lost["d"] = nil
	if _, _, _, more, _ := end.Halve("go", lost.of); more {
		t.Error("all decisions are taken back because a score is lost")
	}

	// All decisions follow from the scores: without a state, and with one of other scores.
	if err := os.Remove(filepath.Join(next.Dir, roundsFile)); err != nil {
		t.Fatal(err)
	}
	if p, err = Open(s, nil, ""); err != nil {
		t.Fatal(err)
	}
	again, _, _, _, _ := p.Halve("go", both.of)
	check(t, "decided again", again, last)
	both["a"] = []float64{.9, .9}
	other, _, _, _, _ := end.Halve("go", both.of)
	check(t, "by other scores", other, map[string]string{"short": "100!", "a": "end", "b": "200!", "c": "end"})

	// A failure of all rows decides nothing, and neither does an error.
	if _, _, _, more, _ := p.Halve("go", func(language.View, int) (Score, error) { return Score{true, math.Inf(-1)}, nil }); more {
		t.Error("rows that all failed are ranked")
	}
	broken := errors.New("broken")
	if _, _, _, _, err := p.Halve("go", func(language.View, int) (Score, error) { return Score{}, broken }); err != broken {
		t.Errorf("error %v", err)
	}

	// With another declaration, nothing is decided yet.
	changed := example.Study(t, "seeds: [1, 2]\n"+halvedArms+"\nhalving: {by: \"proxy\", at: [100, 200], keep: 0.6}")
	p.all = changed
	check(t, "declared otherwise", p.at(end.Rounds), map[string]string{"a": "100", "c": "100", "short": "100"})
}

// TestParts: the work that is left is that to the next rung, to those after it, and to the
// end, with the shares of the rows that are expected to go on.
func TestParts(t *testing.T) {
	s := example.Study(t, "seeds: [1]\n"+halvedArms+"\nhalving: {by: \"proxy\", at: [100, 200], keep: 0.5}")
	p, err := Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	parts, shares := p.Parts()
	if len(parts) != 3 || len(shares) != 2 || math.Abs(shares[0]-3./5) > 1e-9 || math.Abs(shares[1]-3./5*1/2) > 1e-9 {
		t.Fatalf("%d parts, shares %v", len(parts), shares)
	}
	if ends, open := p.Finishing(); ends != 3 || !slices.Equal(slices.Sorted(slices.Values(open)), []int{1, 2, 2, 2, 2}) {
		t.Errorf("%d trials run to their end, and others after %v rungs", ends, open)
	}
	check(t, "first", parts[0], map[string]string{"a": "100", "short": "100"})
	check(t, "second", parts[1], map[string]string{"a": "200", "short": "end"})
	check(t, "last", parts[2], map[string]string{"a": "end", "short": "end"})
	next, _, _, _, _ := p.Halve("go", scores{"short": {.2}, "a": {.2}, "b": {.5}, "c": {.4}, "d": {.1}}.of)
	parts, shares = next.Parts()
	if len(parts) != 2 || len(shares) != 1 || shares[0] != .5 {
		t.Fatalf("%d parts, shares %v", len(parts), shares)
	}
	check(t, "after the first rung", parts[1], map[string]string{"a": "100!", "b": "end", "short": "end"})
}

func TestKeeps(t *testing.T) {
	for _, tc := range []struct {
		share float64
		n     int
		want  int
	}{{.5, 4, 2}, {.5, 5, 3}, {.1, 10, 1}, {.07, 100, 7}, {.01, 5, 1}, {1e-12, 5, 1}, {.99, 3, 3}} {
		if got := keeps(tc.share, tc.n); got != tc.want {
			t.Errorf("%v of %d rows: %d go on, want %d", tc.share, tc.n, got, tc.want)
		}
	}
}

// TestHalvedFile: a state that no decisions give is refused.
func TestHalvedFile(t *testing.T) {
	for text, want := range map[string]string{
		`{"halved":{"halving":{"By":"proxy","At":[100],"Keep":0.5},"passed":{"a":1},"stopped":{"b":100}}}`: "",
		`{"halved":{"halving":{"By":"proxy","At":[100],"Keep":0.5},"stopped":{"b":50}}}`:                   `row "b" has stopped after 50 steps`,
		`{"halved":{"halving":{"By":"proxy","At":[100],"Keep":0.5},"passed":{"b":1},"stopped":{"b":100}}}`: `having passed 1 of the rungs`,
		`{"halved":{"halving":{"By":"proxy","At":[100],"Keep":0.5},"passed":{"b":2}}}`:                     `row "b" has passed 2`,
	} {
		var r Rounds
		if err := r.decode([]byte(text)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
