package stable_test

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"ablate/models/backend"
	"ablate/models/finetune"
	"ablate/models/modeltest"
	"ablate/models/random"
	"ablate/models/stable"
)

// tiny loads the tiny checkpoint of the reference.
func tiny(t *testing.T) (b backend.Backend, c *stable.Checkpoint, w stable.Weights) {
	t.Helper()
	b = modeltest.Backend(t)
	c, err := stable.Open("../testdata/reference/sd-tiny")
	if err != nil {
		t.Fatal(err)
	}
	if w, err = c.Load(b); err != nil {
		t.Fatal(err)
	}
	return b, c, w
}

// chosen returns a method with constants.
func chosen(t *testing.T, name, constants string) finetune.Method {
	t.Helper()
	var c finetune.Choice
	if err := c.UnmarshalJSON(fmt.Appendf(nil, `{"name": %q, "constants": %s}`, name, constants)); err != nil {
		t.Fatal(err)
	}
	return c.Method
}

// recipe is a short training of a small adapter.
func recipe(m finetune.Method) stable.Recipe {
	r := stable.Recipe{Method: m, Steps: 8, Batch: 4, Micro: 4, LearningRate: .01, Beta1: .9, Beta2: .999, Clip: 1, Times: "uniform", Size: 32}
	r.LoRA.Rank, r.LoRA.Alpha = 4, 4
	return r
}

// TestOffline: while the model is the base, the loss of a method has a value that can be computed by
// hand; the parts in which a batch is computed change rounding only; and pretraining data add their
// loss.
func TestOffline(t *testing.T) {
	b, c, w := tiny(t)
	scores, prompts := []float32{0, 1, .25, .75}, []int{0, 0, 1, 1}
	good := []bool{false, true, false, true}
	pool, err := finetune.NewPool([]finetune.Source{{Prompts: prompts, Scores: scores, Good: good, Judged: []bool{true, true, true, true}, Mix: 1}})
	if err != nil {
		t.Fatal(err)
	}
	seeds := stable.Seeds{Init: 11, Order: 12, Noise: 13}
	// losses takes two steps.
	losses := func(r stable.Recipe, pretraining float64) (out []float64, drawn []float32) {
		t.Helper()
		f, err := c.Finetune(b, w, r, seeds)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Free()
		plan, err := r.Method.(finetune.Offline).Prepare(pool, r.Batch)
		if err != nil {
			t.Fatal(err)
		}
		streams := []stable.Stream{{Name: "images", Plan: plan}}
		var items []stable.Item
		for i := range scores {
			rgb := make([]uint8, 3*32*32)
			for k := range rgb {
				rgb[k] = uint8(k*(i+3)/11 + 20*i)
			}
			x, err := f.Example(rgb, fmt.Sprintf("prompt %d", prompts[i]))
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, stable.Item{Image: x, Weight: pretraining})
		}
		streams[0].Items = items
		if pretraining > 0 {
			streams = append(streams, stable.Stream{Name: "pretraining", Items: items})
		}
		for step := 1; step <= 2; step++ {
			loss, norm, err := f.Step(step, streams)
			if err != nil {
				t.Fatal(err)
			}
			if !(norm > 0) {
				t.Errorf("%s: step %d has the gradient %v", r.Method.Name(), step, norm)
			}
			out = append(out, loss)
		}
		for _, k := range plan.Draw(random.Stream(seeds.Order, "fine-tune stable diffusion", "images", 1)) {
			drawn = append(drawn, plan.Advantages[k])
		}
		return out, drawn
	}
	mean := func(x []float32, f func(a float64) float64) (sum float64) {
		for _, a := range x {
			sum += f(float64(a)) / float64(len(x))
		}
		return sum
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) <= 2e-5*(1+math.Abs(want))) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	r := recipe(chosen(t, "kto", `{"beta": 100, "desirable": 3, "undesirable": 1, "positive": 0.8}`))
	got, labels := losses(r, 0)
	near("kto", got[0], mean(labels, func(y float64) float64 { return .5 * (1 + 2*y) }))

	r = recipe(chosen(t, "awm", `{"weighting": "ghuber", "power": 0.25, "clip": 1, "prediction": 0.5}`))
	got, advantages := losses(r, 0)
	near("awm", got[0], mean(advantages, func(a float64) float64 { return -a }))

	r = recipe(chosen(t, "crd", `{"beta": 2, "group": 2, "prediction": 0.1}`))
	got, optimality := losses(r, 0)
	var want float64
	for i, x := range optimality {
		d := float64(x-optimality[i^1]) / 2
		want += 2.5 * d * d / 4
	}
	near("crd", got[0], want)
	r.Micro = 3 // two images at a time
	parts, _ := losses(r, 0)
	near("crd in parts", parts[0], got[0])
	near("crd in parts, step 2", parts[1], got[1])

	r = recipe(chosen(t, "nft", `{"beta": 1, "signal": "score", "prediction": 0.1}`))
	got, _ = losses(r, 0)
	double := r
	double.Method = chosen(t, "nft", `{"beta": 2, "signal": "label", "prediction": 0}`)
	halved, _ := losses(double, 0) // as long as both implicit models are the base, neither r nor the anchor counts
	near("nft with twice beta", 2*halved[0], got[0])
	with, _ := losses(r, 1)
	more, _ := losses(r, 3)
	if a := with[0] - got[0]; !(a > .1) {
		t.Errorf("pretraining data add %v to the loss", a)
	} else {
		near("three times the weight of pretraining data", more[0]-got[0], 3*a)
	}
}

// TestPolicy: the transitions of a rollout have the ratio 1 before the weights that drew them are updated;
// and a training that was stopped in the middle of a rollout ends with the same bytes.
func TestPolicy(t *testing.T) {
	b, c, w := tiny(t)
	seeds := stable.Seeds{Init: 11, Order: 12, Noise: 13}
	stream := []stable.Stream{{Name: "prompts", Items: []stable.Item{{Image: &stable.Example{Prompt: "a red cat"}}, {Image: &stable.Example{Prompt: "two dogs"}}}}}
	r := recipe(chosen(t, "grpo", `{"clip": 0.2, "group": 4, "kl": 1e-5, "updates": 1}`))
	r.LearningRate = .02
	r.Batch, r.Micro, r.Steps, r.Rollout = 32, 32, 4, finetune.Rollout{Images: 16, Noise: 1}
	r.Sampler.Steps, r.Sampler.Guidance = 5, 3
	begin := func() *stable.Finetuning {
		f, err := c.Finetune(b, w, r, seeds)
		if err != nil {
			t.Fatal(err)
		}
		f.Score = func(images [][]uint8, prompts []string) ([]float32, error) {
			if len(images) != 16 || len(prompts) != 16 || prompts[0] != prompts[3] || prompts[0] == prompts[4] {
				t.Errorf("%d images of %q are scored", len(images), prompts)
			}
			out := make([]float32, len(images))
			for i, rgb := range images {
				for _, x := range rgb {
					out[i] += float32(x) / 255 / float32(len(rgb))
				}
			}
			return out, nil
		}
		return f
	}
	f := begin()
	defer f.Free()
	saved := filepath.Join(t.TempDir(), "state")
	var rewards, losses []float64
	run := func(f *stable.Finetuning, from int) {
		t.Helper()
		var begun []*stable.Begun
		for step := from; step <= r.Steps; step++ {
			b, err := f.Begin(step, stream)
			if err != nil {
				t.Fatal(err)
			}
			begun = append(begun, b)
			if step == 3 && from == 1 { // in the middle of a rollout
				if err := f.Save(saved, step); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, b := range begun { // a result stays that of its step
			loss, _, err := b.Result()
			if err != nil {
				t.Fatal(err)
			}
			rewards, losses = append(rewards, b.Reward), append(losses, loss)
		}
	}
	run(f, 1)
	// The loss of a rollout's transitions is -mean A, which is 0, plus the anchor's, which is 0 for the base.
	if first, second := losses[0]+losses[1], losses[2]+losses[3]; math.Abs(losses[0]) < .01 || math.Abs(first) > 1e-4 || !(second > 1e-7 && second < 1e-3) {
		t.Errorf("the losses of two rollouts are %v", losses)
	}
	if rewards[0] != rewards[1] || rewards[0] == rewards[2] {
		t.Errorf("the rewards of two rollouts are %v", rewards)
	}
	want := f.Adapter().Values
	again := begin()
	defer again.Free()
	step, err := again.Load(saved)
	if err != nil || step != 3 {
		t.Fatalf("Load: %d, %v", step, err)
	}
	run(again, step+1)
	if !reflect.DeepEqual(again.Adapter().Values, want) {
		t.Error("a training that was stopped in the middle of a rollout ends with other bytes")
	}

	for constants, change := range map[string]func(*stable.Recipe){
		`{"clip": 0.2, "group": 17, "kl": 0, "updates": 1}`: func(*stable.Recipe) {},
		`{"clip": 0.2, "group": 2, "kl": 0, "updates": 1}`:  func(r *stable.Recipe) { r.Batch = 65 },
		`{"clip": 0.2, "group": 3, "kl": 0, "updates": 1}`:  func(r *stable.Recipe) { r.Sampler.Steps = 1 },
		`{"clip": 0.2, "group": 4, "kl": 0, "updates": 1}`:  func(r *stable.Recipe) { r.Sampler.Steps = 1000 },
	} {
		bad := r
		bad.Method = chosen(t, "grpo", constants)
		change(&bad)
		if f, err := c.Finetune(b, w, bad, seeds); err == nil {
			f.Free()
			t.Errorf("%s in batches of %d with %d steps is taken", constants, bad.Batch, bad.Sampler.Steps)
		}
	}
}
