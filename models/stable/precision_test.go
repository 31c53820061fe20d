package stable_test

import (
	"math"
	"os"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/random"
	"ablate/models/stable"
)

// opened opens and loads the random checkpoint in a precision.
func opened(t *testing.T, dir string, precision, kept stable.Precision) (*stable.Checkpoint, stable.Weights) {
	t.Helper()
	c, err := stable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Precision, c.Kept = precision, kept
	w, err := c.Load(modeltest.Backend(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Free)
	return c, w
}

// TestBFloat16Training: with bfloat16, steps have the losses and the gradient's norms that they have with
// float32, up to rounding, and frozen weights have 16 bits. Each case compiles two trainings, so
// only the first runs unless ABLATE_TEST_LONG is 1.
func TestBFloat16Training(t *testing.T) {
	b := modeltest.Backend(t)
	dir := t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name       string
		rank       int
		pairs      bool
		loss, norm float64 // largest relative difference
	}{{"adapter", 4, false, .002, .01}, {"all weights", 0, false, .002, .005}, {"pairs", 4, true, .05, .03}} {
		t.Run(c.name, func(t *testing.T) {
			if i > 0 && os.Getenv("ABLATE_TEST_LONG") != "1" {
				t.Skip("takes a minute of compilation: runs if ABLATE_TEST_LONG is 1")
			}
			r := stable.Recipe{Steps: 3, Batch: 4, Micro: 4, LearningRate: 1e-3, Beta1: .9, Beta2: .999, Size: 32, Times: "uniform", Pairs: c.pairs, DPOBeta: 50}
			r.LoRA.Rank, r.LoRA.Alpha = c.rank, 4
			limits := c
			var losses, norms [2][]float64
			for k, precision := range []stable.Precision{stable.Float32, stable.BFloat16} {
				kept := precision
				if r.LoRA.Rank == 0 {
					kept = stable.Float32
				}
				c, w := opened(t, dir, precision, kept)
				if got, want := w.UNet[0].DType() == dtypes.BFloat16, kept == stable.BFloat16; got != want {
					t.Errorf("%s: the denoiser's weights are %s", precision, w.UNet[0].DType())
				}
				f, err := c.Finetune(b, w, r, stable.Seeds{Init: 1, Order: 2, Noise: 3})
				if err != nil {
					t.Fatal(err)
				}
				defer f.Free()
				var items []stable.Item
				var last *stable.Example
				for i, prompt := range []string{"a red cat", "two dogs", "a bird", "no fish"} {
					rgb := make([]uint8, 3*32*32)
					for j := range rgb {
						rgb[j] = uint8(j*(i+3)/11 + 20*i)
					}
					x, err := f.Example(rgb, prompt)
					if err != nil {
						t.Fatal(err)
					}
					items = append(items, stable.Item{Image: x, Worse: last, Weight: 1})
					last = x
				}
				items[0].Worse = last
				for step := 1; step <= r.Steps; step++ {
					loss, norm, err := f.Step(step, []stable.Stream{{Name: "images", Items: items, Pairs: r.Pairs}})
					if err != nil {
						t.Fatal(err)
					}
					losses[k], norms[k] = append(losses[k], loss), append(norms[k], norm)
				}
			}
			t.Logf("losses %v, norms %v", losses, norms)
			for i := range losses[0] {
				if d := math.Abs(losses[1][i]/losses[0][i] - 1); d > limits.loss {
					t.Errorf("step %d: loss %v with bfloat16 and %v with float32", i+1, losses[1][i], losses[0][i])
				}
				if d := math.Abs(norms[1][i]/norms[0][i] - 1); d > limits.norm || d == 0 {
					t.Errorf("step %d: norm %v with bfloat16 and %v with float32", i+1, norms[1][i], norms[0][i])
				}
			}
		})
	}
}

// TestBFloat16Sampling: latents that are drawn with bfloat16 are near those of float32, and weights that
// are loaded as float32 and then rounded are those that are loaded as bfloat16.
func TestBFloat16Sampling(t *testing.T) {
	b := modeltest.Backend(t)
	dir := t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	sampler := func(c *stable.Checkpoint) *stable.Sampler {
		s, err := stable.NewSampler(b, c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	draw := func(s *stable.Sampler, c *stable.Checkpoint, w stable.Weights) []float32 {
		text, _, err := s.Encode(w, []string{"a red cat"})
		if err != nil {
			t.Fatal(err)
		}
		negative, _, err := s.Encode(w, []string{""})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := c.Scheduler.Plan(4, 0)
		if err != nil {
			t.Fatal(err)
		}
		noise := random.NewTorch(1)
		x, err := s.Latents(w, text, negative, func(_, _ int, dst []float32) { noise.Normal(dst) }, stable.Options{Plan: plan, Guidance: 3, Height: 32, Width: 32})
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Free([]*tensors.Tensor{text, negative, x}...)
		return backend.Float32s(x)
	}
	c, w := opened(t, dir, stable.Float32, stable.Float32)
	want := draw(sampler(c), c, w)
	c, w = opened(t, dir, stable.BFloat16, stable.BFloat16)
	of16 := sampler(c)
	got := draw(of16, c, w)
	c, w = opened(t, dir, stable.BFloat16, stable.Float32)
	if err := c.Round(b, &w); err != nil {
		t.Fatal(err)
	}
	defer backend.Free(w.UNet...)
	rounded := draw(of16, c, w)
	var square, difference float64
	for i := range want {
		square += float64(want[i]) * float64(want[i])
		difference += math.Pow(float64(got[i]-want[i]), 2)
		if rounded[i] != got[i] {
			t.Fatalf("value %d is %v with weights that were rounded on the device and %v with weights that were loaded so", i, rounded[i], got[i])
		}
	}
	d := math.Sqrt(difference / square)
	t.Logf("relative difference %.5f", d)
	if d > .03 || d < 1e-5 {
		t.Errorf("latents differ by %v of their norm, want a few thousandths", d)
	}
}
