package stable_test

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/scheduler"
	"ablate/models/stable"
)

// publishedLimit is the memory in which Stable Diffusion 1.5 draws and is fine-tuned.
const publishedLimit = 8_000_000_000

// TestPublishedSize loads a checkpoint with the sizes of Stable Diffusion 1.5 and random weights of 16
// bits, and takes two steps of a LoRA training at 512 pixels on the CPU, or draws an image in one
// step, each in a process of its own whose largest resident memory is compared with a limit.
func TestPublishedSize(t *testing.T) {
	if dir := os.Getenv("ABLATE_TEST_PUBLISHED"); dir != "" {
		published(t, dir)
		return
	}
	if os.Getenv("ABLATE_TEST_LONG") != "1" {
		t.Skip("takes minutes and 2 GB of disk: runs if ABLATE_TEST_LONG is 1")
	}
	modeltest.Plugin(t)
	dir := t.TempDir()
	if err := stable.WritePublished(dir, 1); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"draw", "train"} {
		t.Run(what, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPublishedSize$", "-test.v")
			cmd.Env = append(os.Environ(), "ABLATE_TEST_PUBLISHED="+dir, "ABLATE_TEST_WHAT="+what)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
			t.Logf("%s\npeak memory %.2f GB", out, float64(peak)/1e9)
			if peak > publishedLimit {
				t.Errorf("%s takes %d bytes of memory; want at most %d", what, peak, publishedLimit)
			}
		})
	}
}

// published loads the checkpoint in a folder, and draws or trains.
func published(t *testing.T, dir string) {
	path, _, err := backend.PluginPath()
	if err != nil {
		t.Fatal(err)
	}
	b, err := backend.Open(backend.Choice{Name: backend.CPU, Plugin: path})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	said := func(what string) {
		t.Logf("%-20s %6.1f s, peak so far %.2f GB", what, time.Since(begin).Seconds(), float64(peak(t))/1e9)
		begin = time.Now()
	}
	c, err := stable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Free()
	said("load")
	if os.Getenv("ABLATE_TEST_WHAT") == "draw" {
		s, err := stable.NewSampler(b, c)
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := s.Encode(w, []string{"a cat"})
		if err != nil {
			t.Fatal(err)
		}
		config, err := scheduler.Read(filepath.Join(dir, "scheduler", "scheduler_config.json"), scheduler.DDIM)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := config.Plan(1, 0)
		if err != nil {
			t.Fatal(err)
		}
		noise := random.NewTorch(1)
		latents, err := s.Latents(w, text, nil, func(_, _ int, dst []float32) { noise.Normal(dst) }, stable.Options{Plan: plan, Guidance: 1, Height: 512, Width: 512})
		if err != nil {
			t.Fatal(err)
		}
		said("step")
		if _, err := s.Images(w, latents); err != nil {
			t.Fatal(err)
		}
		said("image")
		return
	}
	r := stable.Recipe{Steps: 2, Batch: 1, Micro: 1, LearningRate: 1e-4, Beta1: .9, Beta2: .999, Clip: 1, Size: 512, Saving: nn.Saving{Blocks: true, Queries: 512}}
	r.LoRA.Rank, r.LoRA.Alpha = 4, 4
	f, err := c.Finetune(b, w, r, stable.Seeds{Init: 1, Order: 2, Noise: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Free()
	x, err := f.Example(make([]uint8, 3*512*512), "a cat")
	if err != nil {
		t.Fatal(err)
	}
	said("encoding")
	for step := 1; step <= r.Steps; step++ {
		loss, norm, err := f.Step(step, []stable.Stream{{Name: "images", Items: []stable.Item{{Image: x, Weight: 1}}}})
		if err != nil {
			t.Fatal(err)
		}
		said("step")
		if norm == 0 || math.IsNaN(norm) {
			t.Errorf("step %d has the loss %v and a gradient of norm %v", step, loss, norm)
		}
	}
}

// peak returns the largest resident memory of this process.
func peak(t *testing.T) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Maxrss << 10
}
