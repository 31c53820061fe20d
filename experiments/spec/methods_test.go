package spec_test

import (
	"path/filepath"
	"testing"

	"ablate/experiments/spec"
)

// TestMethods: a name that stands for another is one trial with it, a method
// uses its own constants and no others, and what learns from labels alone
// needs no reward.
func TestMethods(t *testing.T) {
	s, err := spec.Load(study(t, `seeds: [1]
arms: {
	"a": {}
	"b": set: finetune: anchor: "pretraining"
	"c": set: finetune: method: "nft"
	"d": set: finetune: {method: "nft", anchor: "velocity"}
	"e": set: finetune: {method: "nft", anchor: "none"}
	"f": set: finetune: {method: "dpo", mix: unlabelled: 0}
	"g": set: {finetune: {method: "dpo", mix: unlabelled: 0}, reward: loss: "oracle"}
	"h": set: finetune: method: "grpo"
	"i": set: finetune: {method: "awm", awm: weighting: "t"}
}`), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]spec.Content{}
	ids := map[string]spec.ID{}
	for _, v := range s.Views {
		of[v.Arm], ids[v.Arm] = v.Trial.Content, v.Trial.ID()
	}
	if ids["a"] != ids["b"] || ids["c"] != ids["d"] || ids["d"] == ids["e"] {
		t.Error("the published anchor and its name are two trials, or another anchor is the same")
	}
	for _, tc := range []struct {
		arm, path string
		want      any
	}{
		{"a", "finetune.anchor", "pretraining"}, {"a", "finetune.beta", .5}, {"a", "finetune.nft.beta", nil}, {"a", "finetune.velocity", nil},
		{"a", "finetune.rounds", int64(1)}, {"a", "finetune.fresh", nil}, {"a", "finetune.lora.targets", nil}, {"a", "finetune.rollout.images", nil},
		{"c", "finetune.anchor", "velocity"}, {"c", "finetune.nft.velocity", 1e-4}, {"c", "finetune.velocity", nil}, {"c", "finetune.beta", nil},
		{"c", "finetune.mix.pretraining", nil}, {"e", "finetune.nft.velocity", nil},
		{"f", "reward.loss", nil}, {"f", "feedback.parser.noise", .08}, {"f", "feedback.unlabelled", nil}, {"f", "finetune.dpo.beta", 5000.},
		{"g", "reward.loss", "oracle"}, {"g", "feedback.parser.noise", nil},
		{"h", "finetune.anchor", "kl"}, {"h", "finetune.grpo.kl", .04}, {"h", "finetune.kl", nil}, {"h", "finetune.mix.labelled", nil},
		{"h", "feedback.labelled", int64(1000)}, {"h", "feedback.unlabelled", nil}, {"h", "reward.loss", "mse+classification"}, {"h", "finetune.rollout.noise", .7},
		{"i", "finetune.awm.power", nil}, {"i", "finetune.awm.velocity", 1e-3},
	} {
		if got, _ := of[tc.arm].Value(tc.path); got != tc.want {
			t.Errorf("arm %s: %s is %v, want %v", tc.arm, tc.path, got, tc.want)
		}
	}
}

// TestPublished: the constants of a method's preset are its defaults, so that
// either says the same trial.
func TestPublished(t *testing.T) {
	arms := ""
	names := map[string]string{"rwr": "softmax-weighted", "filtered": "filtered", "dpo": "dpo", "kto": "kto", "awm": "awm", "nft": "nft", "crd": "crd",
		"ddpo": "ddpo", "dpok": "dpok", "grpo": "grpo", "refl": "refl", "draft": "draft"}
	for preset, method := range names {
		arms += preset + ": set: presets." + preset + "\n\"plain " + preset + "\": set: finetune: method: \"" + method + "\"\n"
	}
	root := module(t, map[string]string{"s/study.cue": `package s

import (
	"ablate.internal/schema"
	"ablate.internal/schema/presets"
)

schema.#Study & {seeds: [1], arms: {` + arms + `}}
`})
	s, err := spec.Load(filepath.Join(root, "s"), spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]spec.ID{}
	for _, v := range s.Views {
		ids[v.Arm] = v.Trial.ID()
	}
	for preset := range names {
		if ids[preset] != ids["plain "+preset] {
			t.Errorf("presets.%s is not what its method is by default", preset)
		}
	}
}
