package study

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/experiments/spec"
)

// TestParts: what identifies an action while a study is laid out says as much as
// its lines. Every parameter is changed, each in an arm of its own; a trial's
// chain must be the same in the whole study and laid out alone.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	var arms strings.Builder
	for _, a := range spec.Axes() {
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
			set = "{}"
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
	s, err := spec.Load(dir, spec.Options{})
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
		alone, err := NewGraph(s, []spec.View{v}, digest)
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
// floors left out, and what it has of a trial's reward and not of its model.
func TestMetricsOfTheLanguage(t *testing.T) {
	var want []string
	for _, m := range Metrics {
		if m.Better != "" && !strings.HasPrefix(m.Name, "reward.") && !strings.HasPrefix(m.Name, "embedder.") {
			want = append(want, m.Name)
		}
	}
	if got := spec.Metrics(); !slices.Equal(got, want) {
		t.Errorf("#Metric has %q, trials.arrow %q", got, want)
	}
}
