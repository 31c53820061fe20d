package stage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ablate/models/checkpoint"
	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/finetune"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/sampler"
	"ablate/models/shapes"
)

// python is the interpreter that has numpy and safetensors.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("ABLATE_TEST_PYTHON")
	if name == "" {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal("ABLATE_TEST_PYTHON must name a Python with numpy and safetensors")
		}
		t.Skip("needs a Python with numpy and safetensors: name it with ABLATE_TEST_PYTHON")
	}
	return name
}

// npy writes an array in numpy's format, version 1.0.
func npy(w io.Writer, x []float32, shape string) error {
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", shape)
	head += strings.Repeat(" ", 63-(10+len(head))%64) + "\n"
	_, err := fmt.Fprintf(w, "\x93NUMPY\x01\x00%c%c%s", len(head)&255, len(head)>>8, head)
	return errors.Join(err, binary.Write(w, binary.LittleEndian, x))
}

// TestSamplePython: the script that is exported beside a checkpoint draws, with numpy
// alone, the images that this program draws from the same noise.
func TestSamplePython(t *testing.T) {
	bin := python(t)
	c := dit.Default(shapes.Vocabulary())
	c.Layers, c.Width, c.TextWidth, c.Heads = 2, 32, 16, 4
	net := pipeline.Shapes(c)
	weights := nn.Init(net.AllParams(), random.Stream(1, "test", "init", 0))
	for name, x := range weights { // modulation and output begin at 0, and would hide their inputs
		r := random.Stream(2, "test", name, 0)
		for i := range x {
			x[i] += float32(r.NormFloat64() * .05)
		}
	}
	dir := t.TempDir()
	if err := writeModel(dir, c, net, weights); err != nil {
		t.Fatal(err)
	}
	if err := WriteScheduler(dir, 7, 2.5); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../cli/export/sample.py")
	if err != nil {
		t.Fatal(err)
	}
	const prompt, n = "three red circles on a black background", 3
	p, err := shapes.ParsePrompt(prompt)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sampler.NewEuler(modeltest.Backend(t), net)
	if err != nil {
		t.Fatal(err)
	}
	start := make([]float32, n*shapes.Pixels)
	random.Normal(random.Stream(3, "test", "noise", 0), start)
	want, err := e.Sample(&pipeline.Model{Network: net, Weights: weights}, bags([]shapes.Prompt{p, p, p}), func(i int, dst []float32) {
		copy(dst, start[i*shapes.Pixels:])
	}, sampler.Options{Steps: 7, Shift: 2.5})
	if err != nil {
		t.Fatal(err)
	}
	var noise bytes.Buffer
	if err := errors.Join(npy(&noise, start, "3, 16, 16, 3"), os.WriteFile(filepath.Join(dir, "noise.npy"), noise.Bytes(), 0o666),
		os.WriteFile(filepath.Join(dir, "sample.py"), script, 0o666)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, filepath.Join(dir, "sample.py"), prompt, "--noise", "noise.npy", "--npy", "images.npy", "--out", ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "images.npy"))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(want))
	if err := binary.Read(bytes.NewReader(b[len(b)-4*len(got):]), binary.LittleEndian, got); err != nil {
		t.Fatal(err)
	}
	worst, size := 0., 0.
	for i := range want {
		worst, size = max(worst, math.Abs(float64(got[i]-want[i]))), max(size, math.Abs(float64(want[i])))
	}
	if worst > 2e-4 || size < .1 {
		t.Errorf("images of size %.3g differ by %.3g", size, worst)
	}
	for i := range n {
		if info, err := os.Stat(filepath.Join(dir, fmt.Sprintf("image-%d.png", i))); err != nil || info.Size() < 60 {
			t.Errorf("picture %d: %v", i, err)
		}
	}
	cmd = exec.Command(bin, filepath.Join(dir, "sample.py"), "three red cats")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown word 'cat'") {
		t.Errorf("an unknown word: %v, %s", err, out)
	}
}

// TestAdapter: the factors of a low-rank fine-tuning are written beside the model, and
// give its weights from the base's.
func TestAdapter(t *testing.T) {
	c := dit.Default(shapes.Vocabulary())
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 8, 8, 2
	net := pipeline.Shapes(c)
	l := finetune.LoRA{Rank: 2, Targets: "attention"}
	updates := nn.Values{}
	for _, name := range []string{"blocks.0.attention.qkv", "blocks.0.attention.out"} {
		out := 8
		if strings.HasSuffix(name, "qkv") {
			out = 24
		}
		updates[name+".lora_A"], updates[name+".lora_B"] = make([]float32, 2*8), make([]float32, out*2)
		updates[name+".lora_A"][1] = .5
	}
	dir := t.TempDir()
	if err := writeAdapter(dir, net, l, updates); err != nil {
		t.Fatal(err)
	}
	w, err := checkpoint.ReadFile(filepath.Join(dir, "adapter", adapterFile))
	if err != nil {
		t.Fatal(err)
	}
	a, ok := w["base_model.model.blocks.0.attention.qkv.lora_A.weight"]
	if !ok || len(w) != 4 || a.Shape[0] != 2 || a.Shape[1] != 8 {
		t.Errorf("tensors %v", w)
	}
	var config adapterConfig
	if err := checkpoint.ReadJSON(filepath.Join(dir, "adapter", "adapter_config.json"), &config, true); err != nil {
		t.Fatal(err)
	}
	if config.Rank != 2 || config.Alpha != 2 || len(config.Targets) != 2 || config.Type != "LORA" {
		t.Errorf("configuration %+v", config)
	}
}

// TestDiverged: no training ends as a success with weights, scores, curves or images
// that are not finite.
func TestDiverged(t *testing.T) {
	nan := float32(math.NaN())
	c := dit.Default(shapes.Vocabulary())
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 8, 8, 2
	net := pipeline.Shapes(c)
	for _, v := range []float32{nan, float32(math.Inf(-1)), 1e35} {
		weights := nn.Init(net.AllParams(), random.Stream(1, "test", "init", 0))
		weights["text.weight"][3] = v
		if err := writeModel(t.TempDir(), c, net, weights); err == nil || !strings.Contains(err.Error(), "the training diverged (a smaller learning rate helps)") {
			t.Errorf("weights with %v: %v", v, err)
		}
	}
	if _, err := quantizeModel([]float32{0, nan}); err == nil || !strings.Contains(err.Error(), "the training diverged") {
		t.Errorf("images: %v", err)
	}
	curve := newCurve("loss", "kl")
	curve.add(10, 1, math.Inf(1))
	if err := curve.write(filepath.Join(t.TempDir(), "curves.json")); err == nil || !strings.Contains(err.Error(), "kl is +Inf at step 10: the training diverged") {
		t.Errorf("a curve: %v", err)
	}
}

// TestDivergedReward: rewards and embedders whose weights are finite and whose outputs
// are not are named as what failed, and not a file that cannot hold NaN.
func TestDivergedReward(t *testing.T) {
	e := NewEnv(modeltest.Backend(t))
	ec := embedder.Default(shapes.Vocabulary())
	ec.Features, ec.Width = [3]int{2, 2, 2}, 4
	rc := reward.Default(ec.Width)
	huge := func(params []nn.Param, scale float32) nn.Values {
		v := nn.Init(params, random.Stream(1, "test", "huge", 0))
		for _, x := range v {
			for i := range x {
				x[i] *= scale
			}
		}
		return v
	}
	samples := t.TempDir()
	images, captions := realSet("real", 4)
	if err := errors.Join(writeImages(samples, map[string][]uint8{"images": images}), checkpoint.WriteJSON(filepath.Join(samples, promptsFile), promptStrings(captions))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		embedder, reward float32
		want             string
	}{
		"good": {1, 1, ""}, "reward": {1, 1e17, "score: the reward scores image 0 with NaN: its training diverged"},
		"embedder": {1e15, 1, "the embedder maps "},
	} {
		dir := t.TempDir()
		if err := errors.Join(writeEmbedder(dir, ec, huge(ec.Params(), c.embedder)),
			writeReward(dir, &reward.Model{Config: rc, Members: []nn.Values{huge(rc.Params(), c.reward)}})); err != nil {
			t.Fatal(err)
		}
		err := Run(t.Context(), e, Task{Kind: Score, Params: []byte(`{"loss":"mse"}`), Out: t.TempDir(),
			Inputs: map[string]string{"samples": samples, "reward": dir, "embedder": dir}}, nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// TestShares: what all images do is a share of exactly 1.
func TestShares(t *testing.T) {
	for _, n := range []int{1, 3, 48, 49, 1000} {
		readings := make([]shapes.Reading, n)
		for i := range readings {
			readings[i].Reason = "blank"
		}
		metrics := alignment(make([]shapes.Entry, n), readings)
		if m := metrics[len(metrics)-1]; m.Name != "skipped" || m.Value != 1 {
			t.Errorf("of %d images: %s %v", n, m.Name, m.Value)
		}
	}
}

// TestMemoryIsCounted: a study that asks for more than can be counted needs the most,
// not little.
func TestMemoryIsCounted(t *testing.T) {
	for _, params := range []any{
		PretrainParams{Data: DataParams{Pairs: math.MaxInt}}, PretrainParams{Layers: math.MaxInt, Width: math.MaxInt},
		EmbedParams{Batch: math.MaxInt}, RewardParams{Perturbations: math.MaxInt, Batch: 8}, RewardParams{Members: math.MaxInt},
		EvaluateParams{Images: math.MaxInt, FidelityImages: 1}, EvaluateParams{FidelityImages: 1 << 40}, SampleParams{Images: math.MaxInt},
		SampleParams{Sampler: SamplerParams{Steps: math.MaxInt}},
		FinetuneParams{Probes: math.MaxInt}, FinetuneParams{Recipe: finetune.Recipe{Fresh: math.MaxInt}},
		FinetuneParams{Recipe: finetune.Recipe{Method: "ddpo", Policy: finetune.PolicySet{Images: math.MaxInt}}},
		FinetuneParams{Data: DataParams{Pairs: 1}, Mix: Mix{Pretraining: 1e18}, Recipe: finetune.Recipe{Batch: 64}},
	} {
		if got := Memory(params); got < 1<<60 {
			t.Errorf("%T: %d bytes", params, got)
		}
	}
}

// TestRunRefusesTooMuch: what no machine could hold is an error of the stage, and not a
// panic of whatever allocates first.
func TestRunRefusesTooMuch(t *testing.T) {
	for kind, params := range map[Kind]string{
		Pretrain: `{"data":{"pairs":9223372036854775807}}`, Sample: `{"images":9223372036854775807}`, Evaluate: `{"images":9223372036854775807,"bestOf":1}`,
	} {
		err := Run(t.Context(), NewEnv(nil), Task{Kind: kind, Params: []byte(params), Out: t.TempDir()}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), string(kind)+": it needs at least 9.22e+06 TB of memory") {
			t.Errorf("%s: error %v, want one of the memory", kind, err)
		}
	}
}

// TestPanicKeepsItsStack: the message is for the user, the stack for a log.
func TestPanicKeepsItsStack(t *testing.T) {
	// No environment: whoever computes panics.
	err := Run(t.Context(), nil, Task{Kind: Pretrain, Params: []byte(`{"seed":1,"data":{"pairs":1,"captions":{"Count":0,"Colour":0,"Background":0,"Absent":0}},"layers":1,"width":8,"heads":2,"steps":1,"batch":1,"learningRate":1,"ema":0}`), Out: t.TempDir()}, nil)
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(p.Stack(), "runPretrain") || strings.Contains(err.Error(), "goroutine") || !strings.HasPrefix(err.Error(), "pretrain: internal error: ") {
		t.Errorf("got %v", err)
	}
}
