package stage

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ablate/models/finetune"
	"ablate/models/modeltest"
	"ablate/models/sampler"
	"ablate/models/train"
)

// TestOneCompilation runs a whole sweep in one worker. The swept values are inputs of the
// compiled step, which is compiled only once for each shape of a method.
func TestOneCompilation(t *testing.T) {
	e, a := NewEnv(modeltest.Backend(t)), newActions(t)
	data, s := DataParams{Pairs: 64}, sampler.Options{Steps: 3, Shift: 1.5, Batch: 64}
	adam := train.Adam{Beta1: .9, Beta2: .99, Epsilon: 1e-8}
	model := a.run(e, Pretrain, PretrainParams{Seed: 1, Data: data, Layers: 1, Width: 32, Heads: 2, Steps: 20, Batch: 16, LearningRate: 4e-3, Adam: adam}, nil)
	in := a.labelled(e, model, 64, s)
	in["prompts"] = a.run(e, Prompts, PromptsParams{Seed: 1, List: FinetuneList, Rows: 100}, nil)
	// tune fine-tunes with the defaults of a method, and what set says by path.
	n := 0
	tune := func(method string, set map[string]any) {
		t.Helper()
		p := FinetuneParams{Seed: 1, PretrainingSeed: 1, Mix: Mix{Labelled: 1, Pretraining: 1}, Sampler: s, Checkpoints: 1, Scores: "oracle"}
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
		a.run(e, Finetune, p, in)
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

// tunable returns the inputs of small fine-tunings, and the constants with which they were made.
func (a *actions) tunable(e *Env) (train.Adam, sampler.Options, map[string]string) {
	a.t.Helper()
	adam := train.Adam{Beta1: .9, Beta2: .99, Epsilon: 1e-8}
	s := sampler.Options{Steps: 3, Shift: 1.5, Batch: 16}
	model := a.run(e, Pretrain, PretrainParams{Seed: 1, Data: DataParams{Pairs: 64}, Layers: 1, Width: 16, Heads: 2, Steps: 4, Batch: 8, LearningRate: 4e-3, Adam: adam}, nil)
	in := a.labelled(e, model, 16, s)
	in["prompts"] = a.run(e, Prompts, PromptsParams{Seed: 1, List: FinetuneList, Rows: 100}, nil)
	return adam, s, in
}

// TestResume: a fine-tuning in rounds that was saved and stopped resumes in another
// environment and writes the same files, including its checkpoints.
func TestResume(t *testing.T) {
	b, a := modeltest.Backend(t), newActions(t)
	e := NewEnv(b)
	adam, s, in := a.tunable(e)
	tune := FinetuneParams{Seed: 1, Mix: Mix{Labelled: 1}, Sampler: s, Checkpoints: 3, Scores: "none",
		Recipe: finetune.Recipe{Method: choice("reward-weighted"), Trains: "denoiser", Schedule: "constant", Steps: 6, Batch: 8, LearningRate: 1e-3, Clip: 1, Adam: adam, Anchor: "none",
			Rounds: 3, Fresh: finetune.Fresh{Images: 16, Group: 2}}}
	want := a.run(e, Finetune, tune, in)
	state := filepath.Join(a.dir, "state")
	killed := errors.New("killed")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := a.try(ctx, e, Finetune, tune, in, train.Resume{File: state, Due: func(n int) bool { return n == 3 }}, func(r Report) {
		if r.Total == 6 && r.Step == 4 {
			cancel(killed)
		}
	})
	if err != killed {
		t.Fatalf("a fine-tuning that is stopped: %v", err)
	}
	got, err := a.try(t.Context(), NewEnv(b), Finetune, tune, in, train.Resume{File: state, Due: func(int) bool { return false }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, "a fine-tuning that was stopped", want, got)
	if !slices.Contains(files(t, want), "steps/2/transformer/"+denoiserFile) {
		t.Errorf("files %q", files(t, want))
	}
}

// sameFiles compares the files of two artifacts.
func sameFiles(t *testing.T, what, want, got string) {
	t.Helper()
	names := files(t, want)
	if !slices.Equal(names, files(t, got)) {
		t.Errorf("%s: files %q, want %q", what, files(t, got), names)
	}
	for _, name := range names {
		a, errA := os.ReadFile(filepath.Join(want, name))
		b, errB := os.ReadFile(filepath.Join(got, name))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s: %s has other bytes; %v, %v", what, name, errA, errB)
		}
	}
}

// TestSegments: the last segment of a fine-tuning writes the same files as the fine-tuning in
// one piece, by a method that learns from given images and by one that draws its own. A
// segment has the same bytes in another environment, and its model is drawn from as the
// model after its last step.
func TestSegments(t *testing.T) {
	b, a := modeltest.Backend(t), newActions(t)
	e := NewEnv(b)
	adam, s, in := a.tunable(e)
	recipe := finetune.Recipe{Trains: "denoiser", Schedule: "cosine", Steps: 8, Batch: 8, LearningRate: 1e-2, EMA: .9, Clip: 1, Adam: adam, Anchor: "none"}
	supervised, policy := recipe, recipe
	supervised.Method, supervised.Rounds, supervised.Fresh = choice("reward-weighted"), 2, finetune.Fresh{Images: 16, Group: 2}
	policy.Roll = finetune.Rollout{Images: 16, Noise: .7}
	if err := Fill(&policy, func(path string) (any, bool) {
		v, ok := map[string]any{"method": "grpo", "grpo.clip": .2, "grpo.group": int64(8), "grpo.updates": int64(2)}[path]
		return v, ok
	}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]finetune.Recipe{"reward-weighted": supervised, "grpo": policy} {
		tune := FinetuneParams{Seed: 1, Mix: Mix{Labelled: 1}, Sampler: s, Checkpoints: 4, Scores: "oracle", Recipe: r}
		whole := a.run(e, Finetune, tune, in)
		segment := func(e *Env, before string, from, until int) string {
			t.Helper()
			p, in := tune, maps.Clone(in)
			if until < r.Steps {
				p.Segment = SegmentOf(from, until)
			}
			if before != "" {
				in[SegmentInput] = before
			}
			return a.run(e, Finetune, p, in)
		}
		first := segment(e, "", 0, 3)
		second := segment(e, first, 3, 5)
		sameFiles(t, name+": a segment in another environment", second, segment(NewEnv(b), segment(NewEnv(b), "", 0, 3), 3, 5))
		sameFiles(t, name+": the last segment", whole, segment(e, second, 5, 8))
		if steps, err := checkpointSteps(second); err != nil || !slices.Equal(steps, []int{5}) {
			t.Errorf("%s: a segment has checkpoints %v, %v", name, steps, err)
		}
		// A fine-tuning of all of whose steps a checkpoint is kept has the model after step 5.
		every := tune
		every.Checkpoints = 8
		_, base, err := readModel(in[ModelInput])
		if err != nil {
			t.Fatal(err)
		}
		want, errA := tunedAt(base, a.run(e, Finetune, every, in), 5)
		got, errB := tunedAt(base, second, 0)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		for param, x := range want.Weights {
			if !slices.Equal(x, got.Weights[param]) {
				t.Errorf("%s: %s of a segment is not that of the model after its last step", name, param)
			}
		}
	}
	// A segment that ends with the training, or one of another format, is refused.
	for _, s := range []Segment{{Until: 8, Format: segmentFormat}, {Until: 3, Format: segmentFormat + 1}} {
		if _, err := a.try(t.Context(), e, Finetune, FinetuneParams{Seed: 1, Mix: Mix{Labelled: 1}, Sampler: sampler.Options{Steps: 3, Shift: 1.5, Batch: 16}, Checkpoints: 1, Scores: "oracle", Recipe: supervised, Segment: s}, in, train.Resume{}, nil); err == nil {
			t.Errorf("segment %v is accepted", s)
		}
	}
}

// TestScorer: drawn images are scored by one of three scorers; an unknown one is an
// error.
func TestScorer(t *testing.T) {
	f := &finetuning{p: FinetuneParams{Scores: ByNone}, prompts: newPromptTable()}
	f.prompts.add("two bars")
	if got, err := f.score(nil, []int{0, 1}); err != nil || !slices.Equal(got, []float32{1, 1}) {
		t.Errorf("without a scorer: %v, %v", got, err)
	}
	for _, name := range []string{"", "gold"} {
		f.p.Scores = name
		if got, err := f.score(nil, []int{0}); err == nil {
			t.Errorf("%q scores %v", name, got)
		}
	}
}
