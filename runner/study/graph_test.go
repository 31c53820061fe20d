package study

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/experiments/language"
	"ablate/models/finetune"
)

// choice is what a parameter of fine-tuning needs to be used.
func choice(path string) string {
	switch path {
	case "finetune.velocity", "finetune.kl":
		return "finetune: anchor: \"" + strings.TrimPrefix(path, "finetune.") + "\""
	case "finetune.fresh.images", "finetune.fresh.group":
		return "finetune: rounds: 2"
	case "finetune.awm.average":
		return "finetune: {method: \"awm\", rounds: 2}"
	case "finetune.lora.targets":
		return "finetune: lora: rank: 2"
	case "finetune.filtered.threshold":
		return "finetune: {method: \"filtered\", filtered: by: \"threshold\"}"
	}
	parts := strings.Split(path, ".")
	if len(parts) == 3 && parts[0] == "finetune" && parts[1] != "mix" && parts[1] != "lora" {
		method := map[string]string{"softmax": "softmax-weighted", "rollout": "ddpo"}[parts[1]]
		if method == "" {
			method = parts[1]
		}
		return "finetune: method: \"" + method + "\""
	}
	return "{}"
}

// TestRecipes: every method is handed its own published constants and nothing of
// another's.
func TestRecipes(t *testing.T) {
	dir := t.TempDir()
	want := map[string]finetune.Recipe{
		"reward-weighted":  {Anchor: "pretraining", Beta: .5},
		"softmax-weighted": {Tau: .2},
		"filtered":         {Keep: "fraction", Top: .1},
		"dpo":              {DPO: finetune.DPOSet{Beta: 5000}},
		"kto":              {KTO: finetune.KTOSet{Beta: 1000, Desirable: 1, Undesirable: 1, Positive: .8}},
		"awm":              {Anchor: "velocity", Weight: 1e-3, AWM: finetune.AWMSet{Weighting: "ghuber", Power: .25, Clip: 1}},
		"nft":              {Anchor: "velocity", Weight: 1e-4, NFT: finetune.NFTSet{Beta: 1, Signal: "score"}},
		"crd":              {Anchor: "velocity", Weight: .1, CRD: finetune.CRDSet{Beta: 1, Group: 8}},
		"ddpo":             {Policy: finetune.PolicySet{Images: 256, Noise: .7, ClipRange: 1e-4}},
		"dpok":             {Anchor: "velocity", Weight: .1, Policy: finetune.PolicySet{Images: 256, Noise: .7, ClipRange: 1e-4, Weight: 1000}},
		"grpo":             {Anchor: "kl", Weight: .04, Policy: finetune.PolicySet{Images: 256, Noise: .7, ClipRange: 1e-4, Group: 24}},
		"refl":             {Direct: finetune.DirectSet{From: .75, Weight: 1e-3, Margin: 2}},
		"draft":            {Direct: finetune.DirectSet{Last: 1, Weight: 1}},
	}
	arms := ""
	for method := range want {
		arms += fmt.Sprintf("%q: set: finetune: method: %[1]q\n", method)
	}
	if err := os.Mkdir(filepath.Join(dir, "cue.mod"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cue.mod/module.cue": "module: \"example.com/m@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"s.cue": "package s\n\nimport \"ablate.internal/schema\"\n\nschema.#Study & {\nseeds: [1]\narms: {\n" + arms + "}\n}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s, err := language.Load(dir, language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Views {
		r := want[v.Arm]
		r.Method, r.Steps, r.Batch, r.LearningRate, r.Warmup, r.Schedule, r.Clip = v.Arm, 400, 64, 1e-3, 30, "linear", 1
		if r.Anchor == "" {
			r.Anchor = "none"
		}
		if finetune.KindOf(v.Arm) == finetune.Offline {
			r.Rounds = 1
		}
		if got := recipe(v.Trial.Content.Config().Finetune); got != r {
			t.Errorf("%s:\n got %+v\nwant %+v", v.Arm, got, r)
		}
	}
}

// TestAlone: which actions trials share does not depend on what else is in the
// study. Every parameter is changed, each in an arm of its own; a trial's
// chain must be the same in the whole study and laid out alone.
func TestAlone(t *testing.T) {
	dir := t.TempDir()
	var arms strings.Builder
	for _, a := range language.Axes() {
		var value string
		switch d := a.Default.(type) {
		case float64:
			value = fmt.Sprint(d/2 + .0625)
		case int64:
			value = fmt.Sprint(2*d + 4)
		case string:
			for _, e := range a.Enum {
				if e != d && e != "none" {
					value = fmt.Sprintf("%q", e)
				}
			}
		}
		if value == "" || a.Path == "finetune.method" || a.Path == "model.shapes.heads" {
			continue
		}
		// What another choice alone uses needs that choice.
		set := map[string]string{"reward.ensemble.penalty": "reward: ensemble: members: 2",
			"reward.contrastive.temperature": `reward: normalize: "contrastive"`, "reward.contrastive.prompts": `reward: normalize: "contrastive"`}[a.Path]
		if set == "" {
			set = choice(a.Path)
		}
		// Twice: with the defaults of the others, and where a reward chooses.
		fmt.Fprintf(&arms, "%q: {set: %s, sweep: %q: [%s]}\n", a.Path, set, a.Path, value)
		if !strings.HasPrefix(a.Path, "finetune") && a.Path != "evaluate.bestOf" && a.Path != "feedback.unlabelled" {
			fmt.Fprintf(&arms, "%q: {set: {finetune: method: \"none\", evaluate: bestOf: 2}, set: %s, sweep: %q: [%s]}\n", a.Path+" chosen", set, a.Path, value)
		}
		for _, part := range []string{"data.", "model.shapes.", "sampler.", "evaluate.images", "evaluate.fidelityImages"} {
			if strings.HasPrefix(a.Path, part) { // and where nothing but the model is evaluated
				fmt.Fprintf(&arms, "%q: {set: finetune: method: \"none\", sweep: %q: [%s]}\n", a.Path+" plain", a.Path, value)
			}
		}
	}
	text := "package s\n\nimport \"ablate.internal/schema\"\n\nschema.#Study & {\nseeds: [1, {pretraining: 1, feedback: 2}, {pretraining: 2, feedback: 1}]\narms: {\n\"base\": set: {}\n" +
		"\"oracle\": set: reward: loss: \"oracle\"\n\"none\": set: reward: loss: \"none\"\n\"plain\": set: finetune: method: \"none\"\n" + arms.String() + "}\n}\n"
	if err := os.MkdirAll(filepath.Join(dir, "cue.mod"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cue.mod/module.cue": "module: \"example.com/m@v0\"\nlanguage: version: \"v0.17.0\"\n", "s.cue": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s, err := language.Load(dir, language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	digest := func(string) (string, error) { return "", nil }
	whole, err := NewGraph(s, s.Views, digest)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Views) < 150 {
		t.Fatalf("only %d views", len(s.Views))
	}
	for _, v := range s.Views {
		alone, err := NewGraph(s, []language.View{v}, digest)
		if err != nil {
			t.Fatal(err)
		}
		id := v.Trial.ID()
		a, b := whole.Chains[id].Actions(), alone.Chains[id].Actions()
		if len(a) != len(b) {
			t.Fatalf("%s: %d actions, alone %d", v, len(a), len(b))
		}
		for i := range a {
			if a[i].Name != b[i].Name {
				t.Errorf("%s: %s is that of another trial", v, a[i].Kind)
			}
		}
	}
}

// TestMetricsOfTheLanguage: what a study may guard is what trials.arrow has, the
// floors left out.
func TestMetricsOfTheLanguage(t *testing.T) {
	var want []string
	for _, m := range Metrics {
		if m.Better != "" {
			want = append(want, m.Name)
		}
	}
	if got := language.Metrics(); !slices.Equal(got, want) {
		t.Errorf("#Metric has %q, trials.arrow %q", got, want)
	}
}
