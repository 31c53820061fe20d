package stage

import (
	"bytes"
	"encoding/binary"
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

	"ablate/models/dit"
	"ablate/models/embedder"
	"ablate/models/finetune"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/sampler"
	"ablate/models/train"
	"ablate/runner/world"
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
	c := dit.Default(world.Vocabulary())
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
	m := &pipeline.Model{Network: net, Weights: weights}
	env := NewEnv(modeltest.Backend(t))
	e, err := env.sampler(net)
	if err != nil {
		t.Fatal(err)
	}
	cond, err := env.conditioning(m, []string{prompt, prompt, prompt})
	if err != nil {
		t.Fatal(err)
	}
	start := make([]float32, n*world.Pixels)
	random.Normal(random.Stream(3, "test", "noise", 0), start)
	want, err := e.Draw(m, cond, func(i int, dst []float32) {
		copy(dst, start[i*world.Pixels:])
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
		if err != nil || picture.Bounds() != image.Rect(0, 0, world.Size, world.Size) {
			t.Fatalf("picture %d: %v", i, err)
		}
		for k, want := range pixels[i*world.Pixels : (i+1)*world.Pixels] {
			r, g, b, _ := picture.At(k/3%world.Size, k/3/world.Size).RGBA()
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
	w := world.Shapes()
	var prompts []string
	seen := map[string]bool{}
	for i := range 20000 {
		if p := w.Prompts.Draw(random.Stream(1, "test", "words", i), false).Text; !seen[p] {
			seen[p] = true
			prompts = append(prompts, p)
		}
	}
	cmd := exec.Command(bin, "-c", `import sys; sys.path.insert(0, "../export"); sys.dont_write_bytecode = True; import sample
encoder = sample.ShapesTextEncoder.__new__(sample.ShapesTextEncoder); encoder.config = {"vocab_size": len(sample.WORDS)}
for line in sys.stdin: print("".join(str(int(x)) for x in encoder.words(line)))`)
	cmd.Stdin = strings.NewReader(strings.Join(prompts, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := w.Texts.Input(prompts)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i, x := range rows {
		fmt.Fprint(&want, x)
		if (i+1)%world.Vocabulary() == 0 {
			want.WriteByte('\n')
		}
	}
	if d := cmp.Diff(want.String(), string(out)); len(prompts) != 158 || d != "" {
		t.Errorf("%d prompts (-want +got)\n%s", len(prompts), d)
	}
}

// TestDiverged: no training ends as a success with weights, scores, curves or images
// that are not finite.
func TestDiverged(t *testing.T) {
	nan := float32(math.NaN())
	c := dit.Default(world.Vocabulary())
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

// TestDivergedReward: if the weights of a reward or embedder are finite and its outputs
// are not, the error names the reward or embedder, and not the file that cannot contain
// NaN.
func TestDivergedReward(t *testing.T) {
	e := NewEnv(modeltest.Backend(t))
	ec := embedder.Default(world.Vocabulary())
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
	samples, prompts := t.TempDir(), t.TempDir()
	images, _ := e.world.Images.Real(realSet, 4)
	if err := WriteImages(samples, []ImageSet{{Images: images}}); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), e, Task{Kind: Prompts, Params: []byte(`{"seed": 1, "list": "fidelity", "rows": 4, "captions": true}`), Out: prompts}, nil); err != nil {
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
		err := Run(t.Context(), e, Task{Kind: Score, Params: []byte("{}"), Out: t.TempDir(),
			Inputs: map[string]string{"images": samples, "prompts": prompts, "reward": dir, "embedder": dir}}, nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// TestAlignment compares shares over all prompts, by split and by category with values
// computed by hand. The share of all images is exactly 1.
func TestAlignment(t *testing.T) {
	prompts := []Prompt{{Category: "count", Split: Seen}, {Category: "count", Split: Unseen}, {Category: "colour", Split: Seen}, {Category: "colour", Split: Seen}}
	got := byName(Alignment(prompts, VerdictSet{Labels: []string{world.Good, world.Bad, world.Skip, world.Good}, Read: make([]string, 4)}))
	want := map[string]Metric{"alignment": {Value: .5, N: 4}, "alignment.seen": {Value: 2. / 3, N: 3}, "alignment.unseen": {Value: 0, N: 1},
		"alignment.count": {Value: .5, N: 2}, "alignment.count.seen": {Value: 1, N: 1}, "alignment.count.unseen": {Value: 0, N: 1},
		"alignment.colour": {Value: .5, N: 2}, "alignment.colour.seen": {Value: .5, N: 2}, "alignment.colour.unseen": {Value: 0, N: 0}, "skipped": {Value: .25, N: 4}}
	for name, m := range want {
		if m.Name = name; got[name] != m {
			t.Errorf("%s is %v, want %v", name, got[name], m)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d metrics, want %d", len(got), len(want))
	}
	for _, n := range []int{1, 3, 48, 49, 1000} {
		labels := slices.Repeat([]string{world.Skip}, n)
		if m := byName(Alignment(make([]Prompt, n), VerdictSet{Labels: labels, Read: labels}))["skipped"]; m.Value != 1 {
			t.Errorf("of %d images: %v", n, m)
		}
	}
}

// TestAlignmentOfNumbers: alignment is the mean of a judge's numbers, without those that are missing,
// and nothing is skipped.
func TestAlignmentOfNumbers(t *testing.T) {
	x := func(v float64) *float64 { return &v }
	prompts := []Prompt{{Category: "count", Split: Seen}, {Category: "count", Split: Unseen}, {Category: "colour", Split: Seen}, {Category: "colour", Split: Seen}}
	v := VerdictSet{Numbers: []*float64{x(.5), x(0), nil, x(1)}, Read: make([]string, 4)}
	got := byName(Alignment(prompts, v))
	want := map[string]Metric{"alignment": {Value: .5, N: 3}, "alignment.seen": {Value: .75, N: 2}, "alignment.unseen": {Value: 0, N: 1},
		"alignment.count": {Value: .25, N: 2}, "alignment.count.seen": {Value: .5, N: 1}, "alignment.count.unseen": {Value: 0, N: 1},
		"alignment.colour": {Value: 1, N: 1}, "alignment.colour.seen": {Value: 1, N: 1}, "alignment.colour.unseen": {Value: 0, N: 0}}
	for name, m := range want {
		if m.Name = name; got[name] != m {
			t.Errorf("%s is %v, want %v", name, got[name], m)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d metrics, want %d", len(got), len(want))
	}
	dir := t.TempDir()
	v.Numbers[0] = x(1.5)
	writeVerdicts(t, dir, v)
	if _, err := ReadVerdicts(dir); err == nil || !strings.Contains(err.Error(), "number 0 is 1.5; must be from 0 to 1") {
		t.Error(err)
	}
	v.Numbers[0] = x(.5)
	writeVerdicts(t, dir, v)
	if _, err := readLabelsOf(dir, 4); err == nil || !strings.Contains(err.Error(), "has numbers in the place of labels") {
		t.Error(err)
	}
}

// TestMemoryIsCounted: a memory that overflows 64 bits is reported as the largest number,
// not as a small one.
func TestMemoryIsCounted(t *testing.T) {
	for _, params := range []Params{
		PretrainParams{Data: DataParams{Pairs: math.MaxInt}}, PretrainParams{Layers: math.MaxInt, Width: math.MaxInt},
		EmbedParams{Batch: math.MaxInt}, RewardParams{Perturbations: math.MaxInt, Batch: 8}, RewardParams{Members: math.MaxInt},
		PromptsParams{Rows: math.MaxInt}, DrawParams{Images: math.MaxInt}, DrawParams{Images: 1 << 40, Models: 1 << 20}, JudgeParams{Images: math.MaxInt}, ScoreParams{Images: math.MaxInt}, DiversityParams{Images: math.MaxInt}, DrawParams{Sampler: sampler.Options{Steps: math.MaxInt}},
		FidelityParams{Images: 1 << 40}, DistanceParams{Images: math.MaxInt}, DistanceParams{Batch: math.MaxInt},
		FinetuneParams{Recipe: finetune.Recipe{Fresh: finetune.Fresh{Images: math.MaxInt}}},
		FinetuneParams{Recipe: finetune.Recipe{Method: choice("ddpo"), Roll: finetune.Rollout{Images: math.MaxInt}}},
		FinetuneParams{Data: DataParams{Pairs: 1}, Mix: Mix{Pretraining: 1e18}, Recipe: finetune.Recipe{Batch: 64}},
	} {
		if got := Memory(params); got < 1<<60 {
			t.Errorf("%T: %d bytes", params, got)
		}
	}
}

// TestRunRefusesTooMuch: parameters that need more memory than any machine has are an
// error of the stage, and not a panic of the first allocation.
func TestRunRefusesTooMuch(t *testing.T) {
	for kind, params := range map[Kind]string{
		Pretrain: `{"data":{"pairs":9223372036854775807}}`, Draw: `{"images":9223372036854775807}`, Fidelity: `{"images":9223372036854775807}`,
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
	// Without an environment, every computation panics.
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
