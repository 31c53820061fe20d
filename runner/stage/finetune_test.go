package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"ablate/models/finetune"
	"ablate/models/modeltest"
	"ablate/models/sampler"
	"ablate/models/train"
)

// TestOneCompilation runs a whole sweep in one worker: what is swept enters the
// compiled step, which is built once for each shape of a method and no oftener.
func TestOneCompilation(t *testing.T) {
	e := NewEnv(modeltest.Backend(t))
	dir := t.TempDir()
	run := func(kind Kind, name string, p any, inputs map[string]string) string {
		t.Helper()
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, name)
		if err := os.Mkdir(out, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := Run(context.Background(), e, Task{Kind: kind, Params: raw, Inputs: inputs, Out: out}, nil); err != nil {
			t.Fatal(name, err)
		}
		return out
	}
	data, s := DataParams{Pairs: 64}, sampler.Options{Steps: 3, Shift: 1.5, Batch: 64}
	adam := train.Adam{Beta1: .9, Beta2: .99, Epsilon: 1e-8}
	model := run(Pretrain, "pretrain", PretrainParams{Seed: 1, Data: data, Layers: 1, Width: 32, Heads: 2, Steps: 20, Batch: 16, LearningRate: 4e-3, Adam: adam}, nil)
	labelled := run(Sample, "labelled", SampleParams{Seed: 1, Split: "labelled", Images: 64, Sampler: s}, map[string]string{"model": model})
	scores := run(Score, "scores", ScoreParams{Loss: "oracle"}, map[string]string{"samples": labelled})
	in := map[string]string{"model": model, "labelled": labelled, "labelled scores": scores}
	// tune fine-tunes with the defaults of a method, and what set says by path.
	n := 0
	tune := func(method string, set map[string]any) {
		t.Helper()
		p := FinetuneParams{Seed: 1, PretrainingSeed: 1, Mix: Mix{Labelled: 1, Pretraining: 1}, Sampler: s, Probes: 1, ProbeImages: 64, DistanceBatch: 64, Scores: "oracle"}
		r := &p.Recipe
		r.Trains, r.Schedule, r.Steps, r.Batch, r.LearningRate, r.Warmup, r.Clip, r.Adam, r.Rounds, r.Anchor = "denoiser", "linear", 2, 8, 1e-3, 1, 1, adam, 1, "none"
		r.Roll = finetune.Rollout{Images: 8, Noise: .7}
		set["finetune.method"] = method
		if err := Fill(&p, func(path string) (any, bool) { v, ok := set[path]; return v, ok }); err != nil {
			t.Fatal(err)
		}
		if r.Anchor == "pretraining" {
			p.Data = data
		}
		n++
		run(Finetune, fmt.Sprint("finetune ", n), p, in)
	}
	for i, x := range []float64{.1, .5, 2} {
		tune("reward-weighted", map[string]any{"finetune.anchor": "pretraining", "finetune.beta": x})
		tune("reward-weighted", map[string]any{"finetune.anchor": "pretraining", "finetune.beta": .5, "finetune.learningRate": x * 1e-3, "finetune.clip": x})
		tune("softmax-weighted", map[string]any{"finetune.softmax.tau": x})
		tune("reward-weighted", map[string]any{"finetune.anchor": []string{"prediction", "kl", "kl"}[i], "finetune.prediction": x, "finetune.kl": x})
		tune("awm", map[string]any{"finetune.awm.weighting": "ghuber", "finetune.awm.clip": x, "finetune.awm.power": x / 4})
		tune("nft", map[string]any{"finetune.anchor": "prediction", "finetune.nft.signal": "score", "finetune.nft.prediction": x, "finetune.nft.beta": x})
		tune("ddpo", map[string]any{"finetune.ddpo.clip": x * 1e-4, "finetune.ddpo.updates": int64(2), "finetune.rollout.noise": x / 2})
	}
	// The likelihood has two shapes: 8 images alone, and 4 pairs beside them.
	net := "shapes 1×32×2, patch 8, MLP 3, text 12×32, image 16×3"
	want := map[string]int{"pretrain " + net: 1}
	for loss, k := range map[string]int{"likelihood": 2, "likelihood anchor prediction": 1, "likelihood anchor kl": 1, "awm ghuber of one round": 1,
		"nft anchor prediction of one round": 1, "ddpo": 1} {
		want["finetune, "+net+", "+loss+", denoiser"] = k
	}
	if got := e.Compiled(); !maps.Equal(got, want) {
		t.Errorf("%d fine-tunings compiled %v, want %v", n, got, want)
	}
}

// TestResume: a stage whose training was saved and then stopped goes on from there in
// another environment, and leaves the same files: a fine-tuning in rounds with its probes.
func TestResume(t *testing.T) {
	b := modeltest.Backend(t)
	dir := t.TempDir()
	n := 0
	run := func(e *Env, kind Kind, p any, in map[string]string, r train.Resume, ctx context.Context, progress Progress) (string, error) {
		t.Helper()
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		n++
		out := filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(out, 0o777); err != nil {
			t.Fatal(err)
		}
		return out, Run(ctx, e, Task{Kind: kind, Params: raw, Inputs: in, Out: out, Resume: r}, progress)
	}
	e := NewEnv(b)
	must := func(kind Kind, p any, in map[string]string) string {
		t.Helper()
		out, err := run(e, kind, p, in, train.Resume{}, t.Context(), nil)
		if err != nil {
			t.Fatal(kind, err)
		}
		return out
	}
	adam := train.Adam{Beta1: .9, Beta2: .99, Epsilon: 1e-8}
	data, s := DataParams{Pairs: 64}, sampler.Options{Steps: 3, Shift: 1.5, Batch: 16}
	model := must(Pretrain, PretrainParams{Seed: 1, Data: data, Layers: 1, Width: 16, Heads: 2, Steps: 4, Batch: 8, LearningRate: 4e-3, Adam: adam}, nil)
	images := must(Sample, SampleParams{Seed: 1, Split: "labelled", Images: 16, Sampler: s}, map[string]string{"model": model})
	scores := must(Score, ScoreParams{Loss: "oracle"}, map[string]string{"samples": images})
	tune := FinetuneParams{Seed: 1, Mix: Mix{Labelled: 1}, Sampler: s, Probes: 3, ProbeImages: 16, DistanceBatch: 16, Scores: "none",
		Recipe: finetune.Recipe{Method: choice("reward-weighted"), Trains: "denoiser", Schedule: "constant", Steps: 6, Batch: 8, LearningRate: 1e-3, Clip: 1, Adam: adam, Anchor: "none",
			Rounds: 3, Fresh: finetune.Fresh{Images: 16, Group: 2}}}
	in := map[string]string{"model": model, "labelled": images, "labelled scores": scores}
	want := must(Finetune, tune, in)
	state := filepath.Join(dir, "state")
	killed := fmt.Errorf("killed")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := run(e, Finetune, tune, in, train.Resume{File: state, Due: func(n int) bool { return n == 3 }}, ctx, func(step, total int, _ string) {
		if total == 6 && step == 4 {
			cancel(killed)
		}
	})
	if err != killed {
		t.Fatalf("a fine-tuning that is stopped: %v", err)
	}
	got, err := run(NewEnv(b), Finetune, tune, in, train.Resume{File: state, Due: func(int) bool { return false }}, t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(want, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		a, errA := os.ReadFile(path)
		b, errB := os.ReadFile(filepath.Join(got, rel))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s is not what an undisturbed fine-tuning writes; %v, %v", rel, errA, errB)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
