package stage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/models/checkpoint"
	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/finetune"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/sampler"
	"ablate/models/shapes"
	"ablate/models/train"
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
	script, err := os.ReadFile("../export/sample.py")
	if err != nil {
		t.Fatal(err)
	}
	const prompt, n = "three red circles on a black background", 3
	p, err := shapes.ParsePrompt(prompt)
	if err != nil {
		t.Fatal(err)
	}
	m := &pipeline.Model{Network: net, Weights: weights}
	env := NewEnv(modeltest.Backend(t))
	e, err := env.sampler(net)
	if err != nil {
		t.Fatal(err)
	}
	cond, err := env.conditioning(m, []shapes.Prompt{p, p, p})
	if err != nil {
		t.Fatal(err)
	}
	start := make([]float32, n*shapes.Pixels)
	random.Normal(random.Stream(3, "test", "noise", 0), start)
	want, err := e.Draw(m, cond, func(i int, dst []float32) {
		copy(dst, start[i*shapes.Pixels:])
	}, sampler.Options{Steps: 7, Shift: 2.5, Batch: 256}, 0, nil)
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
	if !bytes.Contains(b[:128], []byte("'<f4'")) || !bytes.Contains(b[:128], []byte("(3, 16, 16, 3)")) {
		t.Fatalf("the script writes %q", b[:128])
	}
	got := make([]float32, len(want))
	if err := binary.Read(bytes.NewReader(b[128:]), binary.LittleEndian, got); err != nil {
		t.Fatal(err)
	}
	worst, size := 0., 0.
	for i := range want {
		worst, size = max(worst, math.Abs(float64(got[i]-want[i]))), max(size, math.Abs(float64(want[i])))
	}
	if !(worst <= 2e-5) || size < .1 {
		t.Errorf("images of size %.3g differ by %.3g", size, worst)
	}
	pixels, err := quantizeModel(want)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("image-%d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(f)
		f.Close()
		if err != nil || picture.Bounds() != image.Rect(0, 0, shapes.Size, shapes.Size) {
			t.Fatalf("picture %d: %v", i, err)
		}
		for k, want := range pixels[i*shapes.Pixels : (i+1)*shapes.Pixels] {
			r, g, b, _ := picture.At(k/3%shapes.Size, k/3/shapes.Size).RGBA()
			if got := []uint32{r, g, b}[k%3] >> 8; math.Abs(float64(got)-float64(want)) > 1 { // an image's value may lie at ½
				t.Fatalf("picture %d: value %d is %d, want %d", i, k, got, want)
			}
		}
	}
	cmd = exec.Command(bin, filepath.Join(dir, "sample.py"), "three red cats")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown word 'cat'") {
		t.Errorf("an unknown word: %v, %s", err, out)
	}
}

// TestSamplePythonWords: the script reads every prompt as this program does.
func TestSamplePythonWords(t *testing.T) {
	bin := python(t)
	var prompts []shapes.Prompt
	var lines strings.Builder
	for _, e := range shapes.Prompts().All() {
		prompts = append(prompts, e.Prompt)
		fmt.Fprintln(&lines, e.Prompt)
	}
	cmd := exec.Command(bin, "-c", `import sys; sys.path.insert(0, "../export"); sys.dont_write_bytecode = True; import sample
encoder = sample.ShapesTextEncoder.__new__(sample.ShapesTextEncoder); encoder.config = {"vocab_size": len(sample.WORDS)}
for line in sys.stdin: print("".join(str(int(x)) for x in encoder.words(line)))`)
	cmd.Stdin = strings.NewReader(lines.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	bag := make([]float32, shapes.Vocabulary())
	for _, p := range prompts {
		p.Words(bag)
		for _, x := range bag {
			fmt.Fprint(&want, x)
		}
		want.WriteByte('\n')
	}
	if d := cmp.Diff(want.String(), string(out)); len(prompts) < 100 || d != "" {
		t.Errorf("%d prompts (-want +got)\n%s", len(prompts), d)
	}
}

// TestAdapter: the factors of a low-rank fine-tuning are in its artifact, beside the
// model, and added to the base's weights they are the model's.
func TestAdapter(t *testing.T) {
	e, base := NewEnv(modeltest.Backend(t)), checkpointFolder(t)
	run := func(kind Kind, p any, in map[string]string) string {
		t.Helper()
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		if err := Run(t.Context(), e, Task{Kind: kind, Params: raw, Inputs: in, Out: out}, nil); err != nil {
			t.Fatal(err)
		}
		return out
	}
	s := sampler.Options{Steps: 2, Shift: 1.5, Batch: 8}
	labelled := run(Sample, SampleParams{Seed: 1, Split: "labelled", Images: 8, Sampler: s}, map[string]string{"model": base})
	out := run(Finetune, FinetuneParams{Seed: 1, Mix: Mix{Labelled: 1}, Sampler: s, ProbeImages: 8, DistanceBatch: 8, Recipe: finetune.Recipe{Method: choice("reward-weighted"),
		Trains: "both", Schedule: "constant", Steps: 3, Batch: 8, LearningRate: 1e-2, Warmup: 1, Clip: 1, Adam: train.Default(0).Adam, Anchor: "none", Rounds: 1, LoRA: lora.Config{Rank: 2, Targets: "all"}}},
		map[string]string{"model": base, "labelled": labelled})
	adapter, err := checkpoint.ReadFile(filepath.Join(out, "adapter", adapterFile))
	if err != nil {
		t.Fatal(err)
	}
	values := func(x checkpoint.Tensor) []float32 {
		t.Helper()
		v, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	updated := map[string]bool{}
	for file, prefix := range map[string]string{"transformer/" + denoiserFile: "", "text_encoder/" + encoderFile: pipeline.TextPrefix} {
		before, err := checkpoint.ReadFile(filepath.Join(base, file))
		if err != nil {
			t.Fatal(err)
		}
		after, err := checkpoint.ReadFile(filepath.Join(out, file))
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range before {
			layer, _ := strings.CutSuffix(prefix+name, ".weight")
			a, ok := adapter["base_model.model."+layer+".lora_A.weight"]
			b := adapter["base_model.model."+layer+".lora_B.weight"]
			w, got := values(x), values(after[name])
			if ok {
				updated[layer] = true
				if rows, in := x.Shape[0], x.Shape[1]; !slices.Equal(a.Shape, []int{2, in}) || !slices.Equal(b.Shape, []int{rows, 2}) {
					t.Fatalf("%s of shape %v has factors of %v and %v", layer, x.Shape, a.Shape, b.Shape)
				} else {
					for i, f := range values(b) {
						for j := range in {
							w[i/2*in+j] += f * values(a)[i%2*in+j]
						}
					}
				}
			}
			for i := range w {
				if !(math.Abs(float64(got[i]-w[i])) <= 1e-6) {
					t.Fatalf("%s: value %d is %v, want %v", name, i, got[i], w[i])
				}
			}
			if ok == slices.Equal(values(x), got) {
				t.Errorf("%s has an update, %v, and changed, %v", name, ok, !ok)
			}
		}
	}
	var config adapterConfig
	if err := checkpoint.ReadJSON(filepath.Join(out, "adapter", "adapter_config.json"), &config, true); err != nil {
		t.Fatal(err)
	}
	if config.Type != "LORA" || config.Rank != 2 || config.Alpha != 2 || len(config.Targets) != len(updated) || len(adapter) != 2*len(updated) || !updated["text_encoder.embed"] || !updated["blocks.0.attention.qkv"] {
		t.Errorf("configuration %+v, %d tensors, and the layers that changed are %v", config, len(adapter), updated)
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
	curve := train.NewCurve("loss", "kl")
	curve.Add(10, 1, math.Inf(1))
	if err := writeCurve(filepath.Join(t.TempDir(), "curves.json"), curve); err == nil || !strings.Contains(err.Error(), "kl is +Inf at step 10: the training diverged") {
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
	for _, params := range []Params{
		PretrainParams{Data: DataParams{Pairs: math.MaxInt}}, PretrainParams{Layers: math.MaxInt, Width: math.MaxInt},
		EmbedParams{Batch: math.MaxInt}, RewardParams{Perturbations: math.MaxInt, Batch: 8}, RewardParams{Members: math.MaxInt},
		EvaluateParams{Images: math.MaxInt, FidelityImages: 1}, EvaluateParams{FidelityImages: 1 << 40}, SampleParams{Images: math.MaxInt},
		SampleParams{Sampler: sampler.Options{Steps: math.MaxInt}},
		FinetuneParams{Probes: math.MaxInt, ProbeImages: 1}, FinetuneParams{Recipe: finetune.Recipe{Fresh: finetune.Fresh{Images: math.MaxInt}}},
		FinetuneParams{Recipe: finetune.Recipe{Method: choice("ddpo"), Roll: finetune.Rollout{Images: math.MaxInt}}},
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
		task := Task{Kind: kind, Params: []byte(params), Inputs: map[string]string{}, Out: t.TempDir()}
		for _, in := range kind.Def().Inputs {
			task.Inputs[in.Name] = t.TempDir()
		}
		err := Run(t.Context(), NewEnv(nil), task, nil)
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

// choice is a method with constants of 0.
func choice(name string) finetune.Choice {
	m, err := finetune.ByName(name)
	if err != nil {
		panic(err)
	}
	return finetune.Choice{Method: m}
}
