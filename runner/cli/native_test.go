package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"ablate/models/stable"
)

// TestNativeStudy: the committed study of Stable Diffusion 1.5 plans on the native engine by one changed
// line. Before anything runs, the plan has its operations, time and disk, from the sizes of the published
// checkpoint; there are no weights here.
func TestNativeStudy(t *testing.T) {
	dir := t.TempDir()
	e := &engines{t, dir, place(t, dir)}
	if err := os.CopyFS(filepath.Join(dir, "sd"), os.DirFS("../../experiments/stable-diffusion")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"diffusers", "clip", "verdict"} {
		e.run("init", "--engine", name, "engines")
	}
	file := filepath.Join(dir, "sd", "study.cue")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`command: ["python3", "engines/diffusers_engine.py"]`), []byte(`command: ["ablate", "engine", "stable-diffusion"]`), 1)
	if bytes.Equal(changed, text) {
		t.Fatal("the study has another command")
	}
	if err := os.WriteFile(file, changed, 0o666); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "model")
	if err := stable.WriteRandom(model, 1); err != nil {
		t.Fatal(err)
	}
	if err := stable.Published(model); err != nil {
		t.Fatal(err)
	}
	out, _ := e.run("plan", "sd", "--set", "model.program.params.name="+model, "--only", "all data", "--seed", "1", "--json")
	var plan struct {
		Stages []struct {
			Stage, Engine  string
			Run, Unknown   int
			Flops, Seconds float64
			Bytes          int64
		}
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := 0
	for _, s := range plan.Stages {
		if s.Engine != "sd" || s.Stage == "engine-load" {
			continue
		}
		seen++
		t.Logf("%+v", s)
		// An image of 50 guided steps has 0.803 TFLOP × 100 and its decoding, a LoRA's step on one image
		// some 2.4; 2,000 steps of 64 images.
		want := map[string]float64{"engine-sample": 7100 * 82.9e12, "engine-train": 2000 * 64 * 2.4e12}[s.Stage]
		if s.Flops < want/2 || s.Flops > want*2 || s.Seconds == 0 || s.Unknown > 0 || s.Bytes == 0 {
			t.Errorf("%+v, want about %g operations", s, want)
		}
	}
	if seen != 2 {
		t.Errorf("%d stages of the engine, want 2\n%s", seen, out)
	}
}
