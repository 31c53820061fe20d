package stable_test

import (
	"math"
	"os"
	"testing"

	"ablate/models/finetune"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/stable"
)

// TestDevices: on two devices a training has the losses and the weights that it has on one, up to rounding,
// also where the last part of a batch has one item only. Each case compiles two trainings, so only the first
// runs unless ABLATE_TEST_LONG is 1.
func TestDevices(t *testing.T) {
	b := modeltest.Devices(t, 2)
	c, err := stable.Open("../testdata/reference/sd-tiny")
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Free()
	pairs := stable.Recipe{Pairs: true, DPOBeta: 50, Batch: 3}
	for i, tc := range []struct {
		name string
		rank int
		r    stable.Recipe
	}{{"all weights by pairs", 0, pairs}, {"adapter by pairs", 4, pairs},
		{"kto", 4, stable.Recipe{Method: chosen(t, "kto", `{"beta": 100, "desirable": 3, "undesirable": 1, "positive": 0.8}`), Batch: 4}}, {"grpo", 4, stable.Recipe{Method: chosen(t, "grpo", `{"clip": 0.2, "group": 4, "kl": 1e-5, "updates": 1}`), Batch: 4}}} {
		t.Run(tc.name, func(t *testing.T) {
			if i > 0 && os.Getenv("ABLATE_TEST_LONG") != "1" {
				t.Skip("takes a minute of compilation: runs if ABLATE_TEST_LONG is 1")
			}
			run := func(devices int) (losses, norms []float64, weights nn.Values) {
				r := tc.r
				r.Devices, r.Steps, r.Micro, r.LearningRate, r.Beta1, r.Beta2, r.Clip, r.Size, r.Times = devices, 3, 4, 1e-3, .9, .999, 1, 32, "uniform"
				r.LoRA.Rank, r.LoRA.Alpha, r.Rollout.Images, r.Rollout.Noise, r.Sampler.Steps, r.Sampler.Guidance = tc.rank, 4, 4, .5, 3, 1
				f, err := c.Finetune(b, w, r, stable.Seeds{Init: 1, Order: 2, Noise: 3})
				if err != nil {
					t.Fatal(err)
				}
				defer f.Free()
				f.Score = func(images [][]uint8, _ []string) ([]float32, error) {
					scores := make([]float32, len(images))
					for i, x := range images {
						scores[i] = float32(x[0]) / 255
					}
					return scores, nil
				}
				stream := stable.Stream{Name: "images", Pairs: r.Pairs}
				for i, prompt := range []string{"a red cat", "two dogs", "a bird", "no fish"} {
					rgb := make([]uint8, 3*32*32)
					for j := range rgb {
						rgb[j] = uint8(j*(i+3)/11 + 20*i)
					}
					x, err := f.Example(rgb, prompt)
					if err != nil {
						t.Fatal(err)
					}
					stream.Items = append(stream.Items, stable.Item{Image: x, Weight: float64(i) + .5})
				}
				for i := range stream.Items {
					stream.Items[i].Worse = stream.Items[(i+1)%4].Image
				}
				if m, ok := r.Method.(finetune.Offline); ok {
					pool, err := finetune.NewPool([]finetune.Source{{Prompts: []int{0, 0, 1, 1}, Scores: []float32{0, 1, .25, .75},
						Good: []bool{false, true, false, true}, Judged: []bool{true, true, true, true}, Mix: 1}})
					if err != nil {
						t.Fatal(err)
					}
					if stream.Plan, err = m.Prepare(pool, r.Batch); err != nil {
						t.Fatal(err)
					}
				}
				for step := 1; step <= r.Steps; step++ {
					loss, norm, err := f.Step(step, []stable.Stream{stream})
					if err != nil {
						t.Fatal(err)
					}
					losses, norms = append(losses, loss), append(norms, norm)
				}
				if a := f.Adapter(); a != nil {
					return losses, norms, a.Values
				}
				weights = nn.Values{}
				for name, x := range f.UNet() {
					if weights[name], err = x.Float32(); err != nil {
						t.Fatal(err)
					}
				}
				return losses, norms, weights
			}
			losses, norms, weights := run(1)
			twice, more, others := run(2)
			for i := range losses {
				// Half of the policy's losses are differences of nearly equal numbers.
				if math.Abs(losses[i]-twice[i]) > 1e-5*math.Max(math.Abs(losses[i]), .1) || math.Abs(norms[i]-more[i]) > 1e-4*norms[i] || !(norms[i] > 0) {
					t.Errorf("step %d: loss %v and norm %v on one device, %v and %v on two", i+1, losses[i], norms[i], twice[i], more[i])
				}
			}
			difference, size := 0., 0.
			for name, x := range weights {
				for k := range x {
					difference += math.Pow(float64(x[k]-others[name][k]), 2)
					size += math.Pow(float64(x[k]), 2)
				}
			}
			if apart := math.Sqrt(difference / size); apart > 1e-5 {
				t.Errorf("weights on two devices differ by %v of their size", apart)
			}
		})
	}
}
