package stable_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/models/checkpoint"
	"ablate/models/modeltest"
	"ablate/models/random"
	"ablate/models/stable"
)

// TestKernelOrder: with the kernels' order of a GPU, images are drawn and encoded as with that of the CPU, up to rounding, and
// a training of all weights writes those that were loaded.
func TestKernelOrder(t *testing.T) {
	b := modeltest.Backend(t)
	dir := t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	file, err := checkpoint.ReadFile(filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	var images, means [2][]float32
	for k := range 2 {
		c, err := stable.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.OHWI = k == 1
		w, err := c.Load(b)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Free()
		s, err := stable.NewSampler(b, c)
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := s.Encode(w, []string{"a red cat"})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := c.Scheduler.Plan(2, 0)
		if err != nil {
			t.Fatal(err)
		}
		noise := random.NewTorch(1)
		x, err := s.Latents(w, text, nil, func(_, _ int, dst []float32) { noise.Normal(dst) }, stable.Options{Plan: plan, Height: 32, Width: 32})
		if err != nil {
			t.Fatal(err)
		}
		if images[k], err = s.Decode(w, x); err != nil {
			t.Fatal(err)
		}
		f, err := c.Finetune(b, w, stable.Recipe{Batch: 1, Size: 32}, stable.Seeds{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Free()
		example, err := f.Example(make([]uint8, 3*32*32), "a red cat")
		if err != nil {
			t.Fatal(err)
		}
		means[k] = example.Mean
		if diff := cmp.Diff(file, f.UNet()); diff != "" {
			t.Errorf("OHWI is %v: the weights are not those of the file:\n%.500s", c.OHWI, diff)
		}
	}
	for what, x := range map[string][2][]float32{"image": images, "encoded": means} {
		for i := range x[0] {
			if d := math.Abs(float64(x[1][i] - x[0][i])); !(d <= 1e-4) {
				t.Fatalf("%s: value %d is %v, want %v", what, i, x[1][i], x[0][i])
			}
		}
	}
}
