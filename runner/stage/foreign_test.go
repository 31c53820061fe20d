package stage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/models/dit"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/runner/world"
)

// checkpointFolder writes a small model as a checkpoint folder.
func checkpointFolder(t testing.TB) string {
	t.Helper()
	c := dit.Default(world.Vocabulary())
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 8, 8, 2
	net := pipeline.Shapes(c)
	dir := t.TempDir()
	if err := writeModel(dir, c, net, nn.Init(net.AllParams(), random.Stream(1, "test", "init", 0))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestModelRoundTrip(t *testing.T) {
	dir := checkpointFolder(t)
	c, m, err := readModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := nn.Init(m.AllParams(), random.Stream(1, "test", "init", 0))
	for name, x := range want {
		for i, v := range x {
			if m.Weights[name][i] != v {
				t.Fatalf("%s[%d] is %v, want %v", name, i, m.Weights[name][i], v)
			}
		}
	}
	if c.Width != 8 || m.Name != pipeline.Shapes(c).Name {
		t.Errorf("configuration %+v, network %s", c, m.Name)
	}
}

// FuzzCheckpointConfig reads a checkpoint folder with one foreign configuration: an
// error names the file, and nothing panics or grows without bound. What is accepted is
// copied under the digest that it had.
func FuzzCheckpointConfig(f *testing.F) {
	dir := adoptable(f)
	names := []string{indexFile, schedulerFile, "transformer/config.json", "text_encoder/config.json", "embedder/config.json"}
	good := make([][]byte, len(names))
	for i, name := range names {
		var err error
		if good[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), good[i])
		f.Add(byte(i), []byte(`{"_class_name": "UNet2DConditionModel"}`))
		f.Add(byte(i), []byte(`{}`))
	}
	for _, change := range [][2]string{{`"width": 8`, `"width": 0`}, {`"width": 8`, `"width": 65536`}, {`"num_layers": 1`, `"num_layers": 60000`}} {
		f.Add(byte(2), []byte(strings.Replace(string(good[2]), change[0], change[1], 1)))
	}
	f.Add(byte(1), []byte(strings.Replace(string(good[1]), `"shift": 1.5`, `"shift": 1e999`, 1)))
	f.Add(byte(4), []byte(strings.Replace(string(good[4]), `"projection_dim": 4`, `"projection_dim": 65536`, 1)))
	f.Fuzz(func(t *testing.T, which byte, config []byte) {
		i := int(which) % len(names)
		path := filepath.Join(dir, names[i])
		if err := os.WriteFile(path, config, 0o666); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(path, good[i], 0o666)
		_, err := CheckCheckpoint(t.Context(), dir, true)
		if err != nil {
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error names no file: %v", err)
			}
			return
		}
		digest, err := DigestCheckpoint(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := adopt(t, dir, digest); err != nil {
			t.Error(err)
		}
	})
}

// FuzzLabels reads label artifacts, which people may write.
func FuzzLabels(f *testing.F) {
	dir := f.TempDir()
	f.Add([]byte(`{"annotator": "people", "prompts": ["two bars"], "labels": ["good"]}`))
	f.Add([]byte(`{"annotator": "people", "prompts": ["two bars"], "labels": ["fine"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, labelsFile), b, 0o666); err != nil {
			t.Fatal(err)
		}
		if l, err := ReadLabels(dir); err == nil && len(l.Labels) != len(l.Prompts) {
			t.Error("labels and prompts differ in number")
		} else if err != nil && !strings.Contains(err.Error(), labelsFile) {
			t.Errorf("the error names no file: %v", err)
		}
	})
}

// FuzzPrompts reads lists of prompts, and FuzzTuned the description of a fine-tuned model:
// an error names the file, and nothing panics.
func FuzzPrompts(f *testing.F) {
	dir := f.TempDir()
	f.Add([]byte(`{"index": 0, "prompt": "two bars", "category": "count", "split": "seen", "seed": 7}`))
	f.Add([]byte("{\"index\": 0, \"prompt\": \"\", \"seed\": 7}\n{\"index\": 0, \"seed\": 7}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, promptsFile), b, 0o666); err != nil {
			t.Fatal(err)
		}
		rows, err := ReadPrompts(dir)
		if err != nil {
			if !strings.Contains(err.Error(), promptsFile+":") {
				t.Errorf("the error names no line: %v", err)
			}
			return
		}
		for i, r := range rows {
			if r.Index != i || r.Seed < 1 {
				t.Errorf("row %d is %+v", i, r)
			}
		}
	})
}

func FuzzTuned(f *testing.F) {
	base, dir := checkpointFolder(f), f.TempDir()
	f.Add([]byte(`{"format": "parts", "replaces": ["transformer"], "steps": [3]}`))
	f.Add([]byte(`{"format": "adapter", "steps": [1, 2]}`))
	f.Add([]byte(`{"format": "adapter", "replaces": ["../x"], "steps": []}`))
	_, m, err := readModel(base)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, tunedFile), b, 0o666); err != nil {
			t.Fatal(err)
		}
		for step := range 3 {
			if _, err := tunedAt(m, dir, step); err == nil || !strings.Contains(err.Error(), dir) {
				t.Errorf("there are no weights, and the error is %v", err)
			}
		}
	})
}
