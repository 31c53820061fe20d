package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/experiments/language"
	"ablate/models/finetune"
	"ablate/runner/internal/example"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// choice returns the changes that make a trial use a parameter of fine-tuning.
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

// TestRecipes: every method gets its own published constants, and none of another method.
func TestRecipes(t *testing.T) {
	// The lines of a key that belong to the method and its anchor.
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
		"finetune.learningRate 0.001", "finetune.probes 4", "finetune.schedule \"linear\"", "finetune.steps 400",
		"finetune.trains \"denoiser\"", "finetune.warmup 30"}
	arms := ""
	for method := range want {
		arms += fmt.Sprintf("%q: set: finetune: method: %[1]q\n", method)
	}
	s := example.Study(t, "seeds: [1]\narms: {\n"+arms+"\n}")
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
		// A parameter that is used only with another choice needs that choice.
		set := map[string]string{"reward.ensemble.penalty": "reward: ensemble: members: 2",
			"reward.contrastive.temperature": `reward: normalize: "contrastive"`, "reward.contrastive.prompts": `reward: normalize: "contrastive"`}[a.Path]
		if set == "" {
			set = choice(a.Path)
		}
		// Each is tested twice: with the defaults of the others, and with best of n by a
		// reward.
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
	s := example.Study(t, "seeds: [1, {pretraining: 1, feedback: 2}, {pretraining: 2, feedback: 1}]\narms: {\n\"base\": set: {}\n"+
		"\"oracle\": set: reward: loss: \"oracle\"\n\"none\": set: reward: loss: \"none\"\n\"plain\": set: finetune: method: \"none\"\n"+arms.String()+"\n}")
	digest := func(string) (string, error) { return "", nil }
	whole, err := NewGraph(s, s.Views, Outside{Checkpoint: digest})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Views) < 150 {
		t.Fatalf("only %d views", len(s.Views))
	}
	for _, a := range whole.Actions {
		checkInputs(t, a)
	}
	for _, v := range s.Views {
		alone, err := NewGraph(s, []language.View{v}, Outside{Checkpoint: digest})
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

// checkInputs compares the inputs of an action with those that its stage reads.
func checkInputs(t *testing.T, a *Action) {
	t.Helper()
	d := a.Kind.Def()
	has := map[string]bool{}
	for i, in := range a.Inputs {
		name := a.Reads[i]
		if _, ok := d.Input(name); !ok || has[name] || in.index >= a.index {
			t.Errorf("%s has the input %q: unknown, twice, or laid out after it", a.Label(), name)
		}
		has[name] = true
	}
	for _, in := range d.Inputs {
		if !in.Optional && !has[in.First()] {
			t.Errorf("%s lacks the input %q", a.Label(), in.Name)
		}
	}
}

// graph lays out a study of seeds 1 and 2.
func graph(t *testing.T, arms string) (*language.Study, *Graph) {
	t.Helper()
	s := example.Study(t, "seeds: [1, 2]\narms: {\n"+arms+"\n}")
	g, err := NewGraph(s, s.Views, Outside{Checkpoint: func(string) (string, error) { return "digest", nil }})
	if err != nil {
		t.Fatal(err)
	}
	return s, g
}

// view returns the chain of a view by its name.
func view(t *testing.T, s *language.Study, g *Graph, name string) Chain {
	t.Helper()
	i := slices.IndexFunc(s.Views, func(v language.View) bool { return v.String() == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	return g.Chains[s.Views[i].Trial.ID()]
}

// TestSharing: trials share the actions that differ in nothing, and an action knows who
// needs it, in the order of the study.
func TestSharing(t *testing.T) {
	s, g := graph(t, `"plain": set: finetune: method: "none"
"all data": set: {}
"clip": set: finetune: clip: 2
"lambda": set: reward: lambda: 0.7
"fewer labels": set: feedback: labelled: 500`)
	all := view(t, s, g, "all data@1")
	for _, tc := range []struct {
		other  string
		shared []Role
	}{
		// Without fine-tuning a trial needs no feedback.
		{"plain@1", []Role{Model, AlignmentPrompts, FidelityPrompts}},
		{"clip@1", []Role{Model, Embedder, LabelledPrompts, LabelledImages, LabelledVerdicts, Labels, Reward, LabelledScores, UnlabelledPrompts, UnlabelledImages, UnlabelledScores,
			AssessPrompts, AssessImages, AssessVerdicts, AssessLabels, AssessScores, Assessment,
			AlignmentPrompts, FidelityPrompts, ProbePrompts, BaseProbeImages, BaseProbeVerdicts, BaseProbeScores}},
		{"lambda@1", []Role{Model, Embedder, LabelledPrompts, LabelledImages, LabelledVerdicts, Labels, UnlabelledPrompts, UnlabelledImages,
			AssessPrompts, AssessImages, AssessVerdicts, AssessLabels,
			AlignmentPrompts, FidelityPrompts, ProbePrompts, BaseProbeImages, BaseProbeVerdicts, BaseProbeScores}},
		{"fewer labels@1", []Role{Model, Embedder, UnlabelledPrompts, UnlabelledImages, AssessPrompts, AssessImages, AssessVerdicts, AssessLabels,
			AlignmentPrompts, FidelityPrompts, ProbePrompts, BaseProbeImages, BaseProbeVerdicts, BaseProbeScores}},
		{"all data@2", nil},
	} {
		other := view(t, s, g, tc.other)
		var got []Role
		for _, r := range Roles() {
			if a := all.Action(r); a != nil && a == other.Action(r) {
				got = append(got, r)
			}
		}
		if !slices.Equal(got, tc.shared) {
			t.Errorf("all data@1 and %s share %v, want %v", tc.other, got, tc.shared)
		}
	}
	if got, want := all.Action(Model).Label(), "pretrain plain@1 and 4 more"; got != want {
		t.Errorf("its label is %q, want %q", got, want)
	}
	// The proxy scores by the reward of the base trial, so that it is not the trial's own.
	other := view(t, s, g, "lambda@1")
	if in := other.Action(AlignmentScores).Inputs; in[2] != all.Action(Reward) || in[2] == other.Action(Reward) || in[0] != other.Action(AlignmentImages) {
		t.Errorf("the proxy of lambda@1 reads %v", in)
	}
	if scores := other.Action(LabelledScores); scores.Inputs[slices.Index(scores.Reads, stage.RewardInput)] != other.Action(Reward) {
		t.Error("lambda@1 weights images by another reward than its own")
	}
}

// TestBestOf: best of four draws only what best of two has not drawn, and its first
// candidates are the images of the model without choice.
func TestBestOf(t *testing.T) {
	s, g := graph(t, `"all data": set: {}
"two": set: evaluate: bestOf: 2
"four": set: evaluate: bestOf: 4`)
	one, two, four := view(t, s, g, "all data@1"), view(t, s, g, "two@1"), view(t, s, g, "four@1")
	for _, r := range []Role{AlignmentImages, FidelityImages} {
		two, four := two.Action(r), four.Action(r)
		if len(two.Inputs) != 4 || len(four.Inputs) != 8 || !slices.Equal(two.Inputs, four.Inputs[:4]) || two.Inputs[0] != one.Action(r) {
			t.Errorf("%s: two reads %v, four %v", r, two.Inputs, four.Inputs)
		}
	}
	if one.Action(Finetune) != four.Action(Finetune) {
		t.Error("best of four fine-tunes again")
	}
}

// TestMeasuring: how a model is measured changes no training, and how it samples changes
// only one that draws images on its way.
func TestMeasuring(t *testing.T) {
	s, g := graph(t, `"all data": set: {}
"probes": set: finetune: probeImages: 64
"distance": set: evaluate: distance: {images: 64, batch: 32}
"images": set: evaluate: {images: 64, fidelityImages: 64}
"policy": set: finetune: method: "ddpo"
"its batch": set: {finetune: method: "ddpo", sampler: batch: 32}`)
	trained := view(t, s, g, "all data@1").Action(Finetune)
	for _, name := range []string{"probes@1", "distance@1", "images@1"} {
		if view(t, s, g, name).Action(Finetune) != trained {
			t.Errorf("%s trains again", name)
		}
	}
	if view(t, s, g, "policy@1").Action(Finetune) == view(t, s, g, "its batch@1").Action(Finetune) {
		t.Error("a policy that samples otherwise is not trained again")
	}
}

// TestTurns: actions of an earlier seed have lower turns, and within a seed those of an
// earlier row; a shared action has the turn of the first that needs it.
func TestTurns(t *testing.T) {
	s, g := graph(t, `"plain": set: finetune: method: "none"
"all data": set: {}
"clip": set: finetune: clip: 2`)
	last := int32(-1)
	for _, name := range []string{"plain@1", "all data@1", "clip@1", "plain@2", "all data@2", "clip@2"} {
		turn := view(t, s, g, name).Action(AlignmentVerdicts).Turn
		if turn <= last {
			t.Errorf("%s has turn %d, not after %d", name, turn, last)
		}
		last = turn
	}
	if first, shared := view(t, s, g, "plain@1").Action(AlignmentVerdicts).Turn, view(t, s, g, "clip@1").Action(Reward).Turn; shared > first {
		t.Errorf("the reward of all rows has turn %d, after %d of the first row", shared, first)
	}
}

// TestOneSeed: trials that share a part of their seed share what depends on that part
// alone.
func TestOneSeed(t *testing.T) {
	s := example.Study(t, "seeds: [{pretraining: 1, feedback: 1}, {pretraining: 1, feedback: 2}]\narms: plain: set: {}")
	g, err := NewGraph(s, s.Views, Outside{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := g.Chains[s.Views[0].Trial.ID()], g.Chains[s.Views[1].Trial.ID()]
	for _, r := range Roles() {
		if shared := r == Model || r == Embedder; a.Action(r) != nil && (a.Action(r) == b.Action(r)) != shared {
			t.Errorf("%s is shared: %v, want %v", r, !shared, shared)
		}
	}
}

// TestAdopted: an adopted checkpoint is one action for the model and the embedder,
// whatever the path of the folder is. Its digest is computed once, and an error of that
// is returned.
func TestAdopted(t *testing.T) {
	s := example.Study(t, "seeds: [1]\nbase: model: checkpoint: path: \"one\"\narms: {a: set: {}, b: set: model: checkpoint: path: \"two\", c: set: finetune: clip: 2}")
	asked := map[string]int{}
	g, err := NewGraph(s, s.Views, Outside{Checkpoint: func(dir string) (string, error) { asked[dir]++; return "same", nil }})
	if err != nil {
		t.Fatal(err)
	}
	a, b := g.Chains[s.Views[0].Trial.ID()], g.Chains[s.Views[1].Trial.ID()]
	if a.Action(Model) != a.Action(Embedder) || a.Action(Model) != b.Action(Model) {
		t.Errorf("models and embedders are %v and %v", a, b)
	}
	if n := len(a.Actions()); n != len(a)-1 {
		t.Errorf("%d actions in %d roles", n, len(a))
	}
	for i, action := range a.Actions() {
		for _, in := range action.Inputs {
			if !slices.Contains(a.Actions()[:i], in) {
				t.Errorf("%s comes before what it reads", action.Label())
			}
		}
	}
	if len(asked) != 2 || asked[filepath.Join(s.Dir, "one")] != 1 || asked[filepath.Join(s.Dir, "two")] != 1 {
		t.Errorf("digests of %v", asked)
	}
	gone := errors.New("no such folder")
	if _, err := NewGraph(s, s.Views, Outside{Checkpoint: func(string) (string, error) { return "", gone }}); !errors.Is(err, gone) || !strings.HasPrefix(err.Error(), "a@1: ") {
		t.Errorf("error %v", err)
	}
}

// TestKey: the key has the artifacts in the place of the actions, and the class of the
// backend only where the stage computes on one.
func TestKey(t *testing.T) {
	s, g := graph(t, `plain: set: {}`)
	c := view(t, s, g, "plain@1")
	output := func(a *Action) store.OutputID { return store.OutputID{byte(a.index + 1)} }
	labels := c.Action(Labels)
	k := labels.Key("xla:cpu", output)
	if k.Stage != "label" || k.Backend != "" || k.Revision != labels.Kind.Def().Revision || !slices.Equal(k.Lines, labels.Lines()) ||
		!slices.Equal(k.Inputs, []store.Input{{Name: "prompts", Output: output(c.Action(LabelledPrompts))}, {Name: "verdicts", Output: output(c.Action(LabelledVerdicts))}}) {
		t.Errorf("key %+v", k)
	}
	if k := c.Action(LabelledImages).Key("xla:cpu", output); k.Backend != "xla:cpu" {
		t.Errorf("key %+v", k)
	}
}

// TestNames fixes the structural names of a trial's actions, and so the revision, the
// lines and the inputs of every stage. If one changes, every study computes the stage
// again.
func TestNames(t *testing.T) {
	s, g := graph(t, `"all": set: {}
"labels": set: finetune: {method: "dpo", mix: unlabelled: 0}
"best": set: {finetune: method: "none", evaluate: bestOf: 2}
"adopted": set: model: checkpoint: path: "folder"
"policy": set: finetune: method: "ddpo"`)
	var b strings.Builder
	for _, v := range s.Views {
		if v.Trial.Seed.Feedback != 1 {
			continue
		}
		for _, p := range g.Chains[v.Trial.ID()] {
			fmt.Fprintf(&b, "%s %s %.16s\n", v, p.Role, p.Action.Name)
		}
	}
	const file = "testdata/names.txt"
	if os.Getenv("UPDATE") != "" {
		if err := errors.Join(os.MkdirAll("testdata", 0o777), os.WriteFile(file, []byte(b.String()), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("if that is meant, UPDATE=1 writes %s (-want +got):\n%s", file, d)
	}
}

// TestHead: trials that differ share the beginning of their chains only where it is the same: each is
// laid out as if it were alone.
func TestHead(t *testing.T) {
	s, g := graph(t, `"plain": set: {}
"lora": set: finetune: lora: rank: 2
"policy": set: finetune: method: "ddpo"
"nothing": set: finetune: method: "none"
"annotator": set: feedback: parser: noise: 0.2
"images": set: feedback: labelled: 32
"reward": set: reward: steps: 7
"embedder": set: embedder: steps: 7
"sampler": set: sampler: steps: 7
"oracle": set: reward: loss: "oracle"
"best": set: evaluate: bestOf: 2`)
	for _, v := range s.Views {
		alone, err := NewGraph(s, []language.View{v}, Outside{})
		if err != nil {
			t.Fatal(err)
		}
		id := v.Trial.ID()
		if d := cmp.Diff(names(alone.Chains[id]), names(g.Chains[id])); d != "" {
			t.Errorf("%s (-alone +with others):\n%s", v, d)
		}
	}
}

// TestWalker: a walker returns what Actions does, for one chain after the other.
func TestWalker(t *testing.T) {
	s, g := graph(t, `"plain": set: {}
"best": set: evaluate: bestOf: 2`)
	walk := g.Walker()
	for _, v := range slices.Concat(s.Views, s.Views) {
		c := g.Chains[v.Trial.ID()]
		if want := c.Actions(); len(want) < len(c)/2 || !slices.Equal(want, walk(c)) {
			t.Errorf("%s: %d actions, want %d", v, len(walk(c)), len(want))
		}
	}
}

// names returns the roles and names of a chain's actions.
func names(c Chain) (out []string) {
	for _, p := range c {
		out = append(out, fmt.Sprintf("%s %s", p.Role, p.Action.Name))
	}
	return out
}

// TestWith: a chain is in the order of its roles, whatever the order in which parts are
// added, and the chain before is as it was.
func TestWith(t *testing.T) {
	a, b, c := &Action{Name: Name{1}}, &Action{Name: Name{2}}, &Action{Name: Name{3}}
	before := Chain{}.with(Part{Fidelity, a}, Part{Model, b}, Part{Reward, nil})
	after := before.with(Part{Finetune, c}, Part{Model, c})
	if !slices.Equal(before, Chain{{Model, b}, {Fidelity, a}}) || !slices.Equal(after, Chain{{Model, c}, {Finetune, c}, {Fidelity, a}}) {
		t.Errorf("before %v, after %v", before, after)
	}
	if before.Action(Reward) != nil || !slices.Equal(after.Actions(), []*Action{c, a}) {
		t.Errorf("actions %v", after.Actions())
	}
}

// TestRungs: a fine-tuning that may stop is laid out as segments, each of which goes on with
// the one before. At a rung the proxy scores probe images; nothing else reads these, so that
// no gold decides, and a trial that is cut there is measured by nothing else.
func TestRungs(t *testing.T) {
	s := example.Study(t, `seeds: [1]
arms: {
	plain: set: {}
	a: set: finetune: clip: 2
}
halving: {by: "proxy", at: [100, 200], keep: 0.5}`)
	lay := func(views []language.View) *Graph {
		t.Helper()
		g, err := NewGraph(s, views, Outside{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range g.Actions {
			checkInputs(t, a)
		}
		return g
	}
	whole := lay(s.Views)
	c := view(t, s, whole, "a@1")
	rungs, final := c.All(Rung), c.Action(Finetune)
	var until, from []int
	for _, a := range append(slices.Clone(rungs), final) {
		p := a.Params.(stage.FinetuneParams)
		until, from = append(until, p.Segment.Until), append(from, p.Segment.From)
	}
	if !slices.Equal(until, []int{100, 200, 0}) || !slices.Equal(from, []int{0, 100, 200}) {
		t.Fatalf("segments from %v until %v", from, until)
	}
	before := func(a *Action) *Action {
		if i := slices.Index(a.Reads, stage.SegmentInput); i >= 0 {
			return a.Inputs[i]
		}
		return nil
	}
	if before(rungs[0]) != nil || before(rungs[1]) != rungs[0] || before(final) != rungs[1] {
		t.Error("a segment does not go on with the one before")
	}
	if p := view(t, s, whole, "plain@1"); p.All(Rung) != nil || before(p.Action(Finetune)) != nil {
		t.Error("the reference is laid out in segments")
	}
	var cost float64
	for _, a := range append(slices.Clone(rungs), final) {
		cost += a.Cost
	}
	if one := view(t, s, whole, "plain@1").Action(Finetune).Cost; cost < .99*one || cost > 1.01*one {
		t.Errorf("the segments cost %v, in one piece it is %v", cost, one)
	}

	// Cut at the first rung, the trial has nothing beyond it.
	cut := slices.Clone(s.Views)
	for i := range cut {
		if cut[i].Rungs != nil {
			cut[i].Rungs, cut[i].Cut = cut[i].Rungs[:1], true
		}
	}
	g := lay(cut)
	short := view(t, s, g, "a@1")
	if short.Action(Finetune) != nil || short.Action(AlignmentImages) != nil || short.Action(ProbeVerdicts) != nil || len(short.All(Rung)) != 1 || short.All(Rung)[0].Name != rungs[0].Name {
		t.Errorf("a trial that is cut has %v", short)
	}
	for _, g := range []*Graph{whole, g} {
		for _, images := range view(t, s, g, "a@1").All(RungImages) {
			for _, a := range g.Actions {
				if slices.Contains(a.Inputs, images) && a.Kind != stage.Score {
					t.Errorf("%s reads the images at a rung", a.Label())
				}
			}
		}
	}
	// What decides reads the gold's verdicts nowhere but in the labels of the base trial's
	// reward, which is the proxy, and of the trial's own data.
	known := map[*Action]bool{}
	for _, r := range []Role{LabelledVerdicts, UnlabelledVerdicts} {
		known[short.Action(r)] = true
	}
	for _, a := range (Chain{{RungScores, short.Action(RungScores)}}).Actions() {
		if a.Kind == stage.Oracle || a.Kind == stage.Judge && !known[a] {
			t.Errorf("the decision depends on %s", a.Label())
		}
	}
}
