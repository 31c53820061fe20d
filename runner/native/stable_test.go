package native

import (
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"ablate/models/modeltest"
	"ablate/runner/engine"
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

// TestDiffusionProbe: the engine keeps its promises about images. That each parameter changes them
// takes half a minute, and is checked if ABLATE_TEST_LONG is 1.
func TestDiffusionProbe(t *testing.T) {
	d := drawer(t, diffusionProgram(t))
	v, err := engine.Probe(t.Context(), d.e, d.d, engine.ProbeOptions{Dir: filepath.Join(t.TempDir(), "tasks"), CPUs: 1, Only: func(c engine.Check) bool {
		return os.Getenv("ABLATE_TEST_LONG") == "1" || c.Name != "each parameter changes the result" && c.Name != "an image depends on its own row only"
	}})
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range v.Checks {
		switch c.Outcome {
		case engine.Passed:
			passed++
		case engine.Broken:
			t.Errorf("%s: %s", c.Name, c.Found)
		}
	}
	if passed < 12 {
		t.Errorf("%d checks passed, want at least 12", passed)
	}
}

// TestDiffusers: the diffusers engine reads the checkpoint that this engine has written, and both
// draw the same pictures of it, and of the reference's, by the same parameters and seeds. A value of
// a picture may differ by rounding.
func TestDiffusers(t *testing.T) {
	python := os.Getenv("ABLATE_TEST_TORCH")
	if python == "" {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal("ABLATE_TEST_TORCH must name a Python with the packages of runner/engine/python/requirements.lock")
		}
		t.Skip("needs a Python with the packages of runner/engine/python/requirements.lock: name it with ABLATE_TEST_TORCH")
	}
	script, err := filepath.Abs("../engine/python/diffusers_engine.py")
	if err != nil {
		t.Fatal(err)
	}
	own := drawer(t, diffusionProgram(t))
	other := drawer(t, &engine.Engine{Name: "diffusers", Command: []string{python, script}, Env: map[string]string{"PYTHONDONTWRITEBYTECODE": "1"}})
	bases := map[string]string{"tiny": filepath.Join(own.must(engine.Task{Verb: engine.Load}, `{"name": "tiny"}`), "checkpoint")}
	stored, err := filepath.Abs("../../models/testdata/reference/sd-tiny")
	if err != nil {
		t.Fatal(err)
	}
	bases["stored"] = filepath.Join(own.must(engine.Task{Verb: engine.Load}, fmt.Sprintf(`{"name": %q}`, stored)), "checkpoint")
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
