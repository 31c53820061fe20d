package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/models/clip"
	"ablate/models/modeltest"
	"ablate/models/stable"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
)

// drawer returns an engine with the tasks that it is given by a test.
func drawer(t *testing.T, e *engine.Engine) door {
	t.Helper()
	d, err := e.Describe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return door{t, e, d}
}

// diffusionProgram returns the engine of Stable Diffusion as a program of its own.
func diffusionProgram(t *testing.T) *engine.Engine {
	t.Helper()
	plugin := modeltest.Plugin(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &engine.Engine{Name: "sd", Command: []string{self, StableDiffusion}, Env: map[string]string{"ABLATE_TEST_ENGINE": "1", "ABLATE_PJRT_PLUGIN": plugin}}
}

// TestDiffusionProbe: the engine keeps its promises. Those that take minutes are checked if
// ABLATE_TEST_LONG is 1.
func TestDiffusionProbe(t *testing.T) {
	d := drawer(t, diffusionProgram(t))
	v, err := engine.Probe(t.Context(), d.e, d.d, engine.ProbeOptions{Dir: filepath.Join(t.TempDir(), "tasks"), CPUs: 1, Only: func(c engine.Check) bool {
		in := map[string][]string{engine.Sample: {"a task with the probe's parameters gives whole outputs", "the noise depends on the seed only"},
			engine.Train: {"a stop saves the state, and the training goes on exactly"}}
		names, few := in[c.Verb] // of these, each task compiles
		return os.Getenv("ABLATE_TEST_LONG") == "1" || !few || slices.Contains(names, c.Name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	passed := passes(t, v)
	if passed < 14 {
		t.Errorf("%d checks passed, want at least 14", passed)
	}
}

// pythonEngine returns an engine of runner/engine/python.
func pythonEngine(t *testing.T, file string) door {
	t.Helper()
	python := modeltest.Torch(t)
	script, err := filepath.Abs(filepath.Join("../engine/python", file))
	if err != nil {
		t.Fatal(err)
	}
	return drawer(t, &engine.Engine{Name: "python", Command: []string{python, script}, Env: map[string]string{"PYTHONDONTWRITEBYTECODE": "1"}})
}

// stored returns the folder of a checkpoint of the reference.
func stored(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("../../models/testdata/reference", name))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDiffusers: the diffusers engine reads the checkpoint that this engine has written, and both
// draw the same pictures of it, and of the reference's, by the same parameters and seeds. A value of
// a picture may differ by rounding.
func TestDiffusers(t *testing.T) {
	other := pythonEngine(t, "diffusers_engine.py")
	own := drawer(t, diffusionProgram(t))
	bases := map[string]string{"tiny": filepath.Join(own.must(engine.Task{Verb: engine.Load}, `{"name": "tiny-sd"}`), "checkpoint")}
	bases["stored"] = filepath.Join(own.must(engine.Task{Verb: engine.Load}, fmt.Sprintf(`{"name": %q}`, stored(t, "sd-tiny"))), "checkpoint")
	rows := []engine.Row{{Index: 0, Prompt: "two green dogs", Seed: 5}, {Index: 1, Prompt: "Ein Käse, früh am Tag!", Negative: "blurry", Seed: 1 << 40}, {Index: 2, Prompt: "x", Seed: 7}}
	for name, params := range map[string][]string{
		"stored": {`{"scheduler": "ddim", "steps": 5, "guidance": 4, "eta": 1, "width": 32, "height": 32, "batch": 2}`,
			`{"scheduler": "dpmsolver++", "karras": true, "steps": 4, "guidance": 1, "width": 48, "height": 32}`},
		"tiny": {`{"scheduler": "pndm", "steps": 4, "width": 32, "height": 32}`},
	} {
		base := bases[name]
		for _, p := range params {
			q := engine.Task{Verb: engine.Sample, Inputs: map[string]engine.TaskInput{
				engine.CheckpointRole: {ID: name, Files: base}, engine.PromptsRole: {ID: "prompts", Rows: rows}}}
			got, want := own.must(q, p), other.must(q, p)
			for i := range rows {
				a, b := pixels(t, filepath.Join(got, "images", fmt.Sprintf("%d.png", i))), pixels(t, filepath.Join(want, "images", fmt.Sprintf("%d.png", i)))
				if len(a) != len(b) {
					t.Fatalf("%s %s: %d and %d values", name, p, len(a), len(b))
				}
				worst, off := 0, 0
				for k := range a {
					if d := max(int(a[k])-int(b[k]), int(b[k])-int(a[k])); d > 0 {
						worst, off = max(worst, d), off+1
					}
				}
				if worst > 1 || off*50 > len(a) {
					t.Errorf("%s %s: %d of %d values of picture %d differ, by up to %d", name, p, off, len(a), i, worst)
				}
			}
		}
	}
}

// TestCLIP: scores and features are those of the engine of CLIP in Python, of the reference's model
// and of one that this engine has written.
func TestCLIP(t *testing.T) {
	other := pythonEngine(t, "clip_engine.py")
	own := drawer(t, diffusionProgram(t))
	folder, written := t.TempDir(), t.TempDir()
	if err := clip.WriteRandom(written, 1); err != nil {
		t.Fatal(err)
	}
	var rows, texts []engine.Row
	for i, prompt := range []string{"two green dogs", "Ein Käse, früh am Tag!", strings.Repeat("very ", 90) + "long"} {
		name := fmt.Sprintf("%d.png", i)
		rgb := make([]uint8, 3*(40+i)*50)
		for k := range rgb {
			rgb[k] = uint8(k * (i + 3) / 7)
		}
		if err := writePicture(filepath.Join(folder, name), picture(rgb, 40+i, 50)); err != nil {
			t.Fatal(err)
		}
		rows, texts = append(rows, engine.Row{Index: i, Prompt: prompt, File: "files/" + name}), append(texts, engine.Row{Index: i, Prompt: prompt})
	}
	images := map[string]engine.TaskInput{engine.ImagesRole: {ID: "images", Files: folder, Rows: rows}}
	near := func(what string, a, b, atol float64) {
		t.Helper()
		if !(math.Abs(a-b) <= atol+1e-4*math.Abs(b)) {
			t.Errorf("%s is %v, want %v", what, a, b)
		}
	}
	for name, model := range map[string]string{"stored": stored(t, "clip-tiny"), "written": written} {
		params := fmt.Sprintf(`{"model": %q, "batch": 2}`, model)
		var values [2][]map[string]float64
		for k, d := range []door{own, other} {
			out := d.must(engine.Task{Verb: engine.Score, Inputs: images}, params)
			for line := range strings.Lines(string(d.read(filepath.Join(out, "scores", "rows.jsonl")))) {
				var r struct{ Values map[string]float64 }
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatal(err)
				}
				values[k] = append(values[k], r.Values)
			}
		}
		for i, row := range values[1] {
			for column, want := range row {
				near(fmt.Sprintf("%s: %s of row %d", name, column, i), values[0][i][column], want, 2e-5)
			}
		}
		for role, in := range map[string]map[string]engine.TaskInput{"images": images, "texts": {engine.TextsRole: {ID: "texts", Rows: texts}}} {
			q := engine.Task{Verb: engine.Embed, Inputs: in}
			var features [2][]float32
			for k, d := range []door{own, other} {
				x, err := d.tensors(filepath.Join(d.must(q, params), "features", "features.safetensors"))["features"].Float32()
				if err != nil {
					t.Fatal(err)
				}
				features[k] = x
			}
			if len(features[0]) != len(features[1]) {
				t.Fatalf("%s, %s: %d and %d numbers", name, role, len(features[0]), len(features[1]))
			}
			for i, want := range features[1] {
				near(fmt.Sprintf("%s, %s: feature %d", name, role, i), float64(features[0][i]), float64(want), 2e-5)
			}
		}
	}
}

func pixels(t *testing.T, name string) []uint8 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []uint8
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			out = append(out, uint8(r>>8), uint8(g>>8), uint8(b>>8))
		}
	}
	return out
}

// TestCut: a prompt that the model does not read to its end is noted with its row, once.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	if err := stable.WriteRandom(dir, 1); err != nil {
		t.Fatal(err)
	}
	model, err := stable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	task := &kit.Task{Dir: t.TempDir()}
	fits, long := strings.Repeat("a", 75), strings.Repeat("a", 80) // a token for each letter
	(&diffusion{model: model}).cut(task, "prompts", []engine.Row{{Index: 4, Prompt: fits}, {Index: 5, Prompt: long, Negative: fits}, {Index: 6, Prompt: long, Negative: long + "b"}})
	got, err := os.ReadFile(filepath.Join(task.Dir, "progress.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"note":"prompts: the prompt of row 5 has 80 tokens, and the model reads 75: the last 5 are cut"}
{"note":"prompts: the negative prompt of row 6 has 81 tokens, and the model reads 75: the last 6 are cut"}
`
	if string(got) != want {
		t.Errorf("notes are\n%swant\n%s", got, want)
	}
}

// TestFlashRefused: cuDNN's attention needs a GPU.
func TestFlashRefused(t *testing.T) {
	d := drawer(t, diffusionProgram(t))
	base := filepath.Join(d.must(engine.Task{Verb: engine.Load}, `{"name": "tiny-sd"}`), "checkpoint")
	var refused *engine.TaskError
	_, err := d.do(engine.Task{Verb: engine.Sample, Inputs: map[string]engine.TaskInput{
		engine.CheckpointRole: {ID: "tiny", Files: base}, engine.PromptsRole: {ID: "prompts", Rows: []engine.Row{{Prompt: "x", Seed: 1}}}}},
		`{"attention": "flash", "dtype": "bfloat16", "width": 32, "height": 32}`)
	if !errors.As(err, &refused) || refused.Status != engine.Refused || !strings.Contains(refused.Message, "needs a GPU") {
		t.Errorf("%v, want a refusal", err)
	}
}
