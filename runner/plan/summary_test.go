package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
	"ablate/runner/internal/byhand"
	"ablate/runner/layout"
)

var stages = []Stage{
	{Stage: "pretrain", Run: 2, Seconds: 10, Rough: true, Reasons: []Reason{{2, FirstOfKind}}},
	{Stage: "sample", Cached: 4, Run: 3, Retry: 1, Seconds: 2, Bytes: 7, Reasons: []Reason{{2, Follows}, {1, NewSeeds}, {1, "it was interrupted"}}},
	{Stage: "score", Cached: 1, Reasons: nil},
	{Stage: "finetune", Run: 2, Reasons: []Reason{{1, FirstOfKind}, {1, Follows}}},
}

func TestTotal(t *testing.T) {
	want := Stage{Stage: "all", Cached: 5, Run: 7, Retry: 1, Seconds: 12, Rough: true, Bytes: 7}
	if d := cmp.Diff(want, Total(stages)); d != "" {
		t.Error(d)
	}
}

// TestGather: stages that run for the first time are listed together, and actions that
// run because of their inputs or seeds are counted over all stages.
func TestGather(t *testing.T) {
	want := Reasons{First: []string{"pretrain"}, NewSeeds: 1, Follow: 3,
		Own: []Reasoned{{"sample", Reason{1, "it was interrupted"}}, {"finetune", Reason{1, FirstOfKind}}}}
	if d := cmp.Diff(want, Gather(stages)); d != "" {
		t.Error(d)
	}
}

// TestRefused: only the pure-Go backend refuses stages, and only those that run.
func TestRefused(t *testing.T) {
	if got := (&Plan{Backend: "go"}).Refused(stages); cmp.Diff([]string{"pretrain", "finetune"}, got) != "" {
		t.Errorf("go refuses %q", got)
	}
	if got := (&Plan{Backend: "xla:cpu"}).Refused(stages); got != nil {
		t.Errorf("xla:cpu refuses %q", got)
	}
}

// TestMissing: a view lists the stages that run for it, and its seed is new if one of
// them runs because of that alone.
func TestMissing(t *testing.T) {
	model := byhand.Action("model", "", layout.Spec{Kind: "pretrain"})
	one, two := byhand.Action("one", "", layout.Spec{Kind: "distance"}), byhand.Action("two", "", layout.Spec{Kind: "distance"})
	layout.Of(model, one, two)
	views := []language.View{{Arm: "a", Trial: language.Trial{Seed: language.Seed{Pretraining: 1, Feedback: 1}}}, {Arm: "a", Trial: language.Trial{Seed: language.Seed{Pretraining: 2, Feedback: 2}}}}
	g := &layout.Graph{Chains: map[language.ID]layout.Chain{
		views[0].Trial.ID(): {{Role: layout.Model, Action: model}, {Role: layout.Distance, Action: one}}, views[1].Trial.ID(): {{Role: layout.Model, Action: model}, {Role: layout.Distance, Action: two}},
	}}
	p := &Plan{Steps: []Step{{Action: model, State: Cached}, {Action: one, State: Cached}, {Action: two, State: Run, Reason: NewSeeds}}}
	if d := cmp.Diff([][]string{nil, {"distance"}}, p.Missing(g, views)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"2"}, p.SeedsOf(g, views)); d != "" {
		t.Error(d)
	}
}
