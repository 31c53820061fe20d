package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEstimate: an engine is asked once for each task, and what it answers wrongly is named.
func TestEstimate(t *testing.T) {
	tasks := []EstimateTask{
		{Verb: Train, Params: map[string]any{"lora.rank": 4}, Load: map[string]any{"name": "x"}, CPUs: 1},
		{Verb: Sample, Params: map[string]any{}, Rows: 9, CPUs: 2},
	}
	want := []Estimate{{Flops: 1e12, Memory: 5000, Disk: 7}, {Error: "who knows"}}
	cache := t.TempDir()
	e, asked := testEngine(t, "good"), []int{}
	for range 2 {
		got, err := e.Estimate(t.Context(), cache, "identity", tasks, func(n int) { asked = append(asked, n) })
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		tasks, want = tasks[:1], want[:1] // an error is not kept
	}
	if d := cmp.Diff([]int{2}, asked); d != "" {
		t.Errorf("numbers of tasks asked about: %s", d)
	}
	tasks = append(tasks, tasks[0])
	for how, want := range map[string]string{
		"mute":     "'estimate FILE' ended without writing FILE: the answer belongs there, and not on standard output: estimates",
		"fails":    "'estimate' failed (exit status 3)",
		"short":    "its estimates are not valid: it has 1 estimates; must have one for each of 2 tasks",
		"negative": "its estimates are not valid: estimate 0 has a number below 0",
		"text":     "its estimates are not valid: invalid character 'y' looking for beginning of value",
	} {
		if _, err := testEngine(t, how).Estimate(t.Context(), "", "", tasks, func(int) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", how, err, want)
		}
	}
}

func FuzzParseEstimates(f *testing.F) {
	f.Add([]byte(`{"tasks": [{"flops": 1e300, "memory": 5}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := ParseEstimates(data, 1); err == nil && (len(got) != 1 || got[0].Flops < 0 || got[0].Memory < 0) {
			t.Errorf("%s: %+v", data, got)
		}
	})
}
