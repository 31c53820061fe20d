package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/modeltest"
	"ablate/runner/engine"
	"ablate/runner/stage"
	"ablate/runner/world"
)

// TestMain makes the test's program the engine where a test asks for it.
func TestMain(m *testing.M) {
	if os.Getenv("ABLATE_TEST_ENGINE") == "" {
		os.Exit(m.Run())
	}
	if err := runs(context.Background(), os.Args[1:], virtual); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// virtual opens XLA as engines do or, for GPUs, on so many virtual devices of the CPU.
func virtual(gpus int) (backend.Backend, error) {
	if gpus == 0 {
		return open(0)
	}
	path, _, err := backend.PluginPath()
	if err != nil {
		return nil, err
	}
	return backend.Open(backend.Choice{Name: backend.CPU, Plugin: path, Devices: min(gpus, 3)})
}

// opened returns XLA as engines open it, for all tests of the process: XLA reads its settings when
// it is loaded, and the bytes of results depend on them.
func opened(t *testing.T) backend.Backend {
	t.Helper()
	modeltest.Plugin(t) // skips the test where there is none
	b, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var once = sync.OnceValues(func() (backend.Backend, error) {
	if err := os.Setenv("OMP_NUM_THREADS", "1"); err != nil {
		return nil, err
	}
	return open(0)
})

// program returns the engine as a program of its own, with its description.
func program(t *testing.T) (*engine.Engine, *engine.Description) {
	t.Helper()
	plugin := modeltest.Plugin(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := &engine.Engine{Name: "native", Command: []string{self}, Env: map[string]string{"ABLATE_TEST_ENGINE": "1", "ABLATE_PJRT_PLUGIN": plugin}}
	d, err := e.Describe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return e, d
}

// TestProbe: the engine keeps its promises about images and trainings; a script of runner/cli
// checks the other verbs. That each parameter of a training has an effect takes a minute, and is
// checked if ABLATE_TEST_LONG is 1.
func TestProbe(t *testing.T) {
	e, d := program(t)
	v, err := engine.Probe(t.Context(), e, d, engine.ProbeOptions{Dir: filepath.Join(t.TempDir(), "tasks"), CPUs: 1, Only: func(c engine.Check) bool {
		return (c.Verb == engine.Sample || c.Verb == engine.Train) && (c.Verb == engine.Sample || os.Getenv("ABLATE_TEST_LONG") == "1" || c.Name != "each parameter changes the result")
	}})
	if err != nil {
		t.Fatal(err)
	}
	passed := passes(t, v)
	if want := 9 + 6; passed < want {
		t.Errorf("%d checks passed, want at least %d", passed, want)
	}
}

// passes returns the number of checks that a probe has passed, and fails for those that are broken.
func passes(t *testing.T, v *engine.Verdict) int {
	t.Helper()
	passed := 0
	for _, c := range v.Checks {
		switch c.Outcome {
		case engine.Passed:
			passed++
		case engine.Broken:
			t.Errorf("%s: %s", c.Name, c.Found)
		}
		t.Logf("%s: %s %s (%.1f s)", c.Name, c.Outcome, c.Found, c.Seconds)
	}
	return passed
}

// TestIdentity: the identity changes with the revision of every stage that computes or loads something.
func TestIdentity(t *testing.T) {
	identity := ", " + describe().Identity + ","
	for _, k := range []stage.Kind{stage.Draw, stage.Judge, stage.Embed, stage.Finetune} {
		if want := fmt.Sprintf(", %s %d,", k, k.Def().Revision); !strings.Contains(identity, want) {
			t.Errorf("%q lacks %q", identity, want)
		}
	}
}

// A door is a test of what the engine does with tasks.
type door struct {
	*testing.T
	e *engine.Engine
	d *engine.Description
}

// do does a task, and returns its folder of outputs.
func (d door) do(q engine.Task, params string) (string, error) {
	d.Helper()
	q.Spec, q.Action, q.Attempt, q.CPUs, q.Grace = d.d.Verbs[q.Verb], "test", 1, 1, time.Minute
	var err error
	if q.Params, err = q.Spec.Complete(json.RawMessage(params)); err != nil {
		d.Fatal(err)
	}
	dir := filepath.Join(d.TempDir(), "task")
	_, err = d.e.Run(d.Context(), q, dir, engine.Options{})
	return filepath.Join(dir, "out"), err
}

// must is do for tasks that have to succeed.
func (d door) must(q engine.Task, params string) string {
	d.Helper()
	out, err := d.do(q, params)
	if err != nil {
		d.Fatal(err)
	}
	return out
}

// stage runs a stage itself.
func (d door) stage(env *stage.Env, kind stage.Kind, params any, inputs map[string]string) string {
	d.Helper()
	p, err := json.Marshal(params)
	if err != nil {
		d.Fatal(err)
	}
	out := d.TempDir()
	if err := stage.Run(d.Context(), env, stage.Task{Kind: kind, Params: p, Inputs: inputs, Out: out}, nil); err != nil {
		d.Fatal(err)
	}
	return out
}

// tensors reads a file of weights. Its bytes have another order of fields in the header, because
// outputs of engines are sealed.
func (d door) tensors(name string) map[string]checkpoint.Tensor {
	d.Helper()
	x, err := checkpoint.ReadFile(name)
	if err != nil {
		d.Fatal(err)
	}
	return x
}

func (d door) read(name string) []byte {
	d.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		d.Fatal(err)
	}
	return b
}

// TestParity: for the same model, prompts and seeds the engine draws the images that the stage
// draws, and from the same data and seed it trains the same weights.
func TestParity(t *testing.T) {
	e, desc := program(t)
	d := door{t, e, desc}
	env := stage.NewEnv(opened(t))

	base := filepath.Join(d.must(engine.Task{Verb: engine.Load}, `{"from": "random", "seed": 3}`), "checkpoint")
	texts, list := t.TempDir(), []stage.Prompt{}
	var rows []engine.Row
	for i, text := range []string{"two red circles", "one green bar on a white background", "yellow shapes"} {
		list = append(list, stage.Prompt{Prompt: text, Seed: int64(70 + i)})
		rows = append(rows, engine.Row{Index: i, Prompt: text, Seed: int64(70 + i)})
	}
	if err := stage.WritePrompts(texts, list); err != nil {
		t.Fatal(err)
	}
	model := engine.TaskInput{ID: "base", Files: base}

	q := stage.DrawParams{}
	q.Sampler.Steps, q.Sampler.Shift, q.Sampler.Batch = 4, 1.5, drawBatch
	drawn := d.stage(env, stage.Draw, q, map[string]string{stage.ModelInput: base, stage.PromptsInput: texts})
	want, err := stage.Only(stage.ReadImages(drawn))
	if err != nil {
		t.Fatal(err)
	}
	pictures := filepath.Join(d.must(engine.Task{Verb: engine.Sample, Inputs: map[string]engine.TaskInput{
		engine.CheckpointRole: model, engine.PromptsRole: {ID: "prompts", Rows: rows}}}, `{"steps": 4}`), "images")
	for i := range rows {
		rows[i].Seed, rows[i].File = 0, fmt.Sprintf("files/%d.png", i)
		got, err := readPicture(filepath.Join(pictures, fmt.Sprintf("%d.png", i)))
		if err != nil || !bytes.Equal(got, want.Images[i*world.Pixels:(i+1)*world.Pixels]) {
			t.Errorf("image %d differs from that of the stage (%v)", i, err)
		}
	}

	// Training, with pretraining pairs of a seed: the stage renders them, the engine is given
	// their pictures.
	const seed, pairs = 9, 6
	scores, captions := t.TempDir(), stage.DataParams{Pairs: pairs}.Captions
	given := []float32{1, .25, .5}
	for i := range rows {
		x := float64(given[i])
		rows[i].Score = &x
	}
	if err := stage.WriteScores(scores, []stage.ScoreSet{{Scores: given}}); err != nil {
		t.Fatal(err)
	}
	real, said := world.Shapes().Images.Pairs(5, pairs, captions)
	folder := t.TempDir()
	var pretraining []engine.Row
	for i, text := range said {
		if err := writePicture(filepath.Join(folder, fmt.Sprintf("%d.png", i)), world.Picture(real, i)); err != nil {
			t.Fatal(err)
		}
		pretraining = append(pretraining, engine.Row{Index: i, Prompt: text, File: fmt.Sprintf("files/%d.png", i)})
	}
	p := trainParams{Beta: .5, Steps: 4, Batch: 4, LearningRate: .01, Warmup: 1, Schedule: "linear"}
	r, err := p.recipe()
	if err != nil {
		t.Fatal(err)
	}
	tuned := d.stage(env, stage.Finetune, stage.FinetuneParams{Seed: seed, PretrainingSeed: 5, Data: stage.DataParams{Pairs: pairs, Captions: captions},
		Mix: stage.Mix{Unlabelled: 1, Pretraining: 1}, Recipe: r, Checkpoints: 2}, map[string]string{stage.ModelInput: base,
		stage.Of(stage.UnlabelledList, stage.PromptsInput): texts, stage.Of(stage.UnlabelledList, stage.ImagesInput): drawn, stage.Of(stage.UnlabelledList, stage.ScoresInput): scores})
	task := engine.Task{Verb: engine.Train, Seeds: map[string]int64{stream: seed}, Keep: []int{2, 4}, Inputs: map[string]engine.TaskInput{
		engine.BaseRole: model, engine.ImagesRole: {ID: "images", Files: pictures, Rows: rows}, engine.PretrainingRole: {ID: "real", Files: folder, Rows: pretraining}}}
	const params = `{"beta": 0.5, "steps": 4, "batch": 4, "learning_rate": 0.01, "warmup": 1}`
	trained := d.must(task, params)
	weights := filepath.Join("transformer", "diffusion_pytorch_model.safetensors")
	for from, to := range map[string]string{"checkpoint": "", "steps/2": "steps/2", "steps/4": ""} {
		if diff := cmp.Diff(d.tensors(filepath.Join(tuned, to, weights)), d.tensors(filepath.Join(trained, from, weights))); diff != "" {
			t.Errorf("the weights of %s differ from those of the stage", from)
		}
	}
	if cmp.Equal(d.tensors(filepath.Join(trained, "steps/2", weights)), d.tensors(filepath.Join(trained, "steps/4", weights))) {
		t.Error("two steps more change nothing")
	}
	curve, err := engine.ReadCurve(filepath.Join(trained, "curves"))
	if err != nil {
		t.Fatal(err)
	}
	if last := curve[len(curve)-1]; last.Step != 4 || last.Metrics["loss"] <= 0 || last.Metrics["effective_sample_size"] <= 0 {
		t.Errorf("the curve ends with %+v", last)
	}

	// A checkpoint that a study keeps is as whole as the last one.
	sampled := d.must(engine.Task{Verb: engine.Sample, Inputs: map[string]engine.TaskInput{
		engine.CheckpointRole: {ID: "tuned", Files: filepath.Join(trained, "steps/2"), Base: "checkpoint.base"}, "checkpoint.base": model,
		engine.PromptsRole: {ID: "prompts", Rows: []engine.Row{{Index: 7, Prompt: "two bars", Seed: 5}, {Index: 9, Prompt: "two cats", Seed: 6}}}}}, `{"steps": 4}`)
	if got := string(d.read(filepath.Join(sampled, "images", "rows.jsonl"))); !strings.Contains(got, `{"index":7,"file":"7.png"}`) || !strings.Contains(got, `{"index":9,"error":`) {
		t.Errorf("a prompt that cannot be read is the error of its row: %s", got)
	}

	// A low-rank update is a checkpoint of another format.
	low := d.must(task, strings.Replace(params, "}", `, "rank": 2}`, 1))
	redrawn := d.must(engine.Task{Verb: engine.Sample, Inputs: map[string]engine.TaskInput{
		engine.CheckpointRole: {ID: "low", Files: filepath.Join(low, "checkpoint"), Base: "checkpoint.base"}, "checkpoint.base": model,
		engine.PromptsRole: {ID: "prompts", Rows: []engine.Row{{Index: 0, Prompt: rows[0].Prompt, Seed: 70}}}}}, `{"steps": 4}`)
	if about, err := engine.ReadCheckpoint(filepath.Join(low, "checkpoint")); err != nil || about.Format != "adapter" || *about.Base != "base" {
		t.Errorf("the checkpoint of a low-rank update is %+v, %v", about, err)
	}
	if bytes.Equal(d.read(filepath.Join(redrawn, "images", "0.png")), d.read(filepath.Join(pictures, "0.png"))) {
		t.Error("a low-rank update changes no image")
	}

	// A checkpoint folder is read where it is, for images, scores and features alike.
	folder = t.TempDir()
	if err := stage.WriteRandom(folder, 3); err != nil {
		t.Fatal(err)
	}
	from := fmt.Sprintf(`{"from": "folder", "folder": %q}`, folder)
	if about, err := engine.ReadCheckpoint(filepath.Join(d.must(engine.Task{Verb: engine.Load}, from), "checkpoint")); err != nil || about.Root != folder || len(about.Files) < 7 {
		t.Errorf("the checkpoint of a folder is %+v, %v", about, err)
	}
	images := map[string]engine.TaskInput{engine.ImagesRole: {ID: "images", Files: pictures, Rows: rows}}
	scored := d.read(filepath.Join(d.must(engine.Task{Verb: engine.Score, Inputs: images}, from), "scores", "rows.jsonl"))
	if again := d.read(filepath.Join(d.must(engine.Task{Verb: engine.Score, Inputs: images}, `{"from": "random", "seed": 3}`), "scores", "rows.jsonl")); !bytes.Equal(scored, again) {
		t.Errorf("the scores by a folder are %s, by the same weights %s", scored, again)
	}
	wording := map[string]engine.TaskInput{engine.TextsRole: {ID: "texts", Rows: []engine.Row{{Index: 0, Prompt: "two cats"}, {Index: 1, Prompt: rows[1].Prompt}}}}
	read, err := engine.ReadFeatures(filepath.Join(d.must(engine.Task{Verb: engine.Embed, Inputs: wording}, from), "features"), wording[engine.TextsRole].Rows)
	if err != nil || read.Errors[0] == "" || read.Errors[1] != "" {
		t.Errorf("features of prompts: %+v, %v", read, err)
	}

	// What cannot be trained on is refused, by the row.
	for want, change := range map[string]func(*engine.Task, *engine.Row){
		`images: row 1: `:                    func(_ *engine.Task, r *engine.Row) { r.Prompt = "two cats" },
		"images: row 1 has no score":         func(_ *engine.Task, r *engine.Row) { r.Score = nil },
		"keep: [1 4]; must be evenly spaced": func(q *engine.Task, _ *engine.Row) { q.Keep = []int{1, 4} },
	} {
		q := task
		in := q.Inputs[engine.ImagesRole]
		in.Rows = slices.Clone(in.Rows)
		q.Inputs = maps.Clone(q.Inputs)
		change(&q, &in.Rows[1])
		q.Inputs[engine.ImagesRole] = in
		var refused *engine.TaskError
		if _, err := d.do(q, params); !errors.As(err, &refused) || refused.Status != engine.Refused || !strings.Contains(refused.Message, want) {
			t.Errorf("%v, want a refusal with %q", err, want)
		}
	}
}
