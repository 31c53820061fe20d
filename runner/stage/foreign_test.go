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
	"ablate/models/shapes"
)

// checkpointFolder writes a small model as a checkpoint folder.
func checkpointFolder(t testing.TB) string {
	t.Helper()
	c := dit.Default(shapes.Vocabulary())
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

// FuzzCheckpointConfig reads a checkpoint folder with a foreign config.json: an
// error names the file, and nothing panics or grows without bound.
func FuzzCheckpointConfig(f *testing.F) {
	dir := checkpointFolder(f)
	path := filepath.Join(dir, "transformer", "config.json")
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), `"width": 8`, `"width": 0`, 1)))
	f.Add([]byte(strings.Replace(string(good), `"num_layers": 1`, `"num_layers": 60000`, 1)))
	f.Add([]byte(`{"_class_name": "UNet2DConditionModel"}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		if err := os.WriteFile(path, config, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readModel(dir); err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("the error names no file: %v", err)
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

// TestRandomnessIsPaired: what a stage draws depends on its part of the seed, a
// purpose and an index alone, so that more images begin with the same ones.
func TestRandomnessIsPaired(t *testing.T) {
	a, b := newPairs(DataParams{Pairs: 5, Captions: realCaptions}, 1), newPairs(DataParams{Pairs: 9, Captions: realCaptions}, 1)
	if string(a.images) != string(b.images[:len(a.images)]) {
		t.Error("more pairs begin with other pairs")
	}
	c := newPairs(DataParams{Pairs: 5, Captions: realCaptions}, 2)
	if string(a.images) == string(c.images) {
		t.Error("two pretraining seeds share their pairs")
	}
	x, _ := realSet("real", 3)
	y, _ := realSet("real again", 3)
	if string(x) == string(y) {
		t.Error("the two real sets are one")
	}
}
