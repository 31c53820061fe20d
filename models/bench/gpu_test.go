package main

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/stable"
)

func TestMain(m *testing.M) {
	if os.Getenv("ABLATE_TEST_BENCH") == "1" {
		main() // the test binary is the program
		return
	}
	os.Exit(m.Run())
}

// program returns a command of the program, compiled graphs of which are not optimized, because they
// compute little.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "ABLATE_TEST_BENCH=1", "XLA_FLAGS="+os.Getenv("XLA_FLAGS")+" --xla_backend_optimization_level=0")
	return cmd
}

// TestGPUOnCPU runs the program of the GPU on the CPU with a tiny model: both sides agree, and the report
// is whole.
func TestGPUOnCPU(t *testing.T) {
	modeltest.Plugin(t)
	cmd := program(t, "gpu", "-python", modeltest.Torch(t), "-device", "cpu", "-size", "tiny", "-precision", "float32", "-batch", "2", "-form", "eager",
		"-compared", "3", "-sampler-steps", "2", "-rounds", "1", "-steps", "1", "-only", "lora-dpo,sample", "-json")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(r.Cases) != 2 {
		t.Fatalf("%d cases, want 2\n%s", len(r.Cases), out)
	}
	dir := t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	pass, err := diffusion{Checkpoint: dir}.pass(modeltest.Backend(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Cases[0].Flops, 2*3*pass; got != want {
		t.Errorf("a step of DPO on one pair has %v operations, want three passes for each image, %v", got, want)
	}
	for _, c := range r.Cases {
		t.Logf("%+v", c)
		for name, x := range map[string]float64{"flops": c.Flops, "ratio": c.Ratio[0], "images/s here": c.Here.Images, "images/s there": c.There.Images,
			"memory here": float64(c.Here.Memory), "memory there": float64(c.There.Memory)} {
			if !(x > 0) || math.IsInf(x, 0) {
				t.Errorf("%s: %s is %v", c.Case, name, x)
			}
		}
		if c.Images != 2 || !(c.Difference <= c.Within) || c.Within > 1e-3 {
			t.Errorf("%s: %d images, want 2; results differ by %v, within %v", c.Case, c.Images, c.Difference, c.Within)
		}
	}
}

// TestFlash: -flash reaches the graph, and counts as many operations as the plain form.
func TestFlash(t *testing.T) {
	b, dir := modeltest.Backend(t), t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	if err := stable.Published(dir); err != nil {
		t.Fatal(err)
	}
	var flops []float64
	for _, flash := range []bool{false, true} {
		d := machine{device: cuda, size: full, precision: stable.BFloat16, batch: 2, flash: flash}.diffusion(kinds[0], dir, 1, 1)
		n, err := d.pass(b)
		if err != nil {
			t.Fatal(err)
		}
		flops = append(flops, n)
		c, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		fn, err := d.denoise(b, c)
		if err != nil {
			t.Fatal(err)
		}
		weights, _ := nn.Arrays(nn.Ordered(c.UNet.Params(), c.OHWI))
		text, err := fn.Program(append(inputs(c, 1), weights...)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text, backend.FlashAttention); got != flash || c.Flash != flash || !c.OHWI {
			t.Errorf("-flash=%v: the program calls cuDNN's attention: %v", flash, got)
		}
	}
	if flops[0] != flops[1] || flops[0] == 0 {
		t.Errorf("a pass has %v operations, and %v with cuDNN's attention", flops[0], flops[1])
	}
}

// TestFlags: what this machine cannot do is refused before anything is written or started.
func TestFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"-flash is for a GPU":       {"-device", "cpu", "-flash"},
		"must be bfloat16 on a GPU": {"-precision", "float32"},
		"must be even":              {"-batch", "3", "-only", "lora-dpo"},
		"must be at least 1":        {"-rounds", "0"},
		"must be one of forward":    {"-only", "backward"},
		"must be full or tiny":      {"-size", "large"},
		"must be cuda or cpu":       {"-device", "tpu"},
		"must be compiled or eager": {"-form", "lazy"},
	} {
		if err := run(append([]string{"gpu"}, args...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

// TestWithoutGPU: where there is no GPU, the program fails and says what to do.
func TestWithoutGPU(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err == nil {
		t.Skip("this machine has a GPU")
	}
	out, err := program(t, "gpu").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "has no NVIDIA GPU") || !strings.Contains(string(out), "-device cpu") {
		t.Errorf("%v\n%s", err, out)
	}
}

// samePython compares the networks of gpu.py with those of diffusers: outputs for the same weights, and
// names and shapes of the parameters at the size of Stable Diffusion 1.5.
const samePython = `
import sys
sys.path.insert(0, sys.argv[1])
import diffusers, torch, gpu
folder = sys.argv[2]
torch.manual_seed(1)
x, t, text = torch.randn(2, 4, 16, 16), torch.tensor([3, 801]), torch.randn(2, 77, 32)
with torch.no_grad():
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae")
    for own, want in [(gpu.build(gpu.UNet, folder + "/unet")(x, t, text), unet(x, t, text).sample), (gpu.build(gpu.Decoder, folder + "/vae")(x), vae.decode(x).sample)]:
        d = ((own - want).abs().max() / want.abs().max()).item()
        print("relative difference", d)
        assert own.shape == want.shape and d < 1e-5, d
with torch.device("meta"):
    own, want = gpu.UNet({"cross_attention_dim": 768}), diffusers.UNet2DConditionModel(cross_attention_dim=768)
shapes = lambda net: {k: v.shape for k, v in net.state_dict().items()}
assert shapes(own) == shapes(want)
n = sum(p.numel() for p in own.parameters())
print(n, "parameters")
assert n == 859520964, n
`

// TestPlainPyTorch: the networks that stand for PyTorch are those of diffusers.
func TestPlainPyTorch(t *testing.T) {
	dir := t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), modeltest.Torch(t), "-c", samePython, here, dir)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// TestApart: results that are not numbers are apart, wherever they are.
func TestApart(t *testing.T) {
	nan := math.NaN()
	for name, of := range map[string]func(a, b []float64) (float64, int){"absolute": absolute, "relative": relative, "in norm": inNorm} {
		for _, a := range [][]float64{{nan, 2, 2}, {1, nan, 2}, {1, 2, nan}} {
			if d, _ := of(a, []float64{1, 2, 2}); d <= 1 {
				t.Errorf("%s: %v is %v apart from 1 2 2", name, a, d)
			}
		}
	}
	for _, c := range []struct {
		of   func(a, b []float64) (float64, int)
		want float64
		at   int
	}{{absolute, 2, 2}, {relative, .5, 1}, {inNorm, math.Sqrt(5. / 89), 2}} {
		if d, at := c.of([]float64{2, 3, 11}, []float64{2, 2, 9}); math.Abs(d-c.want) > 1e-12 || at != c.at {
			t.Errorf("apart by %v at %d, want %v at %d", d, at, c.want, c.at)
		}
	}
}

// TestPeak: a name finds its own peak and not that of a shorter one.
func TestPeak(t *testing.T) {
	for name, want := range map[string]float64{"NVIDIA H200": 989, "NVIDIA H100 80GB HBM3": 989, "NVIDIA H100 PCIe": 756, "NVIDIA A100-SXM4-80GB": 312, "CPU": 0} {
		if got := peak(name); got != want {
			t.Errorf("the peak of %s is %v, want %v", name, got, want)
		}
	}
}
