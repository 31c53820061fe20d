package stable_test

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"ablate/models/checkpoint"
	"ablate/models/modeltest"
	"ablate/models/stable"
)

// TestNotFinite: a weight that is NaN or infinite is named with its file and its index in it.
func TestNotFinite(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range []struct {
		file, tensor string
		at           int
		value        float64
		want         string
	}{
		{"unet/diffusion_pytorch_model.safetensors", "conv_in.weight", 9*4 + 3*9 + 5, math.NaN(), "tensor conv_in.weight: its value at [1 3 1 2] is NaN"}, // of [16, 4, 3, 3]
		{"text_encoder/model.safetensors", "text_model.final_layer_norm.bias", 31, math.Inf(-1), "tensor text_model.final_layer_norm.bias: its value at [31] is -Inf"},
	} {
		dir := t.TempDir()
		if err := stable.WriteRandom(dir, 1); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(c.file))
		file, err := checkpoint.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(file[c.tensor].Data[4*c.at:], math.Float32bits(float32(c.value)))
		if err := checkpoint.WriteFile(path, file); err != nil {
			t.Fatal(err)
		}
		model, err := stable.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := model.Load(b); err == nil || !strings.Contains(err.Error(), path+": "+c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
