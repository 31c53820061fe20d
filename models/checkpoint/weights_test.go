package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// component writes files of a component; text of a .json, and one number for each other name.
func component(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		var err error
		if strings.HasSuffix(name, ".safetensors") {
			tensors := map[string]Tensor{}
			for i, tensor := range strings.Fields(text) {
				tensors[tensor] = Floats([]float32{float32(i + 1)}, 1)
			}
			err = WriteFile(path, tensors)
		} else {
			err = os.WriteFile(path, []byte(text), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestWeights: one file or several, under the names of diffusers and transformers, 32 bits before 16.
func TestWeights(t *testing.T) {
	index := `{"metadata": {}, "weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "diffusion_pytorch_model-00002-of-00002.safetensors"}}`
	shards := map[string]string{"diffusion_pytorch_model-00001-of-00002.safetensors": "a", "diffusion_pytorch_model-00002-of-00002.safetensors": "unused b",
		"diffusion_pytorch_model.safetensors.index.json": index}
	for what, files := range map[string]map[string]string{
		"one file":       {"diffusion_pytorch_model.safetensors": "a b", "diffusion_pytorch_model.fp16.safetensors": "c"},
		"16 bits only":   {"model.fp16.safetensors": "a b", "pytorch_model.bin": "x"},
		"several":        shards,
		"of one variant": {"model.safetensors.index.fp16.json": `{"weight_map": {"a": "x.safetensors", "b": "x.safetensors"}}`, "x.safetensors": "a b"},
	} {
		w, err := OpenWeights(component(t, files))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if got := w.Names(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%s: tensors %q", what, got)
		}
		name, x, err := w.Find("missing", "b")
		if err != nil || name != "b" || len(x.Data) != 4 || !slices.Equal(x.Data, Floats([]float32{2}, 1).Data) {
			t.Errorf("%s: b is %v of %q, %v", what, x, name, err)
		}
		if _, _, err := w.Find("missing", "gone"); err == nil || !strings.Contains(err.Error(), "tensor missing or gone is missing") {
			t.Errorf("%s: error %v", what, err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWeightsErrors: what is wrong is said with the file, the tensor and what to do.
func TestWeightsErrors(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{}, "has no weights: there must be diffusion_pytorch_model.safetensors or model.safetensors"},
		{map[string]string{"pytorch_model.bin": "x"}, "has pytorch_model.bin and no safetensors file: reading a pickle may run any program"},
		{map[string]string{"model.safetensors.index.json": `{"weight_map": {}}`}, "weight_map names no tensor"},
		{map[string]string{"model.safetensors.index.json": `{"weight_map": {"a": "../x.safetensors"}}`}, `tensor "a" is said to be in "../x.safetensors", which is not a file beside the index`},
		{map[string]string{"model.safetensors.index.json": `{"weight_map": {"a": "x.safetensors"}}`}, `tensor "a" is said to be in x.safetensors: open`},
		{map[string]string{"model.safetensors.index.json": `{"weight_map": {"a": "x.safetensors"}}`, "x.safetensors": "b"}, `tensor "a" is said to be in x.safetensors, which does not have it`},
	} {
		if _, err := OpenWeights(component(t, c.files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.files, err, c.want)
		}
	}
	dir := component(t, map[string]string{"model.safetensors": "a b"})
	path := filepath.Join(dir, "model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5, 20, len(data) - 1} {
		if err := os.WriteFile(path, data[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenWeights(dir); err == nil || !strings.Contains(err.Error(), "model.safetensors") {
			t.Errorf("%d of %d bytes: error %v", n, len(data), err)
		}
	}
}
