package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/runner/stage"
)

// choice is what a parameter of fine-tuning needs to be used.
func choice(path string) string {
	switch path {
	case "finetune.prediction", "finetune.kl":
		return "finetune: anchor: \"" + strings.TrimPrefix(path, "finetune.") + "\""
	case "finetune.velocity":
		return "finetune: {method: \"ddpo\", anchor: \"velocity\"}"
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
	if len(parts) == 3 && parts[0] == "finetune" && parts[1] != "mix" && parts[1] != "lora" && parts[1] != "adam" {
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
	// The lines of a key that are the method's and its anchor's own.
	want := map[string][]string{
		"reward-weighted":  {"finetune.anchor \"pretraining\"", "finetune.beta 0.5", "finetune.mix.pretraining 1"},
		"softmax-weighted": {"finetune.softmax.tau 0.2"},
		"filtered":         {"finetune.filtered.by \"fraction\"", "finetune.filtered.fraction 0.1"},
		"dpo":              {"finetune.dpo.beta 5000"},
		"kto":              {"finetune.kto.beta 1000", "finetune.kto.desirable 1", "finetune.kto.positive 0.8", "finetune.kto.undesirable 1"},
		"awm":              {"finetune.anchor \"prediction\"", "finetune.awm.clip 1", "finetune.awm.power 0.25", "finetune.awm.prediction 0.001", "finetune.awm.weighting \"ghuber\""},
		"nft":              {"finetune.anchor \"prediction\"", "finetune.nft.beta 1", "finetune.nft.prediction 0.0001", "finetune.nft.signal \"score\""},
		"crd":              {"finetune.anchor \"prediction\"", "finetune.crd.beta 1", "finetune.crd.group 8", "finetune.crd.prediction 0.1"},
		"ddpo":             {"finetune.ddpo.clip 0.0001", "finetune.ddpo.updates 2", "finetune.rollout.images 256", "finetune.rollout.noise 0.7"},
		"dpok": {"finetune.anchor \"velocity\"", "finetune.dpok.clip 0.0001", "finetune.dpok.updates 5", "finetune.dpok.velocity 0.1", "finetune.dpok.weight 1000",
			"finetune.rollout.images 256", "finetune.rollout.noise 0.7"},
		"grpo": {"finetune.anchor \"kl\"", "finetune.grpo.clip 0.0001", "finetune.grpo.group 24", "finetune.grpo.kl 0.04", "finetune.grpo.updates 2",
			"finetune.rollout.images 256", "finetune.rollout.noise 0.7"},
		"refl":  {"finetune.refl.from 0.75", "finetune.refl.margin 2", "finetune.refl.weight 0.001"},
		"draft": {"finetune.draft.last 1"},
	}
	shared := []string{"finetune.adam.beta1 0.9", "finetune.adam.beta2 0.99", "finetune.adam.epsilon 1e-08", "finetune.batch 64", "finetune.clip 1",
		"finetune.learningRate 0.001", "finetune.probeImages 256", "finetune.probes 4", "finetune.schedule \"linear\"", "finetune.steps 400",
		"finetune.trains \"denoiser\"", "finetune.warmup 30"}
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
		p, err := fill[stage.FinetuneParams](v.Trial)
		if err != nil {
			t.Fatal(err)
		}
		lines := append(slices.Clone(shared), want[v.Arm]...)
		lines = append(lines, fmt.Sprintf("finetune.method %q", v.Arm))
		if !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, "finetune.anchor ") }) {
			lines = append(lines, "finetune.anchor \"none\"")
		}
		if !finetune.DrawsItself(p.Recipe.Method.Method) {
			lines = append(lines, "finetune.mix.labelled 1", "finetune.mix.unlabelled 1", "finetune.rounds 1")
		}
		slices.Sort(lines)
		got := slices.DeleteFunc(stage.Lines(p), func(s string) bool { return !strings.HasPrefix(s, "finetune.") })
		if d := cmp.Diff(lines, got); d != "" {
			t.Errorf("%s: mismatch (-want +got):\n%s", v.Arm, d)
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
