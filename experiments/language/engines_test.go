package language_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ablate/experiments/language"
)

func ptr(x float64) *float64 { return &x }

// programs describe engines as real ones would: one that loads, samples and trains, another
// trainer with parameters of the same names and other types, a scorer and a judge.
var programs = map[string]*language.Program{
	"diffusers": {Verbs: map[string]*language.Verb{
		"load": {Params: []language.Param{{Path: "name", Kind: language.Name}, {Path: "half", Kind: language.Truth, Default: true}}},
		"sample": {Formats: []string{"diffusers", "diffusers-lora"}, Noise: "torch-cpu", Params: []language.Param{
			{Path: "steps", Kind: language.Whole, Minimum: ptr(1), Default: int64(30), Unit: "steps", Doc: "calls of the model for one image"},
			{Path: "guidance", Kind: language.Real, Minimum: ptr(0), Default: 7.5},
			{Path: "batch", Kind: language.Whole, Minimum: ptr(1), Default: int64(4), Record: true},
		}},
		"train": {Format: "diffusers-lora", Keeps: true, Inputs: map[string]language.Input{
			"base": {}, "images": {Columns: []string{"prompt", "score"}}, "pretraining": {When: []language.Condition{{Path: "beta", Above: ptr(0)}}},
		}, Params: []language.Param{
			{Path: "method", Kind: language.Name, Enum: []string{"reward-weighted", "dpo"}, Default: "reward-weighted"},
			{Path: "beta", Kind: language.Real, Minimum: ptr(0), Default: 0.5},
			{Path: "steps", Kind: language.Whole, Minimum: ptr(1), Maximum: ptr(1e6), Default: int64(1000), Unit: "steps"},
			{Path: "learning_rate", Kind: language.Real, Above: ptr(0), Default: 1e-4, Unit: "per step"},
			{Path: "lora.rank", Kind: language.Whole, Minimum: ptr(0), Default: int64(16)},
			{Path: "lora.alpha", Kind: language.Real, Default: 16., Unused: []language.Condition{{Path: "lora.rank", Values: []any{int64(0)}}}},
			{Path: "workers", Kind: language.Whole, Default: int64(2), Record: true},
		}},
	}},
	"flowfactory": {Verbs: map[string]*language.Verb{
		"train": {Format: "diffusers", Params: []language.Param{
			{Path: "trainer", Kind: language.Name, Enum: []string{"nft", "grpo"}},
			{Path: "epochs", Kind: language.Whole, Default: int64(10)},
			{Path: "steps", Kind: language.Name, Default: "auto"},
			{Path: "learning_rate", Kind: language.Real, Above: ptr(0), Default: 3e-4},
			{Path: "workers", Kind: language.Whole, Default: int64(8)},
		}},
	}},
	"other": {Verbs: map[string]*language.Verb{"train": {Format: "diffusers", Params: []language.Param{
		{Path: "steps", Kind: language.Real, Default: 50.5},
		{Path: "learning_rate", Kind: language.Real, Default: 0.5},
		{Path: "workers", Kind: language.Truth, Default: true},
	}}}},
	"peftonly": {Verbs: map[string]*language.Verb{"train": {Format: "peft"}}},
	"clip": {Verbs: map[string]*language.Verb{
		"score": {Columns: []language.Column{{Name: "pickscore", Kind: "real", Better: "higher", Range: []float64{0, 1}}, {Name: "similarity", Kind: "real", Better: "higher", Range: []float64{0, 1}}},
			Params: []language.Param{{Path: "model", Kind: language.Name, Default: "vit"}, {Path: "size", Kind: language.Whole, Default: int64(224)}}},
		"embed": {Params: []language.Param{{Path: "network", Kind: language.Name, Default: "vit"}}},
	}},
	"geneval": {Verbs: map[string]*language.Verb{"score": {Columns: []language.Column{{Name: "correct", Kind: "verdict", Better: "higher"},
		{Name: "vqa", Kind: "real", Better: "higher", Range: []float64{0, 1}}, {Name: "logit", Kind: "real", Better: "higher"}, {Name: "distance", Kind: "real", Better: "lower", Range: []float64{0, 1}}}}}},
}

// describing are options with which every engine describes itself as in programs.
func describing(set ...string) language.Options {
	return language.Options{Set: set, Describe: func(_ *language.Study, e language.Engine) (*language.Program, error) {
		if p, ok := programs[e.Name]; ok {
			return p, nil
		}
		return nil, fmt.Errorf("no such file: %s", e.Command[0])
	}}
}

// declared declares the engines of programs in one line.
var declared = func() string {
	var b strings.Builder
	b.WriteString("engines: {")
	for _, name := range []string{"diffusers", "flowfactory", "other", "peftonly", "clip", "geneval"} {
		fmt.Fprintf(&b, `%s: {command: ["x"], source: ["x"]}, `, name)
	}
	return b.String() + "}\n"
}()

// paper is a base with an engine in every place.
const paper = `base: {
	model: program: {engine: "diffusers", params: name: "sd15"}
	prompts: {train: "train.txt", evaluate: "evaluate.jsonl"}
	sampler: params: {steps: 20, guidance: 5}
	feedback: {labelled: 0, unlabelled: 2000}
	reward: program: {engine: "clip", column: "pickscore"}
	finetune: {engine: "diffusers", pretraining: "data", params: {steps: 2000, lora: rank: 8}}
	evaluate: {gold: {engine: "geneval", column: "correct"}, features: engine: "clip", reference: "real"}
}
`

func loadEngines(t testing.TB, body string, set ...string) *language.Study {
	t.Helper()
	s, err := language.Load(study(t, "seeds: [1]\n"+declared+paper+body), describing(set...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEngineContent: a trial has the parameters of its engines with their defaults, and nothing
// native that they replace.
func TestEngineContent(t *testing.T) {
	s := loadEngines(t, "")
	want := `evaluate.bestOf 1
evaluate.features.engine "clip"
evaluate.features.params.network "vit"
evaluate.gold.column "correct"
evaluate.gold.engine "geneval"
evaluate.images 2048
evaluate.reference "real"
feedback.labelled 0
feedback.unlabelled 2000
finetune.engine "diffusers"
finetune.params.beta 0.5
finetune.params.learning_rate 0.0001
finetune.params.lora.alpha 16
finetune.params.lora.rank 8
finetune.params.method "reward-weighted"
finetune.params.steps 2000
finetune.pretraining "data"
finetune.probeImages 64
finetune.probes 4
finetune.rows "all"
model.program.engine "diffusers"
model.program.params.half true
model.program.params.name "sd15"
prompts.evaluate "evaluate.jsonl"
prompts.train "train.txt"
reward.program.column "pickscore"
reward.program.engine "clip"
reward.program.params.model "vit"
reward.program.params.size 224
sampler.params.guidance 5
sampler.params.steps 20`
	if d := cmp.Diff(strings.Split(want, "\n"), s.Base.Lines()); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	if s.Base.Learns() || !s.Base.Truth("model.program.params.half") || s.Base.Whole("finetune.params.workers") != 2 {
		t.Errorf("learns %v, half %v, workers %v", s.Base.Learns(), s.Base.Truth("model.program.params.half"), s.Base.Whole("finetune.params.workers"))
	}
	params := s.Base.Params("sampler.params")
	if d := cmp.Diff([]language.Value{{"batch", int64(4), true}, {"guidance", 5., false}, {"steps", int64(20), false}}, params); d != "" {
		t.Errorf("parameters of the sampler (-want +got):\n%s", d)
	}
	var files []string
	for _, f := range s.Files {
		files = append(files, f.Axis+" "+filepath.Base(f.Path)+" "+f.Where.Path)
	}
	slices.Sort(files)
	if d := cmp.Diff([]string{"evaluate.reference real base.evaluate.reference", "finetune.pretraining data base.finetune.pretraining",
		"prompts.evaluate evaluate.jsonl base.prompts.evaluate", "prompts.train train.txt base.prompts.train"}, files); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

// TestEngineAxes: parameters of engines are axes with their units and defaults, those of engines
// that no trial names are not, and where two engines differ the axis fits both.
func TestEngineAxes(t *testing.T) {
	axis := func(s *language.Study, path string) language.Axis {
		for _, a := range s.Axes() {
			if a.Path == path {
				return a
			}
		}
		return language.Axis{}
	}
	s := loadEngines(t, "")
	if d := cmp.Diff(language.Axis{Path: "finetune.params.steps", Kind: language.Whole, Count: true, Unit: "steps", Default: int64(1000)}, axis(s, "finetune.params.steps")); d != "" {
		t.Errorf("one engine (-want +got):\n%s", d)
	}
	if a := axis(s, "finetune.params.trainer"); a.Path != "" {
		t.Errorf("an axis of an engine that no trial names: %+v", a)
	}
	s = loadEngines(t, `arms: {a: set: {}, b: set: finetune: {engine: "flowfactory", params: trainer: "nft"}}`)
	if d := cmp.Diff(language.Axis{Path: "finetune.params.steps", Kind: language.Name}, axis(s, "finetune.params.steps")); d != "" {
		t.Errorf("two engines (-want +got):\n%s", d)
	}
	if a := axis(s, "finetune.params.trainer"); a.Unit != "name" || len(a.Enum) != 2 {
		t.Errorf("an axis of names: %+v", a)
	}
	if n := len(load(t, "seeds: [1]").Axes()); n != len(language.Axes()) {
		t.Errorf("a study without engines has %d axes, want %d", n, len(language.Axes()))
	}
}

// TestOtherEngine: an arm that sets another engine drops the parameters of the old one, and its
// own are checked and filled in by the new one, also where the engine is swept.
func TestOtherEngine(t *testing.T) {
	s := loadEngines(t, `arms: {
	same: set: finetune: engine: "diffusers"
	other: set: finetune: {engine: "flowfactory", params: {trainer: "nft", steps: "long"}}
	outer: {set: finetune: {engine: "flowfactory", params: {trainer: "grpo", epochs: 3}}, arms: {
		inner: set: finetune: params: epochs: 4
		back: set: finetune: engine: "diffusers"
	}}
}`)
	lines := map[string]string{}
	for _, v := range s.Views {
		lines[v.Row()] = strings.Join(v.Trial.Content.Lines("finetune.params"), "; ")
	}
	want := map[string]string{
		"same":        `finetune.params.beta 0.5; finetune.params.learning_rate 0.0001; finetune.params.lora.alpha 16; finetune.params.lora.rank 8; finetune.params.method "reward-weighted"; finetune.params.steps 2000`,
		"other":       `finetune.params.epochs 10; finetune.params.learning_rate 0.0003; finetune.params.steps "long"; finetune.params.trainer "nft"; finetune.params.workers 8`,
		"outer/inner": `finetune.params.epochs 4; finetune.params.learning_rate 0.0003; finetune.params.steps "auto"; finetune.params.trainer "grpo"; finetune.params.workers 8`,
		"outer/back":  `finetune.params.beta 0.5; finetune.params.learning_rate 0.0001; finetune.params.lora.alpha 16; finetune.params.lora.rank 16; finetune.params.method "reward-weighted"; finetune.params.steps 1000`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}
}

// mistakes returns the mistakes of a study, without its folder.
func mistakes(t testing.TB, body string, o language.Options) []string {
	t.Helper()
	_, err := language.Load(study(t, body), o)
	var list *language.Errors
	if !errors.As(err, &list) {
		t.Fatalf("error %v, want mistakes", err)
	}
	var out []string
	for _, e := range list.List {
		c := *e
		if !strings.HasPrefix(c.File, "--set") {
			c.File = "study.cue"
		}
		out = append(out, c.Error())
	}
	return out
}

// TestEngineMistakes pins messages about engines: position, path, what is wrong, and what to do.
// The engines are on line 7, the base on lines 8 to 16.
func TestEngineMistakes(t *testing.T) {
	for _, tc := range []struct{ name, arms, want string }{
		{"misspelt parameter of the base", `base: finetune: params: lerning_rate: 1`, `study.cue:17:25: base.finetune.params.lerning_rate: engine diffusers has no such parameter for train (did you mean learning_rate?)`},
		{"out of range in a sweep", `arms: rate: sweep: "finetune.params.learning_rate": [0, 1e-5]`, `study.cue:17:54: arms.rate.sweep."finetune.params.learning_rate": 0: must be a number > 0 (engine diffusers)`},
		{"unused in an arm", `arms: full: set: finetune: params: lora: {rank: 0, alpha: 8}`, `study.cue:17:59: arms.full.set.finetune.params.lora.alpha: the arm's trials do not use it: lora.rank is 0`},
		{"gold rewards", `arms: {a: set: evaluate: gold: {engine: "clip", column: "pickscore"}}`, `study.cue:17:26: arms.a.set.evaluate.gold: clip's pickscore is the reward too, and a scorer that trains is no gold (mark the arm control: true)`},
		{"wrong type", `arms: a: set: finetune: params: steps: "many"`, `study.cue:17:40: arms.a.set.finetune.params.steps: "many": must be a whole number >= 1 and <= 1000000 (engine diffusers)`},
		{"not whole", `arms: a: set: finetune: params: steps: 1.5`, `study.cue:17:40: arms.a.set.finetune.params.steps: 1.5: must be a whole number >= 1 and <= 1000000 (engine diffusers)`},
		{"too large", `arms: a: set: finetune: params: steps: 2_000_000`, `study.cue:17:40: arms.a.set.finetune.params.steps: 2000000: must be a whole number >= 1 and <= 1000000 (engine diffusers)`},
		{"no truth", `arms: a: set: model: program: params: half: 1`, `study.cue:17:45: arms.a.set.model.program.params.half: 1: must be true or false (engine diffusers)`},
		{"not among the names", `arms: a: set: finetune: params: method: "dpoo"`, `study.cue:17:41: arms.a.set.finetune.params.method: "dpoo": must be one of "reward-weighted", "dpo" (engine diffusers; did you mean "dpo"?)`},
		{"group and no parameter", `arms: a: set: finetune: params: lora: 4`, `study.cue:17:33: arms.a.set.finetune.params.lora: engine diffusers has a group of parameters there, and no parameter (write a struct with rank)`},
		{"list", `arms: a: set: finetune: params: steps: [4]`, `study.cue:17:40: arms.a.set.finetune.params.steps: [4] is a list; must be a number, a string, true or false`},
		{"misspelt axis", `arms: a: sweep: "finetune.params.lerning_rate": [1]`, `study.cue:17:17: arms.a.sweep."finetune.params.lerning_rate": engine diffusers has no such parameter for train (did you mean learning_rate?)`},
		{"axis of another engine", `arms: a: sweep: "finetune.params.epochs": [1]`, `study.cue:17:17: arms.a.sweep."finetune.params.epochs": engine diffusers has no such parameter for train (allowed: method, beta, steps, learning_rate, lora.rank, lora.alpha, workers)`},
		{"unknown engine", `arms: a: set: finetune: engine: "difusers"`, `study.cue:17:33: arms.a.set.finetune.engine: the study has no engine "difusers" (did you mean diffusers?)`},
		{"unknown engine in a sweep", `arms: a: sweep: "finetune.engine": ["diffusers", "flofactory"]`, `study.cue:17:50: arms.a.sweep."finetune.engine"[1]: the study has no engine "flofactory" (did you mean flowfactory?)`},
		{"verb that it lacks", `arms: a: set: finetune: engine: "clip"`, `study.cue:17:33: arms.a.set.finetune.engine: engine clip does not train (it can embed, score)`},
		{"unknown column", `arms: a: set: reward: program: column: "pikscore"`, `study.cue:17:40: arms.a.set.reward.program.column: engine clip gives no column "pikscore" (did you mean pickscore?)`},
		{"column of a swept list", `arms: a: sweep: "reward.program.column": ["similarity", "x"]`, `study.cue:17:57: arms.a.sweep."reward.program.column"[1]: engine clip gives no column "x" (allowed: pickscore, similarity)`},
		{"gold of any size", `arms: a: set: evaluate: gold: column: "logit"`, `study.cue:17:39: arms.a.set.evaluate.gold.column: logit of engine geneval is a number of any size, and a gold is a verdict or a number from 0 to 1 (name a column of kind "verdict", or one with "range": [0, 1] in the engine's description)`},
		{"gold that is better when lower", `arms: a: set: evaluate: gold: column: "distance"`, `study.cue:17:39: arms.a.set.evaluate.gold.column: distance of engine geneval is better when it is lower, and alignment, its mean, is better when it is higher (name a column that is better when it is higher)`},
		{"reward that is a verdict", `arms: a: set: reward: program: {engine: "geneval", column: "correct"}`, "study.cue:15:13: base.evaluate.gold: geneval's correct is the reward too, and a scorer that trains is no gold (mark the arm control: true)\nstudy.cue:17:60: arms.a.set.reward.program.column: correct of engine geneval is a verdict, and a reward is a number (name a column of kind \"real\")"},
		{"reward that is better when lower", `arms: a: set: reward: program: {engine: "geneval", column: "distance"}`, `study.cue:17:60: arms.a.set.reward.program.column: distance of engine geneval is better when it is lower, and images with a high reward are preferred (name another column)`},
		{"format that is not sampled", `arms: a: set: finetune: engine: "peftonly"`, `study.cue:17:33: finetune.engine: engine peftonly trains checkpoints of the format "peft", which engine diffusers does not sample (it samples diffusers, diffusers-lora)`},
		{"no value and no default", `arms: a: set: finetune: engine: "flowfactory"`, `study.cue:17:33: finetune.params.trainer: is missing, and engine flowfactory has no default for it (must be one of "nft", "grpo")`},
		{"type by the engine of the point", `arms: a: {sweep: {"finetune.engine": ["flowfactory", "diffusers"], "finetune.params.steps": ["auto"]}, set: finetune: params: trainer: "nft"}`, "study.cue:17:94: arms.a.sweep.\"finetune.params.steps\": \"auto\": must be a whole number >= 1 and <= 1000000 (engine diffusers)\nstudy.cue:17:127: arms.a.set.finetune.params.trainer: engine diffusers has no such parameter for train (allowed: method, beta, steps, learning_rate, lora.rank, lora.alpha, workers)"},
		{"unused for the engine", `arms: a: set: {finetune: {engine: "flowfactory", params: trainer: "nft", pretraining: "other"}}`, `study.cue:17:87: arms.a.set.finetune.pretraining: the arm's trials do not use it: engine flowfactory trains on no pretraining data (leave it out, or change what makes it unused)`},
		{"no checkpoints on the way", `arms: a: set: finetune: {engine: "flowfactory", params: trainer: "nft", probes: 2}`, `study.cue:17:81: arms.a.set.finetune.probes: the arm's trials do not use it: engine flowfactory keeps no checkpoints on its way (leave it out, or change what makes it unused)`},
		{"unused because of a condition", `arms: a: set: finetune: {pretraining: "other", params: beta: 0}`, `study.cue:17:39: arms.a.set.finetune.pretraining: the arm's trials do not use it: finetune.params.beta is 0 (leave it out, or change what makes it unused)`},
		{"native field", `arms: a: set: finetune: learningRate: 1e-3`, `study.cue:17:39: arms.a.set.finetune.learningRate: the arm's trials do not use it: finetune.engine has the method, and finetune.params its constants (leave it out, or change what makes it unused)`},
		{"native sampler", `arms: a: sweep: "sampler.steps": [1, 2]`, `study.cue:17:34: arms.a.sweep."sampler.steps": the arm's trials do not use it: an engine loads the model (leave it out, or change what makes it unused)`},
		{"native method", `arms: a: set: finetune: method: "dpo"`, `study.cue:17:33: arms.a.set.finetune.method: the arm's trials do not use it: finetune.engine has the method, and finetune.params its constants (leave it out, or change what makes it unused)`},
		{"parameters without fine-tuning", `arms: a: set: finetune: {method: "none", params: beta: 1}`, `study.cue:17:56: arms.a.set.finetune.params.beta: the arm's trials do not use it: finetune.method is "none"`},
		{"engine without fine-tuning", `arms: a: set: finetune: {method: "none", engine: "flowfactory"}`, `study.cue:17:50: arms.a.set.finetune.engine: the arm's trials do not use it: finetune.method is "none" (leave it out, or change what makes it unused)`},
		{"native model with engines", `arms: a: set: model: shapes: layers: 2`, `study.cue:10:19: prompts.train: only a model that an engine loads has it, and the trial's is another (set model.program in the same trials, or leave it out)`},
		{"reward on features without labels", `arms: a: set: reward: {features: engine: "clip", loss: "mse"}`, `study.cue:12:23: feedback.labelled: a reward of loss "mse" learns from labelled images, and there are none (set feedback.labelled to at least 1, or reward.program)`},
		{"perturbed prompts of a file", `arms: a: set: {reward: {features: engine: "clip", normalize: "contrastive", loss: "mse"}, feedback: labelled: 4}`, `study.cue:17:62: reward.normalize: it compares an image with its prompt and contrasting ones, which are made of prompts of the shapes world only, and an engine has others (set reward.normalize to "none")`},
		{"both rewards", `base: reward: features: engine: "clip"`, `study.cue:17:15: base.reward: has both program and features (a trial has one of them)`},
		{"unused filter", `arms: a: set: finetune: filtered: fraction: 0.5`, `study.cue:17:45: arms.a.set.finetune.filtered.fraction: the arm's trials do not use it: finetune.rows is "all" (leave it out, or change what makes it unused)`},
		{"unused loss", `arms: a: set: reward: loss: "mse"`, `study.cue:17:29: arms.a.set.reward.loss: the arm's trials do not use it: reward.program gives the scores (leave it out, or change what makes it unused)`},
		{"where names no parameter", `arms: a: {sweep: "finetune.params.beta": [0, 1], where: finetune: params: bata: 1}`, `study.cue:17:75: arms.a.where.finetune.params.bata: a trial has no such field (did you mean beta?)`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := mistakes(t, "seeds: [1]\n"+declared+paper+tc.arms, describing())
			if d := cmp.Diff(strings.Split(tc.want, "\n"), got); d != "" {
				t.Errorf("mismatch (-want +got):\n%s", d)
			}
		})
	}
}

// TestAdopted: a folder with a checkpoint of Stable Diffusion is a model of the engine of this program,
// which the study need not declare, wherever the study names the folder.
func TestAdopted(t *testing.T) {
	own := func(set ...string) language.Options {
		return language.Options{Set: set, Describe: func(_ *language.Study, e language.Engine) (*language.Program, error) {
			if want := []string{"ablate", "engine", "stable-diffusion"}; e.Name != language.StableDiffusion || !slices.Equal(e.Command, want) {
				return nil, fmt.Errorf("asked %s of %v", e.Name, e.Command)
			}
			return programs["diffusers"], nil
		}}
	}
	const paper = `
base: {
	model: %s
	prompts: {train: "train.txt", evaluate: "evaluate.jsonl"}
	reward: loss: "none"
	finetune: method: "none"
	evaluate: images: 2
}
`
	load := func(model, rest string, set ...string) (*language.Study, error) {
		const pipeline = `{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}`
		return language.Load(filepath.Join(module(t, map[string]string{
			"s/study.cue":               head + "seeds: [1]\n" + fmt.Sprintf(paper, model) + rest + "\n}\n",
			"s/a/model_index.json":      pipeline,
			"s/b/model_index.json":      pipeline,
			"s/shapes/model_index.json": `{"_class_name": "ShapesPipeline", "transformer": ["ablate", "T"]}`,
		}), "s"), own(set...))
	}
	ids := func(s *language.Study, err error) (out []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range s.Trials() {
			out = append(out, x.ID().String())
		}
		return out
	}
	spelled := ids(load(`program: {engine: "stable-diffusion", params: name: "s/a"}`, ""))
	for name, got := range map[string][]string{
		"base":  ids(load(`checkpoint: path: "a"`, "")),
		"arm":   ids(load(`checkpoint: path: "b"`, `arms: x: set: model: checkpoint: path: "a"`)),
		"flag":  ids(load(`checkpoint: path: "b"`, "", "model.checkpoint.path=a")),
		"group": ids(load(`checkpoint: path: "b"`, "", `model.checkpoint={path: "a"}`)),
		"sweep": ids(load(`checkpoint: path: "b"`, `arms: x: sweep: "model.checkpoint.path": ["a"]`)),
	} {
		if !slices.Equal(got, spelled) {
			t.Errorf("%s: trials %v, want %v", name, got, spelled)
		}
	}
	if got := ids(load(`checkpoint: path: "b"`, `arms: x: zip: {"model.checkpoint.path": ["a", "b"], "sampler.params.steps": [10, 20]}`)); len(got) != 2 || slices.Contains(got, spelled[0]) {
		t.Errorf("a zip has the trials %v", got)
	}
	_, err := load(`checkpoint: path: "b"`, `arms: x: sweep: "model.checkpoint.path": ["a", "shapes"]`)
	if err == nil || !strings.Contains(err.Error(), "has checkpoints of Stable Diffusion and of the shapes world") {
		t.Errorf("a sweep over both worlds: %v", err)
	}
	if s, err := load(`checkpoint: path: "shapes"`, "", "finetune.method=none"); err == nil && len(s.Engines) > 0 {
		t.Error("a checkpoint of the shapes world has an engine")
	}
}

// TestDeclarations pins messages about engines that are declared wrongly, and about fields that
// need engines in a study without.
func TestDeclarations(t *testing.T) {
	none := language.Options{}
	for _, tc := range []struct {
		name, body, want string
		o                language.Options
	}{
		{"no engines", "base: finetune: {engine: \"x\", beta: 1}", `study.cue:7:18: base.finetune.engine: only a study with engines has it, and this one declares none (write engines: NAME: {command: ["engines/NAME"], source: ["engines/NAME"]})`, none},
		{"no engines for a model", "base: model: program: {}", `study.cue:7:14: base.model.program: only a study with engines has it, and this one declares none (write engines: NAME: {command: ["engines/NAME"], source: ["engines/NAME"]})`, none},
		{"no engines for parameters", "base: sampler: params: steps: 1", `study.cue:7:16: base.sampler.params: only a study with engines has it, and this one declares none (write engines: NAME: {command: ["engines/NAME"], source: ["engines/NAME"]})`, none},
		{"no engines for an axis", "arms: a: sweep: {\"finetune.params.x\": [1], \"finetune.engine\": [\"a\"]}", "study.cue:7:18: arms.a.sweep.\"finetune.params.x\": only a study with engines has it, and this one declares none (write engines: NAME: {command: [\"engines/NAME\"], source: [\"engines/NAME\"]})\nstudy.cue:7:44: arms.a.sweep.\"finetune.engine\": only a study with engines has it, and this one declares none (write engines: NAME: {command: [\"engines/NAME\"], source: [\"engines/NAME\"]})", none},
		{"halving", declared + paper + `halving: {by: "proxy", at: [100], keep: 0.5}`, `study.cue:17:10: halving: an engine loads the model: its training is one action, which cannot wait after some steps until the other rows are compared, because its state is not in the store (leave halving out)`, describing()},
		{"prompts of another form", declared + strings.Replace(paper, "train.txt", "train.csv", 1), `study.cue:10:19: base.prompts.train: "train.csv" is not a file of prompts (its name ends in .txt, .jsonl, .tsv)`, describing()},
		{"empty", `engines: {}`, `study.cue:7:10: engines: it is empty (leave it out, or declare an engine)`, describing()},
		{"no struct", `engines: 3`, `study.cue:7:10: engines: 3 is not a struct; must be named engines, as in diffusers: {command: ["engines/diffusers"], source: ["engines"]}`, describing()},
		{"cannot describe", `engines: a: {command: ["x"], source: ["x"]}`, `study.cue:7:10: engines.a: engines cannot be asked here what they can do (vet, plan and run ask them)`, none},
		{"does not describe", `engines: a: {command: ["./x"], source: ["x"]}`, `study.cue:7:10: engines.a: no such file: ./x`, describing()},
		{"incomplete", `engines: a: {}`, "study.cue:7:10: engines.a: has no command (write command: [\"engines/python\", \"engines/diffusers.py\"])", describing()},
		{"name", `engines: "A/b": {command: ["x"], source: ["x"]}`, `study.cue:7:10: engines."A/b": "A/b" is not a valid name of an engine (a name has lower-case letters, digits and -, and begins with a letter)`, describing()},
		{"field", `engines: clip: {command: ["x"], source: ["x"], comand: 3}`, `study.cue:7:48: engines.clip.comand: an engine has no such field (did you mean command?)`, describing()},
		{"lists", `engines: clip: {command: "x", source: []}`, "study.cue:7:26: engines.clip.command: \"x\" is not a list of strings (write command: [\"engines/python\", \"engines/diffusers.py\"])\nstudy.cue:7:39: engines.clip.source: it is empty (write source: [\"engines/*.py\", \"requirements.txt\"])", describing()},
		{"empty command", `engines: clip: {command: [""], source: ["x"]}`, `study.cue:7:27: engines.clip.command[0]: it is empty (write command: ["engines/python", "engines/diffusers.py"])`, describing()},
		{"tag", `engines: clip: {command: ["x"], container: "ghcr.io/a/b:latest"}`, `study.cue:7:44: engines.clip.container: "ghcr.io/a/b:latest" names no digest, and what a tag names may change (write IMAGE@sha256: and the digest's 64 hexadecimal digits)`, describing()},
		{"container and source", `engines: clip: {command: ["x"], source: ["x"], container: "a@sha256:0123456789012345678901234567890123456789012345678901234567890123"}`, `study.cue:7:10: engines.clip: has both source and container (leave out source: the digest of the container identifies the program)`, describing()},
		{"identity", `engines: clip: {command: ["x"], source: ["x"], identity: {source: "no", hardwar: "key"}}`, "study.cue:7:67: engines.clip.identity.source: \"no\" is not one of \"key\", \"warn\", \"record\"\nstudy.cue:7:73: engines.clip.identity.hardwar: identity has no such field (did you mean hardware?)", describing()},
		{"sandbox", `engines: clip: {command: ["x"], source: ["x"], sandbox: "all", network: ["lode"]}`, "study.cue:7:57: engines.clip.sandbox: \"all\" is not one of \"none\", \"declared\"\nstudy.cue:7:73: engines.clip.network: \"lode\" is not a verb (allowed: load, sample, train, score, embed)", describing()},
		{"resources", "engines: clip: {command: [\"x\"], source: [\"x\"]}\nresources: {clip: {score: {gpus: -1, grce: \"3m\"}, drain: {}}, clop: score: gpus: 1}", "study.cue:8:34: resources.clip.score.gpus: -1 is not valid (must be a whole number from 0 to 64)\nstudy.cue:8:44: resources.clip.score.grce: resources have no such field (did you mean grace?)\nstudy.cue:8:51: resources.clip.drain: engines have no such verb (did you mean train?)\nstudy.cue:8:63: resources.clop: the study has no such engine (did you mean clip?)", describing()},
		{"overlap", "engines: clip: {command: [\"x\"], source: [\"x\"]}\noverlap: -1\nresume: \"exact\"", "study.cue:8:10: overlap: -1 is not a number of prompts (write a whole number from 0 up)\nstudy.cue:9:9: resume: \"exact\" is not a way to resume; must be \"strict\" (leave it out to resume in every environment)", describing()},
		{"nobody's parameters", "engines: clip: {command: [\"x\"], source: [\"x\"]}\nbase: finetune: params: x: 1", `study.cue:8:25: base.finetune.params.x: no engine of the study can train (leave it out, or declare the engine)`, describing()},
		{"parameters without an engine", "engines: clip: {command: [\"x\"], source: [\"x\"]}\narms: a: set: reward: program: params: size: 1", "study.cue:8:23: reward.program.engine: is missing (must be a string that is not empty)\nstudy.cue:8:23: reward.program.column: is missing (must be a string that is not empty)\nstudy.cue:8:46: arms.a.set.reward.program.params.size: the arm's trials do not use it: reward.program.engine is not set", describing()},
		{"flags", declared + paper, "--set finetune.params.lerning_rate=1: finetune.params.lerning_rate: engine diffusers has no such parameter for train (did you mean learning_rate?)\n--set finetune.params.steps=0: finetune.params.steps: 0: must be a whole number >= 1 and <= 1000000 (engine diffusers)\n--set reward.program.engine=clop: reward.program.engine: the study has no engine \"clop\" (did you mean clip?)\n--set sampler.params={step: 3}: sampler.params.step: engine diffusers has no such parameter for sample (did you mean steps?)", describing("finetune.params.lerning_rate=1", "finetune.params.steps=0", "finetune.params.method=dpo", "sampler.params={step: 3}", "reward.program.engine=clop")},
		{"column", declared + paper + "arms: a: set: evaluate: gold: {engine: \"clip\"}", `study.cue:15:47: base.evaluate.gold.column: engine clip gives no column "correct" (allowed: pickscore, similarity)`, describing()},
		{"group without its column", declared + strings.Replace(paper, `, column: "correct"`, "", 1), `study.cue:15:13: evaluate.gold.column: is missing (must be a string that is not empty)`, describing()},
		{"group without its engine", declared + strings.Replace(paper, `engine: "geneval", `, "", 1), `study.cue:15:13: evaluate.gold.engine: is missing (must be a string that is not empty)`, describing()},
		{"learned without features", declared + strings.Replace(paper, `reward: program: {engine: "clip", column: "pickscore"}`, "", 1), `study.cue:9:27: model.program.engine: a reward is learned on the features of an engine, and reward.features names none (set reward.features, or reward.program for published scores, or reward.loss to "none")`, describing()},
		{"labels without gold", declared + strings.Replace(strings.Replace(paper, "labelled: 0", "labelled: 5", 1), `gold: {engine: "geneval", column: "correct"}, `, "", 1), `study.cue:12:23: feedback.labelled: the labels of images are verdicts of evaluate.gold, which is not set (set evaluate.gold, or feedback.labelled to 0)`, describing()},
		{"no trainer", declared + strings.Replace(paper, `engine: "diffusers", pretraining: "data", params: {steps: 2000, lora: rank: 8}`, `rows: "all"`, 1), `study.cue:9:27: model.program.engine: a model that an engine loads is fine-tuned by an engine, and finetune.engine names none (set finetune.engine, or finetune.method to "none")`, describing()},
		{"pretraining data", declared + strings.Replace(paper, `pretraining: "data", `, "", 1), `study.cue:14:21: finetune.pretraining: is missing, and engine diffusers trains on pretraining data where beta is 0.5 (name a folder of images with captions)`, describing()},
		{"reference without features", declared + strings.Replace(paper, `features: engine: "clip", `, "", 1), `study.cue:15:70: evaluate.reference: real images are compared by the features of an engine, and evaluate.features names none (set evaluate.features)`, describing()},
		{"oracle", declared + strings.Replace(paper, `gold: {engine: "geneval", column: "correct"}, `, "", 1) + "arms: a: set: reward: loss: \"oracle\"", `study.cue:17:29: reward.loss: reward.loss is "oracle", and evaluate.gold, whose verdicts it takes, is not set (set evaluate.gold)`, describing()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := mistakes(t, "seeds: [1]\n"+tc.body, tc.o)
			if d := cmp.Diff(strings.Split(tc.want, "\n"), got); d != "" {
				t.Errorf("mismatch (-want +got):\n%s", d)
			}
		})
	}
}

// TestSweptEngine: the engine itself is an axis. Each point has the parameters, types and defaults
// of its engine. What the arm sets beside the axis is for all engines; what the base sets is for
// the base's engine alone.
func TestSweptEngine(t *testing.T) {
	s := loadEngines(t, `arms: {
	a: {set: finetune: params: learning_rate: 1e-3, sweep: "finetune.engine": ["diffusers", "other"]}
	b: {sweep: {"finetune.engine": ["diffusers", "other"], "finetune.params.steps": [7, 8]}, where: finetune: {engine: string, params: steps: <8}}
	c: zip: {"finetune.engine": ["diffusers", "other"], "finetune.params.learning_rate": [1, 2]}
	d: {sweep: "finetune.engine": ["diffusers", "other"], where: finetune: params: learning_rate: <0.1} // by its default
}`)
	var got []string
	for _, v := range s.Views {
		got = append(got, v.Row()+": "+strings.ReplaceAll(strings.Join(v.Trial.Content.Lines("finetune.params"), "; "), "finetune.params.", ""))
	}
	want := []string{
		`a[finetune.engine=diffusers]: beta 0.5; learning_rate 0.001; lora.alpha 16; lora.rank 8; method "reward-weighted"; steps 2000`,
		`a[finetune.engine=other]: learning_rate 0.001; steps 50.5; workers true`,
		`b[finetune.engine=diffusers,finetune.params.steps=7]: beta 0.5; learning_rate 0.0001; lora.alpha 16; lora.rank 8; method "reward-weighted"; steps 7`,
		`b[finetune.engine=other,finetune.params.steps=7]: learning_rate 0.5; steps 7; workers true`,
		`c[finetune.engine=diffusers,finetune.params.learning_rate=1]: beta 0.5; learning_rate 1; lora.alpha 16; lora.rank 8; method "reward-weighted"; steps 2000`,
		`c[finetune.engine=other,finetune.params.learning_rate=2]: learning_rate 2; steps 50.5; workers true`,
		`d[finetune.engine=diffusers]: beta 0.5; learning_rate 0.0001; lora.alpha 16; lora.rank 8; method "reward-weighted"; steps 2000`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	if len(s.Excluded) != 3 || s.Excluded[1].String() != "b[finetune.engine=other,finetune.params.steps=8]" {
		t.Errorf("excluded %v", s.Excluded)
	}
}

// TestUnusedParameter: a parameter that an engine does not use does not identify a trial, and one
// that it only records neither.
func TestUnusedParameter(t *testing.T) {
	s := loadEngines(t, `arms: {
	full: set: finetune: params: lora: rank: 0
	ranks: sweep: {"finetune.params.lora.rank": [0, 4], "finetune.params.lora.alpha": [1, 2]}
	workers: sweep: "finetune.params.workers": [1, 2, 3]
	beta: set: finetune: params: beta: 0
	keyed: set: finetune: {engine: "other", params: workers: false}
}`)
	rows := map[string]language.Trial{}
	for _, v := range s.Views {
		rows[v.Row()] = v.Trial
	}
	if rows["full"].ID() != rows["ranks[finetune.params.lora.rank=0]"].ID() || s.Collapsed != 1+2 {
		t.Errorf("alpha identifies a trial of rank 0: rows %v, %d collapsed", slices.Sorted(maps.Keys(rows)), s.Collapsed)
	}
	if _, ok := rows["full"].Content.Value("finetune.params.lora.alpha"); ok {
		t.Error("alpha is used at rank 0")
	}
	one := rows["workers[finetune.params.workers=1]"]
	if v, ok := one.Content.Value("finetune.params.workers"); v != int64(1) || !ok {
		t.Errorf("a recorded parameter is %v, want 1", v)
	}
	if lines := strings.Join(one.Content.Lines(), "\n"); strings.Contains(lines, "workers") {
		t.Errorf("a recorded parameter has a line:\n%s", lines)
	}
	if base := (language.Trial{Content: s.Base, Seed: s.Seeds[0]}); base.ID() != one.ID() || s.Base.Without("seed") != one.Content.Without("seed") || s.Base.Training() != one.Content.Training() {
		t.Error("a recorded parameter identifies a trial")
	}
	if v, ok := rows["beta"].Content.Value("finetune.pretraining"); ok {
		t.Errorf("pretraining data %v is used at beta 0", v)
	}
	if lines := rows["keyed"].Content.Lines("finetune.params.workers"); len(lines) != 1 || lines[0] != "finetune.params.workers false" {
		t.Errorf("a parameter that another engine only records has the lines %q", lines)
	}
}

// TestEngineReply: what a study says of engines reaches the process that asked for it, zeros
// included, and is in the study's digest.
func TestEngineReply(t *testing.T) {
	body := "overlap: 3\nresume: \"strict\"\nresources: diffusers: train: {gpus: 0, memory: \"70GiB\", grace: \"3m\"}\n" + `arms: {
	a: sweep: {"finetune.params.workers": [1], "finetune.params.lora.rank": [0, 4]}
	b: set: finetune: {engine: "flowfactory", params: trainer: "nft"}
}`
	root := module(t, map[string]string{"s/study.cue": head + "seeds: [1, 2]\n" + declared + paper + body + "\n}\n",
		"machine.cue": `engines: diffusers: {command: ["apptainer", "x"], env: HF_HOME: "/hf", kill: ["kill", "{action}"], resources: train: {gpus: 2, grace: "1m"}}`})
	s, err := language.Load(filepath.Join(root, "s"), describing())
	if err != nil {
		t.Fatal(err)
	}
	if s.Overlap != 3 || s.Resume != "strict" || len(s.EngineResources) != 1 || *s.EngineResources[0].GPUs != 0 || s.EngineResources[0].Grace != "3m" ||
		len(s.Engines) != 6 || s.Engines[0].Identity != (language.Identity{Source: "key", Environment: "warn", Hardware: "record"}) || s.Engines[0].Where.Path != "engines.diffusers" {
		t.Errorf("%+v", s)
	}
	if m := s.MachineEngines; len(m) != 1 || m[0].Command[1] != "x" || m[0].Env["HF_HOME"] != "/hf" || m[0].Kill[1] != "{action}" || *m[0].Resources[0].GPUs != 2 {
		t.Errorf("machine %+v", m)
	}
	var b bytes.Buffer
	if err := language.WriteReply(&b, s, nil); err != nil {
		t.Fatal(err)
	}
	got, err := language.ReadReply(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(language.Trial{}), cmp.Comparer(func(a, b language.Content) bool {
		return cmp.Equal(a.Lines(), b.Lines()) && cmp.Equal(a.Params("finetune.params"), b.Params("finetune.params"))
	})); d != "" {
		t.Errorf("the study that was read (-want +got):\n%s", d)
	}
	if d := cmp.Diff(s.Axes(), got.Axes()); d != "" {
		t.Errorf("its axes (-want +got):\n%s", d)
	}
	first, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := got.Digest(); err != nil || first != second {
		t.Errorf("digest %x became %x, %v", first, second, err)
	}
	got.Engines[0].Sandbox = "declared"
	if third, err := got.Digest(); err != nil || first == third {
		t.Errorf("the digest of another sandbox is the same, %v", err)
	}
}

// TestDescribeOnce: each engine is asked once, in the study's order, and before the base is read.
func TestDescribeOnce(t *testing.T) {
	var asked []string
	alive := 0
	_, err := language.Load(study(t, "seeds: [1]\n"+declared+"base: finetune: betta: 1"), language.Options{
		Alive: func() { alive++ },
		Describe: func(_ *language.Study, e language.Engine) (*language.Program, error) {
			asked = append(asked, e.Name)
			before := alive
			return programs[e.Name], map[bool]error{true: errors.New("nobody is alive")}[before == 0]
		}})
	if d := cmp.Diff([]string{"diffusers", "flowfactory", "other", "peftonly", "clip", "geneval"}, asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	if err == nil || !strings.Contains(err.Error(), "did you mean beta?") || strings.Contains(err.Error(), "nobody") {
		t.Error(err)
	}
}

// TestWalls: an arm that is a control may learn from the gold, and other scorers are no gold.
func TestWalls(t *testing.T) {
	paper := strings.Replace(paper, `"correct"`, `"vqa"`, 1)
	if _, err := language.Load(study(t, "seeds: [1]\n"+declared+paper+`arms: {
	a: {set: reward: program: {engine: "geneval", column: "vqa"}, control: true}
	b: set: evaluate: gold: {engine: "clip", column: "similarity"}
	c: set: evaluate: gold: {engine: "clip", column: "pickscore", params: model: "large"}
}`), describing()); err != nil {
		t.Fatal(err)
	}
	got := mistakes(t, "seeds: [1]\n"+declared+paper+`arms: {
	a: {set: reward: program: {engine: "geneval", column: "vqa"}}
	b: set: {}
}`, describing())
	want := []string{"study.cue:15:13: base.evaluate.gold: geneval's vqa is the reward too, and a scorer that trains is no gold (mark the arm control: true)"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
	// Another size, or another name of the engine, makes no other scorer.
	for name, arm := range map[string]string{"clip": `{engine: "clip", column: "pickscore", params: size: 336}`, "again": `{engine: "again", column: "pickscore"}`} {
		o := describing()
		o.Describe = func(_ *language.Study, e language.Engine) (*language.Program, error) {
			return programs[map[bool]string{true: "clip", false: e.Name}[e.Name == "again"]], nil
		}
		got := mistakes(t, "seeds: [1]\n"+strings.TrimSuffix(declared, "}\n")+`again: {command: ["x"], source: ["x"]}}`+"\n"+paper+"arms: c: set: evaluate: gold: "+arm, o)
		if len(got) != 1 || !strings.Contains(got[0], "arms.c.set.evaluate.gold: "+name+"'s pickscore is the reward too") {
			t.Errorf("%s: %q", arm, got)
		}
	}
}

// TestEngineArms: the arms of the paper on an engine's model are valid trials, and differ in what
// they say alone.
func TestEngineArms(t *testing.T) {
	s := loadEngines(t, `arms: {
	all: set: {}
	pretrained: set: finetune: method: "none"
	best: set: {finetune: method: "none", evaluate: bestOf: 4}
	ones: set: reward: loss: "none"
	oracle: set: reward: loss: "oracle"
	filtered: set: finetune: {rows: "filtered", filtered: fraction: 0.2}
	learned: set: {reward: {features: engine: "clip", loss: "cross-entropy"}, feedback: labelled: 100}
	"learned best": set: {reward: {features: engine: "clip", loss: "mse"}, feedback: labelled: 100, finetune: method: "none", evaluate: bestOf: 2}
	NFT: set: finetune: {engine: "flowfactory", params: {trainer: "nft", epochs: 100}}
	faster: set: {finetune: params: learning_rate: 1e-3, sampler: params: steps: 5}
}
compare: reference: "all"`)
	lines := func(row string, prefixes ...string) string {
		for _, v := range s.Views {
			if v.Row() == row {
				return strings.Join(v.Trial.Content.Lines(prefixes...), "; ")
			}
		}
		t.Fatalf("no row %s", row)
		return ""
	}
	for _, tc := range []struct{ row, prefix, want string }{
		{"pretrained", "finetune", `finetune.method "none"`},
		{"pretrained", "reward", ``},
		{"pretrained", "feedback", ``},
		{"pretrained", "prompts", `prompts.evaluate "evaluate.jsonl"`},
		{"best", "feedback", ``},
		{"best", "prompts", `prompts.evaluate "evaluate.jsonl"`},
		{"best", "reward", `reward.program.column "pickscore"; reward.program.engine "clip"; reward.program.params.model "vit"; reward.program.params.size 224`},
		{"ones", "reward", `reward.loss "none"`},
		{"oracle", "reward", `reward.loss "oracle"`},
		{"filtered", "finetune.filtered", `finetune.filtered.by "fraction"; finetune.filtered.fraction 0.2`},
		{"filtered", "finetune.rows", `finetune.rows "filtered"`},
		{"all", "finetune.filtered", ``},
		{"learned", "reward.features", `reward.features.engine "clip"; reward.features.params.network "vit"`},
		{"learned", "reward.loss", `reward.loss "cross-entropy"`},
		{"learned", "reward.program", ``},
		{"learned", "feedback", `feedback.labelled 100; feedback.parser.noise 0.08; feedback.unlabelled 2000`},
		{"learned best", "feedback", `feedback.labelled 100; feedback.parser.noise 0.08`},
	} {
		if got := lines(tc.row, tc.prefix); got != tc.want {
			t.Errorf("%s: %s is %q, want %q", tc.row, tc.prefix, got, tc.want)
		}
	}
	want := []language.Confounded{{"best", []string{"evaluate.bestOf", "finetune.method"}},
		{"learned", []string{"feedback.labelled", "reward.loss"}},
		{"learned best", []string{"evaluate.bestOf", "feedback.labelled", "finetune.method", "reward.loss"}}, {"faster", []string{"finetune.params.learning_rate", "sampler.params.steps"}}}
	if d := cmp.Diff(want, s.Confounded); d != "" {
		t.Errorf("confounded (-want +got):\n%s", d)
	}
}

// TestEngineFlags: --set changes parameters and engines as the base does.
func TestEngineFlags(t *testing.T) {
	s := loadEngines(t, "", "finetune.params.method=dpo", "finetune.params.lora={rank: 4}", "sampler.params.guidance=3", "model.program.params.name=3")
	if got := strings.Join(s.Base.Lines("finetune.params.method", "finetune.params.lora", "sampler.params.guidance", "model.program.params.name"), "; "); got !=
		`finetune.params.lora.alpha 16; finetune.params.lora.rank 4; finetune.params.method "dpo"; model.program.params.name "3"; sampler.params.guidance 3` {
		t.Error(got)
	}
	s = loadEngines(t, "", "finetune.engine=other")
	if got := strings.Join(s.Base.Lines("finetune.params"), "; "); got != `finetune.params.learning_rate 0.5; finetune.params.steps 50.5; finetune.params.workers true` {
		t.Error(got)
	}
}

// TestEngineSchema: the generated definitions are those of the golden file, refuse what the
// reader refuses, and change nothing of a study that uses them.
func TestEngineSchema(t *testing.T) {
	s := loadEngines(t, "")
	src, err := s.EngineSchema("diffusers")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/engine.cue", src)
	ctx := cuecontext.New()
	v := ctx.CompileString(src)
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	train := v.LookupPath(cue.ParsePath("#diffusers.train"))
	for text, good := range map[string]bool{
		`{steps: 1, learning_rate: 1e-3, lora: rank: 0, method: "dpo"}`: true, `{}`: true, `{beta: 1}`: true,
		`{lerning_rate: 1}`: false, `{learning_rate: 0}`: false, `{steps: 1.5}`: false, `{method: "x"}`: false, `{lora: rnk: 1}`: false, `{steps: 2e6}`: false,
	} {
		if err := train.Unify(ctx.CompileString(text)).Validate(); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	body := strings.Replace(paper, "params: {steps: 2000, lora: rank: 8}", "params: parameters.#diffusers.train & {steps: 2000, lora: rank: 8}", 1)
	root := module(t, map[string]string{"parameters/diffusers.cue": src, "s/study.cue": strings.Replace(head, "import", "import \"example.com/mine/parameters\"\nimport", 1) + "seeds: [1]\n" + declared + body + "}\n"})
	with, err := language.Load(filepath.Join(root, "s"), describing())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Base.Lines(), with.Base.Lines()); d != "" {
		t.Errorf("a study with the definitions (-want +got):\n%s", d)
	}
	sections, err := s.EngineReference("diffusers")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, section := range sections {
		lines = append(lines, section.Name+": "+section.Doc)
		for _, f := range section.Fields {
			lines = append(lines, strings.TrimSpace(f.String()))
		}
	}
	golden(t, "testdata/engine.txt", strings.Join(lines, "\n")+"\n")
	if _, err := s.EngineSchema("difusers"); err == nil || !strings.Contains(err.Error(), "did you mean diffusers?") {
		t.Errorf("an unknown engine: %v", err)
	}
}

// TestMachineMistakes pins messages about engines in the file of the site.
func TestMachineMistakes(t *testing.T) {
	root := module(t, map[string]string{"s/study.cue": head + "seeds: [1]\n}\n", "machine.cue": `resources: draw: grace: "1m"
engines: {
	clip: {comand: ["x"], env: A: 3, resources: {score: {gpus: 1, grace: "soon"}, drain: {}}}
	"B": kill: []
}
`})
	_, err := language.Load(filepath.Join(root, "s"), describing())
	want := []string{
		`machine.cue:1:25: resources.draw.grace: resources have no such field (allowed: cpus, gpus, memory, gpuMemory, time)`,
		`machine.cue:3:9: engines.clip.comand: engines have no such field here (did you mean command?)`,
		`machine.cue:3:32: engines.clip.env.A: 3 is not a string`,
		`machine.cue:3:71: engines.clip.resources.score.grace: "soon" is not valid (must be a time such as "3m")`,
		`machine.cue:3:80: engines.clip.resources.drain: engines have no such verb (did you mean train?)`,
		`machine.cue:4:2: engines.B: "B" is not a valid name of an engine (a name has lower-case letters, digits and -, and begins with a letter)`,
		`machine.cue:4:13: engines.B.kill: it is empty (write kill: ["docker", "kill", "{action}"])`,
	}
	if err == nil {
		t.Fatal("no mistakes")
	}
	if d := cmp.Diff(strings.Join(want, "\n"), strings.ReplaceAll(err.Error(), root+string(filepath.Separator), "")); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

// TestWholeStudy: a study of published engines, as a researcher writes it.
func TestWholeStudy(t *testing.T) {
	s, err := language.Load(study(t, `
	seeds: [1, 2, 3]
	engines: {
		diffusers: {command: ["engines/python", "engines/diffusers.py"], source: ["engines/*.py", "requirements.txt"]}
		geneval: {command: ["engines/geneval/run"], source: ["engines/geneval"], identity: environment: "key"}
		clip: {command: ["engines/python", "engines/clip.py"], source: ["engines/*.py", "requirements.txt"]}
		flowfactory: {command: ["engines/flowfactory"], sandbox: "declared", network: ["load"],
			container: "ghcr.io/x/flow-factory@sha256:0123456789012345678901234567890123456789012345678901234567890123"}
	}
	resources: diffusers: {sample: gpus: 1, train: {gpus: 4, memory: "70GiB", time: "6h", grace: "3m"}}
	base: {
		model: program: {engine: "diffusers", params: name: "stable-diffusion-v1-5"}
		prompts: {train: "prompts/compbench-train.txt", evaluate: "prompts/geneval.jsonl"}
		sampler: params: {steps: 30, guidance: 7.5}
		feedback: {labelled: 0, unlabelled: 20_000}
		reward: program: {engine: "clip", column: "pickscore"}
		finetune: {engine: "diffusers", pretraining: "data/aesthetic", params: {method: "reward-weighted", beta: 0.5, steps: 2000, lora: rank: 16}}
		evaluate: {images: 2212, gold: {engine: "geneval", column: "correct"}, features: {engine: "clip", params: network: "inception-v3"}, reference: "data/coco-val"}
	}
	arms: {
		"pretrained": set: finetune: method: "none"
		"rate": sweep: "finetune.params.learning_rate": [1e-5, 3e-5, 1e-4]
		"no pretraining data": set: finetune: params: beta: 0
		"Flow-Factory NFT": set: finetune: {engine: "flowfactory", params: {trainer: "nft", epochs: 100}}
	}`), describing())
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Engines; len(s.Views) != 18 || e[1].Identity.Environment != "key" || e[3].Sandbox != "declared" || e[3].Network[0] != "load" || !strings.HasPrefix(e[3].Container, "ghcr.io/x") {
		t.Errorf("%d views of %+v", len(s.Views), s.Engines)
	}
	var needs []string
	for _, r := range s.EngineResources {
		needs = append(needs, fmt.Sprintf("%s %s %d %s %s %s", r.Engine, r.Verb, *r.GPUs, r.Memory, r.Time, r.Grace))
	}
	if d := cmp.Diff([]string{"diffusers sample 1   ", "diffusers train 4 70GiB 6h 3m"}, needs); d != "" {
		t.Errorf("needs (-want +got):\n%s", d)
	}
	if s.Confounded != nil {
		t.Errorf("confounded: %v", s.Confounded)
	}
}
