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
	data, s := DataParams{Pairs: 64}, SamplerParams{Steps: 3, Shift: 1.5}
	model := run(Pretrain, "pretrain", PretrainParams{Seed: 1, Data: data, Layers: 1, Width: 32, Heads: 2, Steps: 20, Batch: 16, LearningRate: 4e-3}, nil)
	labelled := run(Sample, "labelled", SampleParams{Seed: 1, Split: "labelled", Images: 64, Sampler: s}, map[string]string{"model": model})
	scores := run(Score, "scores", ScoreParams{Loss: "oracle"}, map[string]string{"samples": labelled})
	in := map[string]string{"model": model, "labelled": labelled, "labelled scores": scores}
	base := finetune.Recipe{Method: "reward-weighted", Steps: 2, Batch: 8, LearningRate: 1e-3, Warmup: 1, Clip: 1, Anchor: "pretraining", Beta: .5,
		Rounds: 1, Tau: .2, AWM: finetune.AWMSet{Weighting: "ghuber", Power: .25, Clip: 1}, NFT: finetune.NFTSet{Beta: 1, Signal: "score"},
		Policy: finetune.PolicySet{Images: 8, Noise: .7, ClipRange: 1e-4}}
	n := 0
	tune := func(change func(p *FinetuneParams)) {
		t.Helper()
		p := FinetuneParams{Seed: 1, PretrainingSeed: 1, Data: data, Mix: Mix{Labelled: 1, Pretraining: 1}, Recipe: base, Sampler: s, Probes: 1, Loss: "oracle"}
		change(&p)
		if p.Recipe.Anchor != "pretraining" {
			p.Data = DataParams{}
		}
		n++
		run(Finetune, fmt.Sprint("finetune ", n), p, in)
	}
	for i, x := range []float64{.1, .5, 2} {
		tune(func(p *FinetuneParams) { p.Recipe.Beta = x })
		tune(func(p *FinetuneParams) { p.Recipe.LearningRate, p.Recipe.EMA, p.Recipe.Clip = x*1e-3, .9*x/2, x })
		tune(func(p *FinetuneParams) { p.Recipe.Method, p.Recipe.Tau = "softmax-weighted", x })
		tune(func(p *FinetuneParams) { p.Recipe.Anchor, p.Recipe.Weight = []string{"velocity", "kl", "kl"}[i], x })
		tune(func(p *FinetuneParams) {
			p.Recipe.Method, p.Recipe.Anchor, p.Recipe.AWM.Clip, p.Recipe.AWM.Power = "awm", "none", x, x/4
		})
		tune(func(p *FinetuneParams) {
			p.Recipe.Method, p.Recipe.Anchor, p.Recipe.Weight, p.Recipe.NFT.Beta = "nft", "velocity", x, x
		})
		tune(func(p *FinetuneParams) {
			p.Recipe.Method, p.Recipe.Anchor, p.Recipe.Policy.ClipRange, p.Recipe.Policy.Noise = "ddpo", "none", x*1e-4, x/2
		})
	}
	// Pretraining's batch of 16 is a shape of its own; fine-tuning's 8 + 4 another.
	net := "shapes 1×32×2, patch 8, MLP 3, text 12×32, image 16×3"
	want := map[string]int{
		"denoise " + net: 2, "finetune " + net + " likelihood": 2, "finetune " + net + " weighted anchored": 1,
		"finetune " + net + " awm ghuber": 1, "finetune " + net + " nft anchored": 1, "finetune " + net + " ddpo none": 1,
	}
	if got := e.Compiled(); !maps.Equal(got, want) {
		t.Errorf("%d fine-tunings compiled %v, want %v", n, got, want)
	}
}
