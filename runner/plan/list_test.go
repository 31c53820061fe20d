package plan

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"ablate/runner/layout"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// TestListsOfImages: images, verdicts, scores and selected images are compared only with
// those of the same list of prompts, even if other parameters are equal. A fine-tuning
// belongs to no list, so one that draws images is compared with one that does not.
func TestListsOfImages(t *testing.T) {
	// Trials with best of n and without fine-tuning have no feedback, assessment or
	// probe.
	r := runAll(t, "seeds: [1]\nbase: {finetune: method: \"none\", reward: loss: \"oracle\", evaluate: bestOf: 2}\narms: {plain: set: {}}")
	g, views := lay(t, "seeds: [1]\nbase: {finetune: method: \"none\", reward: loss: \"oracle\", evaluate: bestOf: 2}\narms: {plain: set: sampler: steps: 7, tuned: set: finetune: method: \"reward-weighted\"}")
	p := r.plan(t, g, "xla:cpu")
	c := g.Chains[views[1].Trial.ID()]
	reasons := map[*layout.Action]string{}
	for _, s := range p.Steps {
		reasons[s.Action] = s.Reason
	}
	for role, want := range map[layout.Role]string{
		layout.LabelledPrompts: FirstOfKind, layout.LabelledImages: FirstOfKind, layout.LabelledVerdicts: FirstOfKind, layout.LabelledScores: FirstOfKind,
		layout.BaseProbeImages: FirstOfKind, layout.ProbeImages: FirstOfKind, layout.ProbeVerdicts: FirstOfKind, layout.Finetune: FirstOfKind,
		layout.AlignmentImages: Follows, layout.AlignmentVerdicts: Follows, layout.FidelityImages: Follows, layout.Fidelity: Follows,
	} {
		if got := reasons[c.Action(role)]; got != want {
			t.Errorf("%s runs because %q, want %q", role, got, want)
		}
	}
	// The nearest images are those of the same list and candidate.
	for role, list := range map[layout.Role]string{layout.AlignmentImages: stage.AlignmentList, layout.FidelityImages: stage.FidelityList} {
		chosen := g.Chains[views[0].Trial.ID()].Action(role)
		for k, in := range []*layout.Action{chosen.Inputs[0], chosen.Inputs[2]} {
			e, diffs, ok, err := p.Nearest(in, r.s)
			if err != nil || !ok {
				t.Fatalf("%s: %v, %v", in.Label(), ok, err)
			}
			if want := []Difference{{"sampler", "steps", "16", "7"}}; !slices.Equal(diffs, want) {
				t.Errorf("%s: candidate %d differs from %s in %v, want %v", role, k, e.Key, diffs, want)
			}
		}
		if got := listOf(chosen); got != list {
			t.Errorf("%s is of the list %q, want %q", role, got, list)
		}
	}
}

// TestListsOfEntries: an action is of the same list before and after it has run.
func TestListsOfEntries(t *testing.T) {
	r := runAll(t, "seeds: [1]\narms: {all: set: {}, best: set: evaluate: bestOf: 2, policy: set: finetune: method: \"ddpo\"}")
	h, err := r.s.Entries()
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for name, list := range newHistory(h).byStage {
		ran[name] += len(list)
	}
	want := map[string]int{}
	for _, a := range r.g.Actions {
		want[compared(string(a.Kind), listOf(a), a.Lines())]++
	}
	if !maps.Equal(ran, want) {
		t.Errorf("the store has %v, the graph %v", ran, want)
	}
	for _, name := range []string{"draw of probe", "draw of probe, steps true", "draw of alignment", "draw of alignment, candidate 1", "judge of assess", "label of labelled", "select of fidelity", "fidelity of fidelity", "score of alignment", "finetune", "pretrain"} {
		if want[name] == 0 {
			t.Errorf("no action is %q among %q", name, slices.Sorted(maps.Keys(want)))
		}
	}
	if want["finetune"] != 2 {
		t.Errorf("%d fine-tunings are compared with each other, want both", want["finetune"])
	}
}

// TestEqualOutputs: two actions have the same output, scores by a trial's own reward and
// by the base trial's. An action that read this output is taken to have read the scores
// of its own trial, whatever the order in which the store lists the actions.
func TestEqualOutputs(t *testing.T) {
	entry := func(k store.Key, output byte) store.Entry {
		return store.Entry{Action: k.ID(), Output: store.OutputID{output}, Key: k.Text()}
	}
	reward := entry(store.Key{Stage: "reward", Revision: 1, Lines: []string{"reward.lambda 0.5"}}, 1)
	own := entry(store.Key{Stage: "score", Revision: 1, Inputs: []store.Input{{Name: stage.RewardInput, Output: reward.Output}}}, 2)
	base := entry(store.Key{Stage: "score", Revision: 1, Inputs: []store.Input{{Name: stage.BaseRewardInput, Output: reward.Output}}}, 2)
	chosen := entry(store.Key{Stage: "select", Revision: 1, Inputs: []store.Input{{Name: stage.Numbered(stage.ScoresInput, 0), Output: own.Output}}}, 3)
	for _, entries := range [][]store.Entry{{reward, own, base, chosen}, {reward, base, own, chosen}} {
		h := newHistory(entries)
		list := h.byStage["select"]
		if len(list) != 1 {
			t.Fatalf("%d selections", len(list))
		}
		if f := h.ofEntry(list[0], 0); f[feature{"reward", "lambda"}] != "0.5" || f[feature{"base reward", "lambda"}] != "" {
			t.Errorf("features %v", f)
		}
	}
}

// TestOwnList: the list of prompts is part of the name of an action's features, and not
// another feature.
func TestOwnList(t *testing.T) {
	got := map[feature]string{}
	own(got, "prompts", []string{`list "assess"`, "rows 7"}, 1, "")
	if want := (map[feature]string{{"prompts of assess", "rows"}: "7", {"prompts of assess", "revision"}: "1"}); !maps.Equal(got, want) {
		t.Errorf("features %v, want %v", got, want)
	}
}

// TestExplainInputs: for an action that waits, existing inputs are shown as in a key, and
// the others as not there yet.
func TestExplainInputs(t *testing.T) {
	r := runAll(t, "seeds: [1]\narms: {plain: set: {}}")
	g, views := lay(t, "seeds: [1]\narms: {plain: set: finetune: clip: 2}")
	p := r.plan(t, g, "xla:cpu")
	c := g.Chains[views[0].Trial.ID()]
	list, err := p.Explain(c, r.s)
	if err != nil {
		t.Fatal(err)
	}
	prompts := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Action == c.Action(layout.AlignmentPrompts) })
	there := "input " + p.found.ID(p.Steps[prompts].Action).String() + " prompts"
	var waits []string
	for _, e := range list {
		if e.Stage == "judge" && e.State == Run && slices.Contains(e.Key, there) {
			waits = e.Key
		}
	}
	if !slices.Contains(waits, "input of draw, not there yet: images") || slices.ContainsFunc(waits, func(s string) bool { return strings.Contains(s, "input of prompts") }) {
		t.Errorf("the verdicts have the key %q", waits)
	}
}
