package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/models/checkpoint"
	"ablate/models/finetune"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/sampler"
	"ablate/models/train"
	"ablate/runner/world"
)

// actions runs stages one after the other, each into a folder of its own.
type actions struct {
	t   testing.TB
	dir string
	n   int
}

func newActions(t testing.TB) *actions { return &actions{t: t, dir: t.TempDir()} }

// try runs a stage and returns its folder.
func (a *actions) try(ctx context.Context, e *Env, kind Kind, p any, in map[string]string, r train.Resume, progress Progress) (string, error) {
	a.t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	out := filepath.Join(a.dir, fmt.Sprint(a.n))
	if err := os.Mkdir(out, 0o777); err != nil {
		a.t.Fatal(err)
	}
	return out, Run(ctx, e, Task{Kind: kind, Params: raw, Inputs: in, Out: out, Resume: r}, progress)
}

// run is try where the stage must succeed.
func (a *actions) run(e *Env, kind Kind, p any, in map[string]string) string {
	a.t.Helper()
	out, err := a.try(a.t.Context(), e, kind, p, in, train.Resume{}, nil)
	if err != nil {
		a.t.Fatalf("%s: %v", kind, err)
	}
	return out
}

// pretrained returns a small model without zero parameters. A new model has zeros in its
// last layers, which would hide errors.
func (a *actions) pretrained(e *Env) string {
	a.t.Helper()
	return a.run(e, Pretrain, PretrainParams{Seed: 1, Data: DataParams{Pairs: 64}, Layers: 1, Width: 8, Heads: 2, Steps: 20, Batch: 8, LearningRate: 4e-3, Adam: train.Default(0).Adam}, nil)
}

// labelled are the images, prompts and gold's scores of n prompts, as inputs of a
// fine-tuning of a model.
func (a *actions) labelled(e *Env, model string, n int, s sampler.Options) map[string]string {
	a.t.Helper()
	prompts := a.run(e, Prompts, PromptsParams{Seed: 1, List: LabelledList, Rows: n}, nil)
	images := a.run(e, Draw, DrawParams{Sampler: s}, map[string]string{"model": model, "prompts": prompts})
	verdicts := a.run(e, Judge, JudgeParams{}, map[string]string{"images": images, "prompts": prompts})
	scores := a.run(e, Oracle, NoParams{}, map[string]string{"verdicts": verdicts})
	return map[string]string{"model": model, "labelled prompts": prompts, "labelled images": images, "labelled scores": scores}
}

// tuning is a fine-tuning of three steps that keeps its model after each.
func tuning(trains pipeline.Part, l lora.Config) FinetuneParams {
	return FinetuneParams{Seed: 1, Mix: Mix{Labelled: 1}, Checkpoints: 3, Recipe: finetune.Recipe{Method: choice("reward-weighted"),
		Trains: trains, Schedule: "constant", Steps: 3, Batch: 8, LearningRate: 1e-2, Warmup: 1, Clip: 1, Adam: train.Default(0).Adam, Anchor: "none", Rounds: 1, LoRA: l}}
}

// TestAdapter: a low-rank fine-tuning writes only the factors of its update. Added to the
// weights of the base, they give the weights of the model, also at each checkpoint.
func TestAdapter(t *testing.T) {
	e, a := NewEnv(modeltest.Backend(t)), newActions(t)
	base := a.pretrained(e)
	in := a.labelled(e, base, 8, sampler.Options{Steps: 2, Shift: 1.5, Batch: 8})
	delete(in, "labelled scores") // mostly zero: the model has hardly learned
	out := a.run(e, Finetune, tuning(pipeline.BothParts, lora.Config{Rank: 2, Targets: "all"}), in)
	if got := files(t, out); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, denoiserFile) || strings.Contains(s, "/"+encoderFile) }) {
		t.Errorf("the artifact has whole weights: %q", got)
	}
	_, before, err := readModel(base)
	if err != nil {
		t.Fatal(err)
	}
	for step, dir := range map[int]string{0: out, 3: out, 1: filepath.Join(out, "steps", "1"), 2: filepath.Join(out, "steps", "2")} {
		adapter, err := checkpoint.ReadFile(filepath.Join(dir, "adapter", adapterFile))
		if err != nil {
			t.Fatal(err)
		}
		values := func(x checkpoint.Tensor) []float32 {
			t.Helper()
			v, err := x.Float32()
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		after, err := tunedAt(before, out, step)
		if err != nil {
			t.Fatal(err)
		}
		updated := map[string]bool{}
		for _, p := range before.AllParams() {
			layer, _ := strings.CutSuffix(p.Name, ".weight")
			x, ok := adapter["base_model.model."+layer+".lora_A.weight"]
			y := adapter["base_model.model."+layer+".lora_B.weight"]
			w, got := slices.Clone(before.Weights[p.Name]), after.Weights[p.Name]
			if ok {
				updated[layer] = true
				rows, in := p.Shape[0], p.Shape[1]
				if !slices.Equal(x.Shape, []int{2, in}) || !slices.Equal(y.Shape, []int{rows, 2}) {
					t.Fatalf("%s of shape %v has factors of %v and %v", layer, p.Shape, x.Shape, y.Shape)
				}
				for i, f := range values(y) {
					for j := range in {
						w[i/2*in+j] += f * values(x)[i%2*in+j]
					}
				}
			}
			for i := range w {
				if !(math.Abs(float64(got[i]-w[i])) <= 1e-6) {
					t.Fatalf("step %d, %s: value %d is %v, want %v", step, p.Name, i, got[i], w[i])
				}
			}
			if ok == slices.Equal(before.Weights[p.Name], got) {
				t.Errorf("step %d: %s has an update, %v, and changed, %v", step, p.Name, ok, !ok)
			}
		}
		var config adapterConfig
		if err := checkpoint.ReadJSON(filepath.Join(dir, "adapter", "adapter_config.json"), &config, true); err != nil {
			t.Fatal(err)
		}
		if config.Type != "LORA" || config.Rank != 2 || config.Alpha != 2 || len(config.Targets) != len(updated) || len(adapter) != 2*len(updated) || !updated["text_encoder.embed"] || !updated["blocks.0.attention.qkv"] {
			t.Errorf("configuration %+v, %d tensors, and the layers that changed are %v", config, len(adapter), updated)
		}
	}
	merged := t.TempDir()
	if err := Merge(base, out, merged); err != nil {
		t.Fatal(err)
	}
	_, one, err := readModel(merged)
	if err != nil {
		t.Fatal(err)
	}
	two, err := tunedAt(before, out, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range two.Weights {
		if !slices.Equal(x, one.Weights[name]) {
			t.Errorf("%s of the merged folder is another", name)
		}
	}
}

// TestTuned: a fine-tuning of full weights writes the components that it trained, for its
// end and each checkpoint; the other component stays that of the pretrained model. The
// models of all steps draw different images from the same noise, and distances grow from
// zero.
func TestTuned(t *testing.T) {
	e, a := NewEnv(modeltest.Backend(t)), newActions(t)
	base := a.pretrained(e)
	s := sampler.Options{Steps: 2, Shift: 1.5, Batch: 8}
	in := a.labelled(e, base, 8, s)
	delete(in, "labelled scores")
	for part, want := range map[pipeline.Part]string{pipeline.DenoiserPart: "transformer/" + denoiserFile, pipeline.EncoderPart: "text_encoder/" + encoderFile} {
		out := a.run(e, Finetune, tuning(part, lora.Config{}), in)
		wantFiles := []string{"checkpoint.json", "curves.json", "steps/1/" + want, "steps/2/" + want, want}
		slices.Sort(wantFiles)
		if got := files(t, out); !slices.Equal(got, wantFiles) {
			t.Errorf("%s: the artifact has %q, want %q", part, got, wantFiles)
		}
		_, before, err := readModel(base)
		if err != nil {
			t.Fatal(err)
		}
		after, err := tunedAt(before, out, 0)
		if err != nil {
			t.Fatal(err)
		}
		trained, err := before.Trained(part)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range before.AllParams() {
			is := slices.ContainsFunc(trained, func(q nn.Param) bool { return q.Name == p.Name })
			if same := slices.Equal(before.Weights[p.Name], after.Weights[p.Name]); is && same || !is && !same {
				t.Errorf("%s: %s is trained, %v, and the same, %v", part, p.Name, is, same)
			}
		}
	}
}

// TestSeries: the checkpoints of a fine-tuning draw one set each, from the same noise;
// the last set equals that of the fine-tuned model. All stages that read images write one
// set for each.
func TestSeries(t *testing.T) {
	e, a := NewEnv(modeltest.Backend(t)), newActions(t)
	base := a.pretrained(e)
	s := sampler.Options{Steps: 2, Shift: 1.5, Batch: 8}
	in := a.labelled(e, base, 8, s)
	delete(in, "labelled scores")
	tuned := a.run(e, Finetune, tuning(pipeline.DenoiserPart, lora.Config{}), in)
	from := map[string]string{"model": base, "tuned": tuned, "prompts": in["labelled prompts"]}
	images := a.run(e, Draw, DrawParams{Steps: true, Sampler: s}, from)
	last := a.run(e, Draw, DrawParams{Sampler: s}, from)
	sets, err := ReadImages(images)
	if err != nil {
		t.Fatal(err)
	}
	end, err := Only(ReadImages(last))
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 3 || sets[0].Step != 1 || sets[2].Step != 3 || string(sets[2].Images) != string(end.Images) || string(sets[0].Images) == string(sets[2].Images) {
		t.Errorf("%d sets of images, the last one is the model's: %v", len(sets), len(sets) == 3 && string(sets[2].Images) == string(end.Images))
	}
	verdicts, err := ReadVerdicts(a.run(e, Judge, JudgeParams{}, map[string]string{"images": images, "prompts": from["prompts"]}))
	if err != nil || len(verdicts) != 3 || verdicts[1].Step != 2 {
		t.Errorf("verdicts %v, %v", verdicts, err)
	}
	distances, err := ReadMetrics(a.run(e, Distance, DistanceParams{Seed: 1, Images: 8, Batch: 8}, map[string]string{"model": base, "tuned": tuned, "images": images, "prompts": from["prompts"]}))
	if err != nil || len(distances) != 3 {
		t.Fatalf("distances %v, %v", distances, err)
	}
	for i, d := range distances {
		if kl := d.Metrics[0]; d.Step != i+1 || kl.Name != "distance.kl" || !(kl.Value > 0) || kl.N != 8 {
			t.Errorf("after step %d: %v", d.Step, d.Metrics)
		}
	}
	none, err := Only(ReadMetrics(a.run(e, Distance, DistanceParams{Seed: 1, Images: 8, Batch: 8}, map[string]string{"model": base, "images": in["labelled images"], "prompts": from["prompts"]})))
	if err != nil || none.Metrics[0].Value != 0 || none.Metrics[1].Value != 0 {
		t.Errorf("the pretrained model from itself: %v, %v", none, err)
	}
	if got, want := BestOfDivergence(4), math.Log(4)-.75; got != want || BestOfDivergence(1) != 0 {
		t.Errorf("best of 4 adds %v, want %v", got, want)
	}
	if _, err := a.try(t.Context(), e, Label, LabelParams{Seed: 1, List: LabelledList}, map[string]string{"prompts": from["prompts"], "verdicts": a.run(e, Judge, JudgeParams{}, map[string]string{"images": images, "prompts": from["prompts"]})}, train.Resume{}, nil); err == nil || !strings.Contains(err.Error(), "has 3 sets") {
		t.Errorf("labels of a series: %v", err)
	}
}

// TestSelect: of the images of a prompt the one with the highest score is kept, the first
// of those that have it.
func TestSelect(t *testing.T) {
	a := newActions(t)
	in := map[string]string{}
	scores := [][]float32{{.1, .9, .5}, {.2, .3, .5}, {.1, .95, .4}}
	for k, s := range scores {
		images, to := t.TempDir(), t.TempDir()
		b := make([]uint8, 3*world.Pixels)
		for i := range b {
			b[i] = uint8(10*k + i/world.Pixels)
		}
		if err := WriteImages(images, []ImageSet{{Images: b}}); err != nil {
			t.Fatal(err)
		}
		if err := WriteScores(to, []ScoreSet{{Scores: s}}); err != nil {
			t.Fatal(err)
		}
		in[Numbered(ImagesInput, k)], in[Numbered(ScoresInput, k)] = images, to
	}
	got, err := Only(ReadImages(a.run(NewEnv(nil), Select, NoParams{}, in)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint8{10, 21, 2} {
		if x := got.Images[i*world.Pixels]; x != want {
			t.Errorf("of prompt %d image %d was kept, want %d", i, x, want)
		}
	}
}
