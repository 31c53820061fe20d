package language_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ablate/experiments/language"
)

// module writes a CUE module with one study into a temporary folder.
func module(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("cue.mod/module.cue", "module: \"example.com/mine@v0\"\nlanguage: version: \"v0.17.0\"\n")
	for name, text := range files {
		write(name, text)
	}
	return root
}

const head = "package s\n\nimport \"ablate.internal/schema\"\n\nschema.#Study & {\n"

func study(t testing.TB, body string) string {
	return filepath.Join(module(t, map[string]string{"s/study.cue": head + body + "\n}\n"}), "s")
}

func load(t testing.TB, body string, set ...string) *language.Study {
	t.Helper()
	s, err := language.Load(study(t, body), language.Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func views(s *language.Study) []string {
	var out []string
	for _, v := range s.Views {
		out = append(out, v.String())
	}
	return out
}

func TestCommittedStudies(t *testing.T) {
	s, err := language.Load("../quickstart", language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pretrained@1", "pretrained@2", "best of 4@1", "best of 4@2", "no unlabelled@1", "no unlabelled@2",
		"no pretraining@1", "no pretraining@2", "all data@1", "all data@2", "weights all one@1", "weights all one@2"}
	if d := cmp.Diff(want, views(s)); d != "" {
		t.Errorf("quickstart: mismatch (-want +got):\n%s", d)
	}
	if s.Name != "quickstart" || s.Reference != "all data" || len(s.Trials()) != 12 {
		t.Errorf("quickstart: name %q, reference %q, %d trials", s.Name, s.Reference, len(s.Trials()))
	}
	g, err := language.Load("../gate/study.cue", language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Views) != 40 || g.Seeds[1].String() != "1.2" || g.Name != "gate" {
		t.Errorf("gate: %d views, second seed %s, name %s", len(g.Views), g.Seeds[1], g.Name)
	}
}

func TestMeaning(t *testing.T) {
	s := load(t, `
	seeds: [3, {pretraining: 1, feedback: 2}]
	base: evaluate: images: 64
	arms: {
		"all": set: {}
		"beta": sweep: "finetune.beta": [0, 0.5, 1e0]
		"no pretraining": set: finetune: mix: pretraining: 0
		"none": set: finetune: method: "none"
		"no images": set: feedback: unlabelled: 0
		"no weight": set: finetune: mix: unlabelled: 0
		"grid": sweep: {"finetune.method": ["none", "reward-weighted"], "finetune.beta": [0.1, 0.2]}
	}`)
	byName := map[string]language.View{}
	for _, v := range s.Views {
		byName[v.String()] = v
	}
	same := func(a, b string) {
		t.Helper()
		if _, ok := byName[a]; !ok {
			t.Fatalf("there is no view %s among %v", a, views(s))
		}
		if byName[a].Trial.ID() != byName[b].Trial.ID() {
			t.Errorf("%s and %s are two trials", a, b)
		}
	}
	same("all@3", "beta[finetune.beta=0.5]@3")
	same("no pretraining@1.2", "beta[finetune.beta=0]@1.2")
	same("no images@3", "no weight@3")
	same("none@3", "grid[finetune.method=none]@3")
	if byName["all@3"].Trial.ID() == byName["all@1.2"].Trial.ID() {
		t.Error("two seeds are one trial")
	}
	if s.Collapsed != 1 {
		t.Errorf("%d points collapsed, want 1", s.Collapsed)
	}
	none := byName["none@3"].Trial.Content
	for _, p := range []string{"finetune.beta", "reward.loss", "feedback.labelled", "embedder.steps"} {
		if v, ok := none.Value(p); ok {
			t.Errorf("method none still uses %s = %v", p, v)
		}
	}
	if v, _ := none.Value("evaluate.images"); v != int64(64) {
		t.Errorf("evaluate.images is %v, want that of the base", v)
	}
}

// TestIDs pins ids of trials. Results are stored by id, so an id may only change with the
// meaning of the trial, and schema.Version with it.
func TestIDs(t *testing.T) {
	var b strings.Builder
	add := func(s *language.Study) {
		for _, v := range s.Views {
			fmt.Fprintf(&b, "%s %s\n", v.Trial.ID().Short(), v)
		}
	}
	for _, dir := range []string{"../quickstart", "../gate"} {
		s, err := language.Load(dir, language.Options{})
		if err != nil {
			t.Fatal(err)
		}
		add(s)
	}
	add(load(t, `
	seeds: [3, {pretraining: 1, feedback: 2}]
	base: evaluate: images: 64
	arms: {
		"all": set: {}
		"beta": sweep: "finetune.beta": [0, 0.5, 1e0]
		"none": set: finetune: method: "none"
		"no images": set: feedback: unlabelled: 0
		"checkpoint": set: model: checkpoint: path: "c"
		"checkpoint none": set: {model: checkpoint: path: "c", finetune: method: "none"}
		"mse": set: reward: loss: "mse"
		"grid": sweep: {"finetune.method": ["none", "reward-weighted"], "finetune.beta": [0.1, 0.2]}
	}`))
	golden(t, "testdata/ids.txt", b.String())
}

// golden compares a text with a file, or writes the file with UPDATE=1.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(got), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestZip(t *testing.T) {
	s := load(t, `
	seeds: [1]
	arms: a: {
		sweep: "finetune.beta": [0, 1]
		zip: {"finetune.steps": [200, 400], "finetune.learningRate": [2e-3, 1e-3]}
	}`)
	want := []string{
		"a[finetune.beta=0,finetune.steps=200,finetune.learningRate=0.002]@1",
		"a[finetune.beta=0,finetune.steps=400,finetune.learningRate=0.001]@1",
		"a[finetune.beta=1,finetune.steps=200,finetune.learningRate=0.002]@1",
		"a[finetune.beta=1,finetune.steps=400,finetune.learningRate=0.001]@1",
	}
	if d := cmp.Diff(want, views(s)); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

func TestWhere(t *testing.T) {
	s := load(t, `
	seeds: [1]
	arms: a: {
		sweep: {"finetune.beta": [0, 0.5], "finetune.learningRate": [3e-4, 1e-3, 3e-3]}
		where: finetune: {beta: number, if beta == 0 {learningRate: <=1e-3}}
	}
	arms: b: {
		sweep: {"finetune.beta": [0, 1], "finetune.steps": [1, 2]}
		where: finetune: beta: 1.0  // 1 and 1.0 are the same value
	}`)
	want := []string{
		"a[finetune.beta=0,finetune.learningRate=0.0003]@1", "a[finetune.beta=0,finetune.learningRate=0.001]@1",
		"a[finetune.beta=0.5,finetune.learningRate=0.0003]@1", "a[finetune.beta=0.5,finetune.learningRate=0.001]@1",
		"a[finetune.beta=0.5,finetune.learningRate=0.003]@1",
		"b[finetune.beta=1,finetune.steps=1]@1", "b[finetune.beta=1,finetune.steps=2]@1",
	}
	if d := cmp.Diff(want, views(s)); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	var out []string
	for _, e := range s.Excluded {
		out = append(out, e.String())
	}
	want = []string{"a[finetune.beta=0,finetune.learningRate=0.003]", "b[finetune.beta=0,finetune.steps=1]", "b[finetune.beta=0,finetune.steps=2]"}
	if d := cmp.Diff(want, out); d != "" {
		t.Errorf("excluded: mismatch (-want +got):\n%s", d)
	}
}

// TestConfounded checks that an arm that differs from the reference in two factors is reported
// with them, and that values that follow from another choice are no factors.
func TestConfounded(t *testing.T) {
	s := load(t, `
	seeds: [1]
	arms: {
		reference: set: {}
		one: set: finetune: steps: 7
		two: set: finetune: {steps: 7, batch: 8}
		swept: {set: finetune: batch: 8, sweep: "finetune.steps": [7, 400]}
		follows: set: finetune: mix: pretraining: 0 // makes beta 0
		zero: sweep: "finetune.beta": [0, 1]
		untrained: set: finetune: method: "none"
		best: set: {finetune: method: "none", evaluate: bestOf: 4}
		anchored: set: finetune: {method: "dpok", steps: 400} // its anchor, and parameters of its own
	}
	compare: reference: "reference"`)
	want := []language.Confounded{
		{"two", []string{"finetune.batch", "finetune.steps"}},
		{"swept", []string{"finetune.batch", "finetune.steps"}},
		{"best", []string{"evaluate.bestOf", "finetune.method"}},
	}
	if d := cmp.Diff(want, s.Confounded); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	// Against a reference that trains nothing, the method is the only factor.
	s = load(t, `
	seeds: [1]
	arms: {
		untrained: set: finetune: method: "none"
		a: set: finetune: {steps: 7, batch: 8}
	}`)
	if s.Confounded != nil {
		t.Errorf("against the untrained: %v", s.Confounded)
	}
}

// TestWhereLooks checks where in several places and with references to other fields: every axis
// that it depends on counts.
func TestWhereLooks(t *testing.T) {
	s := load(t, `
	seeds: [1]
	_cheap: finetune: steps: <=200
	arms: a: {
		sweep: {"finetune.beta": [0, 1], "finetune.steps": [100, 200, 400], "reward.lambda": [0, 1]}
		where: finetune: beta: >0
		where: _cheap
		where: reward: {lambda: number, if lambda == 0 {steps: >1000}}
	}
	arms: b: {
		sweep: {"finetune.beta": [0, 1], "finetune.steps": [100, 200]}
		where: {finetune: _, if finetune.beta == 0 {finetune: steps: 100}}
	}`)
	want := []string{
		"a[finetune.beta=1,finetune.steps=100,reward.lambda=1]@1", "a[finetune.beta=1,finetune.steps=200,reward.lambda=1]@1",
		"b[finetune.beta=0,finetune.steps=100]@1", "b[finetune.beta=1,finetune.steps=100]@1", "b[finetune.beta=1,finetune.steps=200]@1",
	}
	if d := cmp.Diff(want, views(s)); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

func TestNested(t *testing.T) {
	s := load(t, `
	seeds: [1, 2, 3]
	arms: {
		outer: {
			set: reward: lambda: 1
			sweep: "finetune.beta": [1, 2]
			seeds: [1, 2]
			arms: {
				fast: {set: finetune: steps: 100, sweep: "finetune.learningRate": [1e-3, 2e-3]}
				mse: {set: reward: loss: "mse", seeds: [2]}
				deep: arms: deeper: set: finetune: steps: 7
			}
		}
		flat: set: {}
	}
	compare: reference: "outer/fast"`)
	want := []string{
		"outer/fast[finetune.beta=1,finetune.learningRate=0.001]@1", "outer/fast[finetune.beta=1,finetune.learningRate=0.001]@2",
		"outer/fast[finetune.beta=1,finetune.learningRate=0.002]@1", "outer/fast[finetune.beta=1,finetune.learningRate=0.002]@2",
		"outer/fast[finetune.beta=2,finetune.learningRate=0.001]@1", "outer/fast[finetune.beta=2,finetune.learningRate=0.001]@2",
		"outer/fast[finetune.beta=2,finetune.learningRate=0.002]@1", "outer/fast[finetune.beta=2,finetune.learningRate=0.002]@2",
		"outer/mse[finetune.beta=1]@2", "outer/mse[finetune.beta=2]@2",
		"outer/deep/deeper[finetune.beta=1]@1", "outer/deep/deeper[finetune.beta=1]@2",
		"outer/deep/deeper[finetune.beta=2]@1", "outer/deep/deeper[finetune.beta=2]@2",
		"flat@1", "flat@2", "flat@3",
	}
	if d := cmp.Diff(want, views(s)); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	c := s.Views[0].Trial.Content
	if c.Real("reward.lambda") != 1 || c.Whole("finetune.steps") != 100 || c.Real("finetune.learningRate") != 1e-3 {
		t.Errorf("an inner arm does not begin with the outer one: %q", c.Lines())
	}
}

// TestReferences checks that a study may compute with its own values and those of the schema.
func TestReferences(t *testing.T) {
	s := load(t, `
	let rate = 1e-3
	_steps: 2 * schema.#Trial.finetune.steps
	seeds: [for i in [1, 2] {i}]
	base: finetune: {learningRate: 2 * rate, steps: _steps}
	arms: a: sweep: "finetune.beta": [for i in [1, 2] {i / 4}]`)
	c := s.Views[0].Trial.Content
	if c.Real("finetune.learningRate") != 2e-3 || c.Whole("finetune.steps") != 800 || c.Real("finetune.beta") != 0.25 || len(s.Views) != 4 {
		t.Errorf("%d views, the first with %q", len(s.Views), c.Lines())
	}
}

func TestPresets(t *testing.T) {
	root := module(t, map[string]string{"s/study.cue": `package s

import (
	"ablate.internal/schema"
	"ablate.internal/schema/presets"
)

schema.#Study & {
	seeds: [1]
	base: presets.lee2023 & {feedback: labelled: 500}
	arms: {a: set: presets.noReward, b: set: presets.oracle, c: set: {}}
}
`})
	s, err := language.Load(filepath.Join(root, "s"), language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Views[2].Trial.Content
	if c.Real("reward.temperature") != 2 || c.Whole("feedback.labelled") != 500 || s.Views[0].Trial.Content.Name("reward.loss") != "none" {
		t.Errorf("%q", c.Lines())
	}
}

func TestVendored(t *testing.T) {
	root := module(t, map[string]string{
		"cue.mod/pkg/ablate.internal/schema/old.cue": "package schema\n\n#Study: {gone: 1}\n",
		"s/study.cue": head + "seeds: [1]\n}\n",
	})
	s, err := language.Load(filepath.Join(root, "s"), language.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "differs") {
		t.Errorf("notes %q of a module whose schema is another", s.Notes)
	}
}

func TestOverride(t *testing.T) {
	s := load(t, `
	seeds: [1]
	base: {model: shapes: layers: 2, finetune: mix: labelled: 2}
	arms: {
		a: set: model: checkpoint: path: "c"
		b: set: finetune: mix: labelled: 3
	}`)
	a, b := s.Views[0].Trial.Content, s.Views[1].Trial.Content
	if _, shapes := a.Value("model.shapes.layers"); shapes || a.Name("model.checkpoint.path") != "c" {
		t.Errorf("an adopted checkpoint leaves %q", a.Lines())
	}
	if b.Real("finetune.mix.labelled") != 3 || b.Whole("model.shapes.layers") != 2 {
		t.Errorf("set replaces: %q", b.Lines())
	}
}

func TestSet(t *testing.T) {
	body := "seeds: [1]\nbase: finetune: beta: 0.5\narms: {a: set: {}, b: set: finetune: beta: 1}"
	plain, changed := load(t, body), load(t, body, "finetune.beta=0.25", "reward.loss=mse")
	if v, _ := changed.Views[0].Trial.Content.Value("finetune.beta"); v != 0.25 {
		t.Errorf("arm a has beta %v, want that of --set", v)
	}
	if v, _ := changed.Views[1].Trial.Content.Value("finetune.beta"); v != 1. {
		t.Errorf("arm b has beta %v, want its own", v)
	}
	c := load(t, body, `model={checkpoint: path: "x"}`, "finetune.mix={labelled: 2}").Views[0].Trial.Content
	if c.Name("model.checkpoint.path") != "x" || c.Real("finetune.mix.labelled") != 2 {
		t.Errorf("a group in --set gives %q", c.Lines())
	}
	_, err := language.Load(study(t, body), language.Options{Set: []string{"finetune={beta: -1}", "finetune.mix=3"}})
	if err == nil || !strings.Contains(err.Error(), "--set finetune={beta: -1}: finetune.beta: -1 is out of range") || !strings.Contains(err.Error(), "--set finetune.mix=3: finetune.mix: 3 is not a struct") {
		t.Errorf("mistakes in --set: %v", err)
	}
	if name, ok := strings.CutPrefix(changed.Name, plain.Name+"@"); !ok || len(name) != 8 {
		t.Errorf("its name is %q, want %q and a hash", changed.Name, plain.Name)
	}
}

// TestMistakes pins messages: position, path, what is wrong, what is allowed, and the nearest
// name. The path of the temporary folder is removed.
func TestMistakes(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"field", "seeds: [1]\nbase: finetune: lerningRate: 3", "study.cue:7:17: base.finetune.lerningRate: a trial has no such field (did you mean learningRate?)"},
		{"top", "seeds: [1]\nseads: [1]", "study.cue:7:1: seads: a study has no such field (did you mean seeds?)"},
		{"enum", "seeds: [1]\nbase: reward: loss: \"mes\"", "study.cue:7:21: base.reward.loss: \"mes\" is not one of \"none\", \"oracle\", \"mse\", \"mse+classification\", \"cross-entropy\", \"bradley-terry\" (did you mean \"mse\"?)"},
		{"a value of later", "seeds: [1]\nbase: finetune: method: \"ppo\"", "study.cue:7:25: base.finetune.method: \"ppo\" is not one of \"none\", \"reward-weighted\", \"softmax-weighted\", \"filtered\", \"dpo\", \"kto\", \"awm\", \"nft\", \"crd\", \"ddpo\", \"dpok\", \"grpo\", \"refl\", \"draft\" (did you mean \"dpo\"?)"},
		{"type", "seeds: [1]\nbase: finetune: beta: \"x\"", "study.cue:7:23: base.finetune.beta: \"x\" is a string; must be a number >=0"},
		{"range", "seeds: [1]\nbase: finetune: beta: -1", "study.cue:7:23: base.finetune.beta: -1 is out of range; must be a number >=0"},
		{"whole", "seeds: [1]\nbase: finetune: steps: 1.5", "study.cue:7:24: base.finetune.steps: 1.5 is not a whole number; must be a whole number >=1 (write it without a point or exponent)"},
		{"axis", "seeds: [1]\narms: a: sweep: \"finetune.beto\": [1]", "study.cue:7:17: arms.a.sweep.\"finetune.beto\": unknown axis (did you mean finetune.beta?)"},
		{"empty sweep", "seeds: [1]\narms: a: sweep: \"finetune.beta\": []", "study.cue:7:34: arms.a.sweep.\"finetune.beta\": the list is empty (give it a value, or leave it out)"},
		{"where excludes all", "seeds: [1]\narms: a: where: finetune: beta: 1", "study.cue:7:17: arms.a.where: it excludes all of the arm's 1 point (loosen it, or leave the arm out)"},
		{"where names nothing", "seeds: [1]\narms: a: {sweep: \"finetune.beta\": [0, 1], where: finetune: bata: 1}", "study.cue:7:60: arms.a.where.finetune.bata: a trial has no such field (did you mean beta?)"},
		{"where names nothing at a point", "seeds: [1]\narms: a: {sweep: \"finetune.beta\": [0, 1], where: finetune: {beta: number, if beta == 0 {learnignRate: 1}}}", "study.cue:7:89: arms.a.where.finetune.learnignRate: a trial has no such field (did you mean learningRate?)"},
		{"where no struct", "seeds: [1]\narms: a: {sweep: \"finetune.beta\": [0, 1], where: 3}", "study.cue:7:50: arms.a.where: 3 is not a struct (where is a partial trial, as in where: finetune: beta: >0)"},
		{"zip of one", "seeds: [1]\narms: a: zip: \"finetune.beta\": [1]", "study.cue:7:15: arms.a.zip: has only one axis (name two or more, or write sweep)"},
		{"uneven zip", "seeds: [1]\narms: a: zip: {\"finetune.steps\": [200, 400], \"finetune.learningRate\": [2e-3]}", "study.cue:7:71: arms.a.zip.\"finetune.learningRate\": has 1 value, and finetune.steps has 2 (coupled axes change together: give both the same number of values)"},
		{"zip step twice", "seeds: [1]\narms: a: zip: {\"finetune.steps\": [200, 200], \"finetune.learningRate\": [1e-3, 0.001]}", "study.cue:7:40: arms.a.zip.\"finetune.steps\"[1]: this step is repeated in the zip (leave one of them out)"},
		{"zip and sweep", "seeds: [1]\narms: a: {sweep: \"finetune.steps\": [1, 2], zip: {\"finetune.steps\": [200, 400], \"finetune.learningRate\": [2e-3, 1e-3]}}", "study.cue:7:68: arms.a.zip.\"finetune.steps\": it is swept by arms.a.sweep.\"finetune.steps\" already (keep one of the two)"},
		{"value twice", "seeds: [1]\narms: a: sweep: \"finetune.beta\": [1, 2, 1.0]", "study.cue:7:41: arms.a.sweep.\"finetune.beta\"[2]: 1 is repeated in the sweep (leave one of them out)"},
		{"sweep no list", "seeds: [1]\narms: a: sweep: \"finetune.beta\": 0.5", "study.cue:7:34: arms.a.sweep.\"finetune.beta\": 0.5 is not a list of values (write \"finetune.beta\": [VALUE, …])"},
		{"sweep of a group", "seeds: [1]\narms: a: sweep: \"finetune.mix\": [1]", "study.cue:7:17: arms.a.sweep.\"finetune.mix\": unknown axis (it is a group: name one of its scalars, such as finetune.mix.labelled)"},
		{"set and sweep", "seeds: [1]\narms: a: {set: finetune: beta: 1, sweep: \"finetune.beta\": [1, 2]}", "study.cue:7:32: arms.a.set.finetune.beta: the arm sets it and sweeps it (keep one of the two)"},
		{"inner sweeps the outer's", "seeds: [1]\narms: a: {sweep: \"finetune.beta\": [1, 2], arms: b: sweep: \"finetune.beta\": [3]}", "study.cue:7:76: arms.a.arms.b.sweep.\"finetune.beta\": it is swept by arms.a.sweep.\"finetune.beta\" already (keep one of the two)"},
		{"inner sets the outer's axis", "seeds: [1]\narms: a: {sweep: \"finetune.beta\": [1, 2], arms: b: set: finetune: beta: 3}", "study.cue:7:73: arms.a.arms.b.set.finetune.beta: it is swept by arms.a.sweep.\"finetune.beta\" already (keep one of the two)"},
		{"unused in every inner arm", "seeds: [1]\narms: a: {set: finetune: beta: 3, arms: {b: set: finetune: method: \"none\", c: set: finetune: mix: pretraining: 0}}", "study.cue:7:32: arms.a.set.finetune.beta: the arm's trials do not use it: finetune.mix.pretraining is 0 (leave it out, or change what makes it unused)"},
		{"own seed", "seeds: [1]\narms: a: seeds: [2]", "study.cue:7:17: arms.a.seeds[0]: seed 2 is not a seed of the study (name some of the study's seeds)"},
		{"no inner arm", "seeds: [1]\narms: a: arms: {}", "study.cue:7:16: arms.a.arms: it is empty (leave arms out to run this arm alone)"},
		{"no arm", "seeds: [1]\narms: {}", "study.cue:7:7: arms: it is empty (leave arms out to run the base alone)"},
		{"arm's field", "seeds: [1]\narms: a: sets: finetune: beta: 1", "study.cue:7:10: arms.a.sets: an arm has no such field (did you mean set?)"},
		{"arm is not a struct", "seeds: [1]\narms: a: 3", "study.cue:7:10: arms.a: 3 is not a struct; must be an arm, with set and sweep"},
		{"unused", "seeds: [1]\narms: a: set: {reward: {loss: \"mse\", lambda: 1}}", "study.cue:7:46: arms.a.set.reward.lambda: the arm's trials do not use it: reward.loss is \"mse\" (leave it out, or change what makes it unused)"},
		{"unused axis", "seeds: [1]\narms: a: {set: finetune: method: \"none\", sweep: \"finetune.beta\": [1, 2]}", "study.cue:7:66: arms.a.sweep.\"finetune.beta\": the arm's trials do not use it: finetune.method is \"none\" (leave it out, or change what makes it unused)"},
		{"nothing to learn from", "seeds: [1]\narms: a: set: finetune: mix: {labelled: 0, unlabelled: 0, pretraining: 0}", "study.cue:7:41: finetune.mix.labelled: nothing to fine-tune on: labelled, unlabelled and pretraining data are all left out (give one a weight and images, or set finetune.method to \"none\")"},
		{"best of none", "seeds: [1]\narms: a: set: {evaluate: bestOf: 2, reward: loss: \"none\"}", "study.cue:7:34: evaluate.bestOf: the best of several is chosen by the trial's own reward, and reward.loss is \"none\" (set evaluate.bestOf to 1 or learn a reward)"},
		{"arm's name", "seeds: [1]\narms: \"a/b\": set: {}", "study.cue:7:7: arms.\"a/b\": \"a/b\" is not a valid name of an arm (a name contains none of [ ] @ / , and neither begins nor ends with a space)"},
		{"seeds twice", "seeds: [1, 2, 1]", "study.cue:6:15: seeds[2]: seed 1 is repeated (seeds are replicates: all must differ)"},
		{"no seeds", "title: \"x\"", "study.cue: seeds: the study has no seeds (write seeds: [1, 2])"},
		{"half a seed", "seeds: [{pretraining: 1}]", "study.cue:6:9: seeds[0]: has no feedback (write {pretraining: 1, feedback: 2}, or one number for both)"},
		{"reference", "seeds: [1]\narms: {\"all data\": set: {}}\ncompare: reference: \"all dta\"", "study.cue:8:21: compare.reference: the study has no arm \"all dta\" (did you mean all data?)"},
		{"newer version", "seeds: [1]\nversion: 2", "study.cue:7:10: version: the study is written for version 2 of the language, and this program reads 1 (install a newer ablate, or write version: 1 if the study needs nothing newer)"},
		{"no version", "seeds: [1]\nversion: 0", "study.cue:7:10: version: 0 is not a version of the study language (write version: 1, or leave it out)"},
		{"seed is a word", "seeds: [\"a\"]", "study.cue:6:9: seeds[0]: \"a\" is not a seed; must be a whole number >=0"},
		{"negative seed", "seeds: [-1]", "study.cue:6:9: seeds[0]: -1 is not a seed; must be a whole number >=0"},
		{"seed too large", "seeds: [9223372036854775808]", "study.cue:6:9: seeds[0]: 9223372036854775808 is not a seed; must be a whole number >=0 and below 2^63"},
		{"seeds no list", "seeds: 1", "study.cue:6:8: seeds: 1 is not a list of seeds (write seeds: [1, 2])"},
		{"empty seeds", "seeds: []", "study.cue:6:8: seeds: it is empty (write seeds: [1, 2])"},
		{"seed's field", "seeds: [{pretraining: 1, feedbak: 2}]", "study.cue:6:9: seeds[0]: has no feedback (write {pretraining: 1, feedback: 2}, or one number for both)\nstudy.cue:6:26: seeds[0].feedbak: a seed has no such field (did you mean feedback?)"},
		{"unknown reference", "seeds: [1]\nbase: finetune: beta: rate", "study.cue:7:23: base.finetune.beta: reference \"rate\" not found (define it in this package, import it, or quote it if it is a string)"},
		{"no value", "seeds: [1]\nbase: finetune: beta: number", "study.cue:7:23: base.finetune.beta: number is not a concrete value; must be a number >=0"},
		{"group is a scalar", "seeds: [1]\nbase: finetune: 3", "study.cue:7:17: base.finetune: 3 is not a struct; must be a struct with method, trains, anchor, beta, prediction, velocity, kl, mix, steps, batch, learningRate, warmup, schedule, ema, clip, adam, lora, probes, probeImages, rounds, fresh, softmax, filtered, dpo, kto, awm, nft, crd, rollout, ddpo, dpok, grpo, refl, draft"},
		{"scalar is a group", "seeds: [1]\nbase: finetune: beta: {a: 1}", "study.cue:7:23: base.finetune.beta: { a: 1 } is a struct; must be a number >=0"},
		{"compare's field", "seeds: [1]\ncompare: refrence: \"base\"", "study.cue:7:10: compare.refrence: compare has no such field (did you mean reference?)"},
		{"an unknown metric", "seeds: [1]\ncompare: detect: alignmet: 0.1", "study.cue:7:18: compare.detect.alignmet: unknown metric \"alignmet\" (did you mean alignment?)"},
		{"shows an unknown metric", "seeds: [1]\ncompare: show: [\"proxy\", \"distance.k\"]", "study.cue:7:26: compare.show[1]: unknown metric \"distance.k\" (did you mean distance.kl?)"},
		{"shows no list", "seeds: [1]\ncompare: show: \"proxy\"", "study.cue:7:16: compare.show: \"proxy\" is not a list of metrics (write show: [\"distance.kl\"])"},
		{"a contrast of a row with itself", "seeds: [1]\ncompare: contrasts: [{a: \"x\", b: \"x\"}]", "study.cue:7:22: compare.contrasts[0]: \"x\" is compared with itself (write contrasts: [{a: \"awm\", b: \"kto\"}])"},
		{"looks are no list", "seeds: [1]\ncompare: looks: 3", "study.cue:7:17: compare.looks: 3 is not a list of numbers of seeds (write looks: [3, 5, 8, 12])"},
		{"a look without an interval", "seeds: [1]\ncompare: looks: [2, 5]", "study.cue:7:18: compare.looks[0]: 2 is not a number of seeds from 3 to 10000 (an interval over seeds needs three)"},
		{"looks that go back", "seeds: [1]\ncompare: looks: [5, 3]", "study.cue:7:21: compare.looks[1]: 3 follows 5; looks must increase (write looks: [3, 5, 8, 12])"},
		{"one look", "seeds: [1]\ncompare: looks: [5]", "study.cue:7:17: compare.looks: a study that may stop early has two looks or more (write looks: [3, 5, 8, 12])"},
		{"looks with paired seeds", "seeds: [{pretraining: 1, feedback: 2}]\ncompare: looks: [3, 5]", "study.cue:7:17: compare.looks: seed 1.2 is a pair, and looks add single integers (write plain numbers as seeds, or leave looks out)"},
		{"more seeds than looks", "seeds: [1, 2, 3, 4]\ncompare: looks: [3, 3.5]", "study.cue:7:21: compare.looks[1]: 3.5 is not a number of seeds from 3 to 10000 (an interval over seeds needs three)"},
		{"a last look below the seeds", "seeds: [1, 2, 3, 4, 5, 6]\ncompare: looks: [3, 5]", "study.cue:7:17: compare.looks: the study has 6 seeds, and its last look is at 5 (the last look has all seeds)"},
		{"looks with an arm's seeds", "seeds: [1, 2]\narms: {a: set: {}, b: seeds: [1]}\ncompare: looks: [3, 5]", "study.cue:7:30: arms.b: the arm names its seeds, and compare.looks adds seeds while the study runs (leave out one of the two)"},
		{"widths without looks", "seeds: [1]\ncompare: precise: alignment: 0.1", "study.cue:7:19: compare.precise: an interval reaches a width by adding seeds, but the study has no looks (write looks: [3, 5, 8, 12] beside it)"},
		{"a width of 0", "seeds: [1]\ncompare: {looks: [3, 5], precise: alignment: 0}", "study.cue:7:46: compare.precise.alignment: 0 is not a width of an interval (write the width that would be narrow enough)"},
		{"a choice of nothing", "seeds: [1, 2]\narms: a: {pick: {by: \"alignment\", on: [1], report: [2]}}", "study.cue:7:17: arms.a.pick: the arm has one point, so that there is nothing to select (sweep an axis, or leave pick out)"},
		{"a choice on its own seeds", "seeds: [1, 2]\narms: a: {sweep: \"finetune.beta\": [0, 1], pick: {by: \"alignment\", on: [1], report: [1, 2]}}", "study.cue:7:49: arms.a.pick: seed 1 is in both on and report; values on the seeds of the selection are biased upwards (use each seed for one of the two)"},
		{"a choice by nothing", "seeds: [1, 2]\narms: a: {sweep: \"finetune.beta\": [0, 1], pick: {by: \"alignmet\", on: [1], report: [2]}}", "study.cue:7:54: arms.a.pick.by: unknown metric \"alignmet\" (did you mean alignment?)"},
		{"half a choice", "seeds: [1, 2]\narms: a: {sweep: \"finetune.beta\": [0, 1], pick: {by: \"alignment\", on: [1]}}", "study.cue:7:49: arms.a.pick: pick needs by, on and report (write pick: {by: \"alignment\", on: [1, 2], report: [3, 4, 5]})"},
		{"a choice's field", "seeds: [1, 2]\narms: a: {sweep: \"finetune.beta\": [0, 1], pick: {by: \"alignment\", on: [1], report: [2], at: 3}}", "study.cue:7:89: arms.a.pick.at: pick has no such field (allowed: by, on, report)"},
		{"a control that is none", "seeds: [1]\narms: a: control: 1", "study.cue:7:19: arms.a.control: 1 is neither true nor false (write control: true, or leave it out)"},
		{"prompts of an unknown kind", "seeds: [1]\ncompare: prompts: \"sample\"", "study.cue:7:19: compare.prompts: \"sample\" is not a kind of prompts; must be fixed or sampled (did you mean sampled?)"},
		{"a difference of nothing", "seeds: [1]\ncompare: detect: alignment: 0", "study.cue:7:29: compare.detect.alignment: 0 is not a size of a difference (write the smallest difference that would matter)"},
		{"a tolerance below 0", "seeds: [1]\ngate: alignment: absolute: -1", "study.cue:7:28: gate.alignment.absolute: -1 is not a valid size (write a number above 0, in the units of the metric)"},
		{"two tolerances", "seeds: [1]\ngate: alignment: {absolute: 1, relative: 1}", "study.cue:7:18: gate.alignment: both absolute and relative are given (keep one)"},
		{"a tolerance's field", "seeds: [1]\ngate: alignment: absolut: 1", "study.cue:7:18: gate.alignment.absolut: a tolerance has no such field (did you mean absolute?)"},
		{"no seeds to check with", "seeds: [1]\ngate: alignment: seeds: 0", "study.cue:7:25: gate.alignment.seeds: 0 is not a number of seeds (write a whole number from 1 up)"},
		{"reference to an outer arm", "seeds: [1]\narms: a: arms: b: set: {}\ncompare: reference: \"a\"", "study.cue:8:21: compare.reference: the study has no arm \"a\" (allowed: a/b)"},
		{"no path", "seeds: [1]\nbase: model: checkpoint: {}", "study.cue:7:14: model.checkpoint.path: is missing (must be a string that is not empty)"},
		{"empty path", "seeds: [1]\nbase: model: checkpoint: path: \"\"", "study.cue:7:32: base.model.checkpoint.path: \"\" is out of range; must be a string that is not empty"},
		{"title", "seeds: [1]\ntitle: 3", "study.cue:7:8: title: 3 is not a string"},
		{"preset conflicts", "seeds: [1]\nbase: {reward: lambda: 1}\nbase: presets.lee2023", "study.cue:7:24: base.reward.lambda: conflicting values 1 and 0.5 (mismatched types int and float)"},
		{"unknown preset", "seeds: [1]\nbase: presets.lee2022", "study.cue:7:15: base: undefined field: lee2022"},
		{"conflict hides nothing", "seeds: [1, 1]\nbase: finetune: beta: 1\nbase: finetune: beta: 2\nbase: finetune: stesp: 3", "study.cue:6:12: seeds[1]: seed 1 is repeated (seeds are replicates: all must differ)\nstudy.cue:8:23: base.finetune.beta: conflicting values 2 and 1"},
		{"heads", "seeds: [1]\nbase: model: shapes: heads: 5", "study.cue:7:29: model.shapes.heads: width 192 is not a multiple of heads 5 (every head has width/heads numbers)"},
		{"conflict", "seeds: [1]\nbase: finetune: beta: 1\nbase: finetune: beta: 2", "study.cue:8:23: base.finetune.beta: conflicting values 2 and 1"},
		{"both", "seeds: [1]\nbase: model: {shapes: {}, checkpoint: path: \"x\"}", "study.cue:7:14: base.model: has both shapes and checkpoint (a trial has one of them)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := study(t, tc.body)
			if strings.Contains(tc.body, "presets.") {
				dir = filepath.Join(module(t, map[string]string{"s/study.cue": strings.Replace(head, "\n\nschema.", "\nimport \"ablate.internal/schema/presets\"\nschema.", 1) + tc.body + "\n}\n"}), "s")
			}
			_, err := language.Load(dir, language.Options{})
			var list *language.Errors
			if !errors.As(err, &list) {
				t.Fatalf("error %v, want mistakes", err)
			}
			var got []string
			for _, e := range list.List {
				c := *e
				c.File = strings.TrimSuffix(filepath.Base(e.File), "s")
				if c.File == "" {
					c.File = "study.cue"
				}
				got = append(got, c.Error())
			}
			if d := cmp.Diff(strings.Split(tc.want, "\n"), got); d != "" {
				t.Errorf("mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestAllAtOnce(t *testing.T) {
	_, err := language.Load(study(t, "seeds: [1, 1]\nbase: finetune: {beta: -1, lerningRate: 3}\narms: a: zips: {}"), language.Options{})
	var list *language.Errors
	if !errors.As(err, &list) || len(list.List) != 4 {
		t.Errorf("want four mistakes at once, got %v", err)
	}
}

func TestCannotBeLoaded(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		arg   string
		want  string
	}{
		"no folder":    {nil, "nowhere", "there is no such folder or file"},
		"empty folder": {map[string]string{"s/README.md": "x"}, "s", "no CUE package"},
		"not CUE":      {map[string]string{"s/README.md": "# A study"}, "s/README.md", "README.md: it is not a CUE file"},
		"near folder":  {map[string]string{"study/README.md": "x"}, "stuyd", "did you mean"},
		"preset file":  {map[string]string{"s/a.cue": "package s\n\nimport \"ablate.internal/schema/preset\"\n\nx: preset.y\n"}, "s", "a.cue:3:8"},
		"syntax":       {map[string]string{"s/a.cue": head + "seeds: [1\n}"}, "s", "a.cue:7:"},
		"import":       {map[string]string{"s/a.cue": "package s\n\nimport \"example.com/other/thing\"\n\nx: thing.y\n"}, "s", "a.cue:3:8"},
		"two packages": {map[string]string{"s/a.cue": "package a\nx: 1\n", "s/b.cue": "package b\nx: 1\n"}, "s", "two packages"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := language.Load(filepath.Join(module(t, tc.files), tc.arg), language.Options{})
			if !errors.As(err, new(*language.Errors)) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want it to say %q", err, tc.want)
			}
		})
	}
	if _, err := language.Load(t.TempDir(), language.Options{}); !errors.As(err, new(*language.Errors)) || !strings.Contains(err.Error(), "cue.mod") {
		t.Errorf("outside of a module: %v", err)
	}
}

// TestIdentity checks that contents are equal exactly if their ids are, and that the number of
// points is the product of the axes' lengths minus the collapsed points.
func TestIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(t, "betas")
		m := rapid.IntRange(1, 3).Draw(t, "rates")
		var betas, rates []string
		for i := range n {
			betas = append(betas, fmt.Sprint(float64(i)/4))
		}
		for i := range m {
			rates = append(rates, fmt.Sprintf("%de-4", i+1))
		}
		dir, err := os.MkdirTemp("", "language-*")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "cue.mod"), 0o777),
			os.WriteFile(filepath.Join(dir, "cue.mod", "module.cue"), []byte("module: \"example.com/m@v0\"\nlanguage: version: \"v0.17.0\"\n"), 0o666),
			os.WriteFile(filepath.Join(dir, "s.cue"), []byte(fmt.Sprintf("%sseeds: [1, 2]\narms: a: sweep: {\"finetune.beta\": [%s], \"finetune.learningRate\": [%s]}\n}\n",
				head, strings.Join(betas, ", "), strings.Join(rates, ", "))), 0o666)); err != nil {
			t.Fatal(err)
		}
		s, err := language.Load(dir, language.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(s.Views) + 2*s.Collapsed; got != 2*n*m {
			t.Fatalf("%d views and %d collapsed points, want %d points of two seeds", len(s.Views), s.Collapsed, n*m)
		}
		for i, a := range s.Views {
			for _, b := range s.Views[:i] {
				same := cmp.Equal(a.Trial.Content.Lines(), b.Trial.Content.Lines()) && a.Trial.Seed == b.Trial.Seed
				if same != (a.Trial.ID() == b.Trial.ID()) {
					t.Fatalf("%s and %s: equal contents %v, equal ids %v", a, b, same, !same)
				}
			}
		}
	})
}

func TestAxes(t *testing.T) {
	for _, a := range language.Axes() {
		if a.Doc == "" || a.Unit == "" || a.Default == nil && a.Path != "model.checkpoint.path" {
			t.Errorf("%s: doc %q, unit %q, default %v: each must be there", a.Path, a.Doc, a.Unit, a.Default)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("seeds: [1]\narms: a: set: finetune: beta: 1")
	f.Add("seeds: [{pretraining: 1, feedback: 2}]\nbase: model: checkpoint: path: \"x\"")
	f.Add("seeds: [1]\narms: a: {sweep: \"finetune.beta\": [0, 1]}\ncompare: reference: \"a\"")
	root := module(f, nil)
	f.Fuzz(func(t *testing.T, body string) {
		// CUE takes long for some inputs. For users, time is limited by a child process, which
		// FuzzVet of runner/cli runs.
		if len(body) > 200 || strings.ContainsAny(body, "|*") {
			t.Skip()
		}
		path := filepath.Join(root, "study.cue")
		if err := os.WriteFile(path, []byte(head+body+"\n}\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		if s, err := language.Load(path, language.Options{}); err == nil && len(s.Views) == 0 {
			t.Error("a study without a view has no mistake")
		} else if err != nil && strings.Contains(err.Error(), "cannot be evaluated") {
			t.Error(err)
		}
	})
}

// TestNames checks that different studies in one module have different names.
func TestNames(t *testing.T) {
	body := head + "\nseeds: [1]\narms: a: {}\n}\n"
	root := module(t, map[string]string{
		"whole/study.cue": body, "dir/one.cue": body, "dir/two.cue": strings.Replace(body, "package s", "package t", 1),
		"dir/one/study.cue": body,
	})
	seen := map[string]string{}
	for path, want := range map[string]string{"whole": "whole", "whole/study.cue": "whole", "dir/one.cue": "dir/one.cue", "dir/two.cue": "dir/two.cue", "dir/one": "dir/one"} {
		s, err := language.Load(filepath.Join(root, path), language.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != want || s.Path != filepath.FromSlash(want) {
			t.Errorf("%s: name %q, path %q, want %q", path, s.Name, s.Path, want)
		}
		if other, ok := seen[s.Name]; ok && !strings.HasPrefix(path+other, "whole") {
			t.Errorf("%s and %s have the name %q", path, other, s.Name)
		}
		seen[s.Name] = path
		if set, err := language.Load(filepath.Join(root, path), language.Options{Set: []string{"finetune.beta=0.1"}}); err != nil || set.Path != s.Path || !strings.HasPrefix(set.Name, s.Name+"@") {
			t.Errorf("%s under --set: %+v, %v", path, set, err)
		}
	}
}
