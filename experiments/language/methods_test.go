package language_test

import (
	"path/filepath"
	"strings"
	"testing"

	"ablate/experiments/language"
)

// TestMethods checks that two names of a method give the same trial, that a method uses its own
// constants and no others, and that a method that trains on labels alone needs no reward.
func TestMethods(t *testing.T) {
	s, err := language.Load(study(t, `seeds: [1]
arms: {
	"a": {}
	"b": set: finetune: anchor: "pretraining"
	"c": set: finetune: method: "nft"
	"d": set: finetune: {method: "nft", anchor: "prediction"}
	"e": set: finetune: {method: "nft", anchor: "none"}
	"f": set: finetune: {method: "dpo", mix: unlabelled: 0}
	"g": set: {finetune: {method: "dpo", mix: unlabelled: 0}, reward: loss: "oracle"}
	"h": set: finetune: method: "grpo"
	"i": set: finetune: {method: "awm", awm: weighting: "t"}
	"j": set: finetune: {method: "awm", rounds: 2}
	"m": set: {finetune: method: "filtered", reward: loss: "none"}
	"n": set: finetune: {method: "dpo", anchor: "pretraining", mix: {labelled: 0, unlabelled: 0}}
}`), language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]language.Content{}
	ids := map[string]language.ID{}
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
		{"a", "finetune.rounds", int64(1)}, {"a", "finetune.fresh.images", nil}, {"a", "finetune.awm.average", nil}, {"a", "finetune.lora.targets", nil}, {"a", "finetune.rollout.images", nil},
		{"c", "finetune.anchor", "prediction"}, {"c", "finetune.nft.prediction", 1e-4}, {"c", "finetune.prediction", nil}, {"c", "finetune.velocity", nil}, {"c", "finetune.beta", nil},
		{"c", "finetune.mix.pretraining", nil}, {"e", "finetune.nft.prediction", nil},
		{"f", "reward.loss", nil}, {"f", "feedback.parser.noise", .08}, {"f", "feedback.unlabelled", nil}, {"f", "finetune.dpo.beta", 5000.},
		{"g", "reward.loss", "oracle"}, {"g", "feedback.parser.noise", nil},
		{"h", "finetune.anchor", "kl"}, {"h", "finetune.grpo.kl", .04}, {"h", "finetune.kl", nil}, {"h", "finetune.mix.labelled", nil},
		{"h", "feedback.labelled", int64(1000)}, {"h", "feedback.unlabelled", nil}, {"h", "reward.loss", "mse+classification"}, {"h", "finetune.rollout.noise", .7},
		{"j", "finetune.awm.average", 1.}, {"j", "finetune.fresh.group", int64(8)},
		{"m", "finetune.filtered.by", nil}, {"m", "finetune.filtered.fraction", nil}, {"n", "finetune.dpo.beta", nil}, {"n", "finetune.beta", .5},
		{"i", "finetune.awm.power", nil}, {"i", "finetune.awm.prediction", 1e-3},
	} {
		if got, _ := of[tc.arm].Value(tc.path); got != tc.want {
			t.Errorf("arm %s: %s is %v, want %v", tc.arm, tc.path, got, tc.want)
		}
	}
}

// TestPublished checks that the constants of a method's preset are its defaults, except those
// of the optimizer, which are those of the publication's model.
func TestPublished(t *testing.T) {
	arms := ""
	names := map[string]string{"rwr": "softmax-weighted", "filtered": "filtered", "dpo": "dpo", "kto": "kto", "awm": "awm", "nft": "nft", "crd": "crd",
		"ddpo": "ddpo", "dpok": "dpok", "grpo": "grpo", "refl": "refl", "draft": "draft"}
	for preset, method := range names {
		arms += preset + ": set: presets." + preset + "\n\"plain " + preset + "\": set: finetune: {method: \"" + method + "\", adam: presets." + preset + ".finetune.adam}\n"
	}
	root := module(t, map[string]string{"s/study.cue": `package s

import (
	"ablate.internal/schema"
	"ablate.internal/schema/presets"
)

schema.#Study & {seeds: [1], arms: {` + arms + `}}
`})
	s, err := language.Load(filepath.Join(root, "s"), language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]language.ID{}
	for _, v := range s.Views {
		ids[v.Arm] = v.Trial.ID()
	}
	for preset := range names {
		if ids[preset] != ids["plain "+preset] {
			t.Errorf("presets.%s is not what its method is by default", preset)
		}
	}
}

// TestMethodErrors checks that a method without a signal to train on, and groups larger than
// the number of draws, are errors before anything runs.
func TestMethodErrors(t *testing.T) {
	const pairs = `takes a score of at least a threshold for good, and the scores of a "bradley-terry" reward, which learns from pairs, have no threshold (set reward.loss to "mse" or "cross-entropy", or learn from the labelled images alone)`
	for _, tc := range []struct{ set, want string }{
		{`{finetune: method: "kto", reward: loss: "bradley-terry"}`, `reward.loss: "kto" ` + pairs},
		{`{finetune: {method: "dpo", mix: unlabelled: 0, rounds: 2}, reward: loss: "bradley-terry"}`, `reward.loss: "dpo" ` + pairs},
		{`{finetune: {method: "nft", nft: signal: "label"}, reward: loss: "bradley-terry"}`, `reward.loss: "nft" ` + pairs},
		{`{finetune: {method: "filtered", filtered: by: "threshold", mix: unlabelled: 0}, reward: loss: "bradley-terry"}`, `reward.loss: "filtered" ` + pairs},
		{`{finetune: {method: "nft", rounds: 2}, reward: loss: "bradley-terry"}`, ""},
		{`{finetune: {method: "filtered", rounds: 2}, reward: loss: "bradley-terry"}`, ""},
		{`finetune: {method: "crd", anchor: "pretraining", batch: 4, mix: {labelled: 0, unlabelled: 0}}`, ""},
		{`finetune: {method: "dpo", anchor: "pretraining", batch: 63, mix: {labelled: 0, unlabelled: 0}}`, ""},
		{`finetune: {method: "awm", rounds: 2, fresh: group: 1}`, `finetune.fresh.group: "awm" compares images of one prompt, and each of a round has its own (set finetune.fresh.group to at least 2)`},
		{`finetune: {method: "dpo", batch: 63}`, `finetune.batch: "dpo" learns from pairs, and a batch of 63 is odd (set finetune.batch to an even number)`},
		{`finetune: {method: "crd", crd: group: 65}`, `finetune.crd.group: a batch of 64 images has no group of 65 (a group is at most finetune.batch)`},
		{`finetune: {method: "grpo", rollout: images: 16}`, `finetune.rollout.images: a draw of 16 images has no group of 24 (a group is at most finetune.rollout.images)`},
		{`finetune: {method: "nft", rounds: 2, fresh: images: 4}`, `finetune.fresh.images: a round of 4 images has no group of 8 (a group is at most finetune.fresh.images)`},
	} {
		_, err := language.Load(study(t, "seeds: [1]\narms: a: set: "+tc.set), language.Options{})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.set, err, tc.want)
		}
	}
}
