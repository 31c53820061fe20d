package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/reports/page"
	"ablate/runner/device"
	"ablate/runner/internal/example"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/project"
	"ablate/runner/result"
	"ablate/runner/store"
)

// failed returns the result of a study whose pretraining failed for the arm "plain". The
// other arm did not run: it waits for the reward of the base trial, the proxy.
func failed(t *testing.T) *result.Result {
	t.Helper()
	s := example.Study(t, "title: \"a title\"\nseeds: [1]\narms: {plain: set: {}, wide: set: model: shapes: width: 64}")
	p, err := project.Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.LayOut(t.Context(), s.Views); err != nil {
		t.Fatal(err)
	}
	if p, err = p.Claim(device.CPU); err != nil {
		t.Fatal(err)
	}
	j, err := p.Store.OpenJournal(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	model := p.Graph.Chains[s.Views[0].Trial.ID()].Action(layout.Model)
	start := store.Event{Kind: store.Started, Time: time.Unix(100, 0), Action: model.Key(device.CPU, nil).ID(), Stage: "pretrain", Device: "a core", CPU: "a processor", Versions: "ablate 1"}
	end := store.Event{Kind: store.Failed, Time: time.Unix(103, 0), Action: start.Action, Seconds: 3, Error: "no memory"}
	for _, e := range []store.Event{start, end} {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Store.Fail(store.Failure{Action: start.Action, Stage: "pretrain", Class: "out of memory", Error: "no memory", Tail: "last words\nend", Time: end.Time}); err != nil {
		t.Fatal(err)
	}
	r, err := result.Gather(t.Context(), p, device.CPU)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestNew: the report gives the reason of each trial without a result, the parameters
// of each row, and what ran.
func TestNew(t *testing.T) {
	r := failed(t)
	rep := New(t.Context(), r)
	if len(rep.Failures) != 2 || !strings.HasPrefix(rep.Failures[0], "plain@1: pretrain ") || !strings.HasSuffix(rep.Failures[0], " (out of memory): no memory\nlast words\nend") ||
		!strings.HasPrefix(rep.Failures[1], "wide@1: pretrain plain@1 ") {
		t.Errorf("failures %q", rep.Failures)
	}
	want := page.Provenance{Command: "ablate run mine", Versions: []string{"ablate 1"}, Devices: []string{"a core"}, CPUs: []string{"a processor"}, Attempts: 1, Seconds: 3}
	if d := cmp.Diff(want, rep.Provenance); d != "" {
		t.Error(d)
	}
	if len(rep.Parameters) != 2 || rep.Parameters[1].Label != "wide" || !strings.Contains(strings.Join(rep.Parameters[1].Lines, "\n"), "model.shapes.width 64") ||
		rep.Parameters[0].Trials[0].View != "plain@1" {
		t.Errorf("parameters %+v", rep.Parameters)
	}
	if rep.Title != "a title" || cmp.Diff([]string{"1"}, rep.Seeds) != "" {
		t.Errorf("title %q, seeds %q", rep.Title, rep.Seeds)
	}
	if img, err := rep.Image(rep.Parameters[0].Trials[0].ID, "fidelity", 0); img != nil || err != nil {
		t.Errorf("a picture of a trial without a result: %v, %v", img, err)
	}
}

// TestFailuresSkipsDone: a trial with a result has no failure, whatever its attempts.
func TestFailuresSkipsDone(t *testing.T) {
	r := failed(t)
	chain := r.Project.Graph.Chains[r.Project.Study.Views[0].Trial.ID()]
	for i, role := range layout.Results() {
		if got := failures(r); len(got) != 2 {
			t.Errorf("with %d of its results: failures %q", i, got)
		}
		if a := chain.Action(role); a != nil {
			r.Found.Set(a, lookup.Output{ID: store.OutputID{99}})
		}
	}
	if got := failures(r); len(got) != 1 || !strings.HasPrefix(got[0], "wide@1: ") {
		t.Errorf("failures %q", got)
	}
}
