package clip_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/models/modeltest"
	"ablate/models/nn"
)

const set = "../testdata/reference"

// changed writes a config.json with fields changed, by paths such as text_config.hidden_act, to
// a new folder. A field that is nil is removed.
func changed(t testing.TB, dir string, fields map[string]any) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for path, v := range fields {
		at := all
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			at = at[key].(map[string]any)
		}
		if key := keys[len(keys)-1]; v == nil {
			delete(at, key)
		} else {
			at[key] = v
		}
	}
	if b, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestBadConfig: an error names the file, the key, and the values.
func TestBadConfig(t *testing.T) {
	pair := func(dir string) error { _, err := clip.Read(dir); return err }
	text := func(dir string) error { _, err := clip.ReadText(dir); return err }
	for _, c := range []struct {
		read   func(dir string) error
		dir    string
		change map[string]any
		want   []string
	}{
		{text, "sd-tiny/text_encoder", map[string]any{"hidden_act": "relu"}, []string{`hidden_act is "relu"`, "gelu or quick_gelu"}},
		{text, "sd-tiny/text_encoder", map[string]any{"num_attention_heads": 5}, []string{"hidden_size is 32 and num_attention_heads 5"}},
		{text, "sd-tiny/text_encoder", map[string]any{"num_attention_heads": 0}, []string{"num_attention_heads 0"}},
		{text, "sd-tiny/text_encoder", map[string]any{"num_hidden_layers": 1 << 30}, []string{"num_hidden_layers is 1073741824"}},
		{text, "sd-tiny/text_encoder", map[string]any{"vocab_size": -1}, []string{"vocab_size is -1"}},
		{text, "sd-tiny/text_encoder", map[string]any{"eos_token_id": 2014}, []string{"eos_token_id is 2014 and vocab_size 2014"}},
		{text, "sd-tiny/text_encoder", map[string]any{"layer_norm_eps": 0}, []string{"layer_norm_eps is 0"}},
		{text, "sd-tiny/text_encoder", map[string]any{"hidden_size": "wide"}, []string{"hidden_size"}},
		{text, "sd-tiny/text_encoder", map[string]any{"model_type": "t5"}, []string{`model_type is "t5"`, "clip_text_model"}},
		{text, "clip-tiny", nil, []string{`model_type is "clip"`, "clip_text_model"}},
		{pair, "sd-tiny/text_encoder", nil, []string{`model_type is "clip_text_model"`, `"clip"`}},
		{pair, "clip-tiny", map[string]any{"text_config.hidden_act": "silu"}, []string{"text_config", `hidden_act is "silu"`}},
		{pair, "clip-tiny", map[string]any{"text_config_dict": map[string]any{"hidden_act": "silu"}}, []string{"text_config", `hidden_act is "silu"`}},
		{pair, "clip-tiny", map[string]any{"vision_config.patch_size": 33}, []string{"vision_config", "patch_size is 33 and image_size 32"}},
		{pair, "clip-tiny", map[string]any{"vision_config": "x"}, []string{"vision_config"}},
		{pair, "clip-tiny", map[string]any{"projection_dim": 0}, []string{"projection_dim is 0"}},
	} {
		dir := changed(t, filepath.Join(set, c.dir), c.change)
		err := c.read(dir)
		for _, part := range append(c.want, filepath.Join(dir, "config.json")) {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s with %v: error %v, want %q", c.dir, c.change, err, part)
			}
		}
	}
}

// TestDefaults: a key that is missing has transformers' default, and the keys of …_dict count in
// old files.
func TestDefaults(t *testing.T) {
	dir := changed(t, filepath.Join(set, "clip-tiny"), map[string]any{"text_config": nil, "projection_dim": nil,
		"vision_config_dict": map[string]any{"hidden_size": 1024, "num_attention_heads": 16}})
	c, err := clip.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := clip.Config{Text: clip.TextConfig{Encoder: clip.Encoder{Width: 512, Hidden: 2048, Layers: 12, Heads: 8, Activation: "quick_gelu", Epsilon: 1e-5}, Vocabulary: 49408, Positions: 77, End: 49407},
		Vision:     clip.VisionConfig{Encoder: clip.Encoder{Width: 1024, Hidden: 3072, Layers: 12, Heads: 16, Activation: "quick_gelu", Epsilon: 1e-5}, ImageSize: 224, PatchSize: 32, Channels: 3},
		Projection: 512}
	if c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// TestParameters pins the numbers of parameters of published models.
func TestParameters(t *testing.T) {
	count := func(params []nn.Param) (n int) {
		for _, p := range params {
			n += p.Size()
		}
		return n
	}
	sd := clip.TextConfig{Encoder: clip.Encoder{Width: 768, Hidden: 3072, Layers: 12, Heads: 12}, Vocabulary: 49408, Positions: 77}
	if n := count(sd.Params()); n != 123_060_480 {
		t.Errorf("the text encoder of Stable Diffusion 1.5 has %d parameters, want 123,060,480", n)
	}
	large := clip.Config{Text: sd, Vision: clip.VisionConfig{Encoder: clip.Encoder{Width: 1024, Hidden: 4096, Layers: 24, Heads: 16}, ImageSize: 224, PatchSize: 14, Channels: 3}, Projection: 768}
	if n := count(large.Params()); n != 427_616_513 {
		t.Errorf("CLIP ViT-L/14 has %d parameters, want 427,616,513", n)
	}
}

// TestMatch: a configuration that contradicts the tensors is an error with both values.
func TestMatch(t *testing.T) {
	for key, c := range map[string]struct {
		value any
		want  []string
	}{
		"text_config.hidden_size":         {36, []string{"text_model.final_layer_norm.weight", "[32]", "hidden_size is 36"}},
		"text_config.vocab_size":          {2000, []string{"text_model.embeddings.token_embedding.weight", "[1514 32]", "vocab_size is 2000"}},
		"text_config.num_hidden_layers":   {1, []string{"text_model.encoder.layers.1.", "num_hidden_layers is 1"}},
		"text_config.intermediate_size":   {65, []string{"mlp.fc1.weight", "[64 32]", "intermediate_size is 65"}},
		"vision_config.image_size":        {64, []string{"vision_model.embeddings.position_embedding.weight", "[17 48]", "(image_size / patch_size)² + 1 is 65"}},
		"vision_config.patch_size":        {4, []string{"patch_embedding.weight", "[48 3 8 8]", "patch_size is 4"}},
		"vision_config.num_channels":      {4, []string{"patch_embedding.weight", "[48 3 8 8]", "num_channels is 4"}},
		"vision_config.num_hidden_layers": {1, []string{"vision_model.encoder.layers.1.", "num_hidden_layers is 1"}},
		"projection_dim":                  {25, []string{"text_projection.weight", "[24 32]", "projection_dim is 25"}},
	} {
		model, err := clip.Read(changed(t, filepath.Join(set, "clip-tiny"), map[string]any{key: c.value}))
		if err != nil {
			t.Fatal(err)
		}
		err = model.Match(open(t, filepath.Join(set, "clip-tiny")))
		for _, part := range append(c.want, "model.safetensors", "config.json") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s %v: error %v, want %q", key, c.value, err, part)
			}
		}
	}
	text, err := clip.ReadText(changed(t, filepath.Join(set, "sd-tiny/text_encoder"), map[string]any{"num_hidden_layers": 2}))
	if err != nil {
		t.Fatal(err)
	}
	if err := text.Match(open(t, filepath.Join(set, "sd-tiny/text_encoder"))); err == nil || !strings.Contains(err.Error(), "num_hidden_layers is 2") {
		t.Errorf("a text encoder of fewer layers than the file has: error %v", err)
	}
}

// TestHalf: a file of bfloat16 numbers, whose names have no prefix, gives what one of the same
// numbers in float32 gives.
func TestHalf(t *testing.T) {
	b := modeltest.Backend(t)
	from := filepath.Join(set, "sd-tiny/text_encoder")
	whole, err := checkpoint.ReadFile(filepath.Join(from, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	rounded, half := map[string]checkpoint.Tensor{}, map[string]checkpoint.Tensor{}
	for name, x := range whole {
		if x.DType != "F32" {
			continue
		}
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		for i, v := range values {
			bits := math.Float32bits(v) >> 16
			data = binary.LittleEndian.AppendUint16(data, uint16(bits))
			values[i] = math.Float32frombits(bits << 16)
		}
		rounded[name] = checkpoint.Floats(values, x.Shape...)
		half[strings.TrimPrefix(name, "text_model.")] = checkpoint.Tensor{DType: "BF16", Shape: x.Shape, Data: data}
	}
	ids := make([]int32, 77)
	for i := range ids {
		ids[i] = int32(i * 25)
	}
	var states [2][]float32
	for i, weights := range []map[string]checkpoint.Tensor{rounded, half} {
		dir := changed(t, from, nil)
		if err := checkpoint.WriteFile(filepath.Join(dir, "model.safetensors"), weights); err != nil {
			t.Fatal(err)
		}
		c, arrays := loadText(t, b, dir)
		out := run(t, b, fmt.Sprint("half ", i), func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{c.Encode(nn.Bind(c.Params(), in[1:]), in[0]).Last}
		}, append([]*tensors.Tensor{tensors.FromFlatDataAndDimensions(ids, 1, 77)}, arrays...)...)
		states[i] = backend.Float32s(out[0])
	}
	if !slices.Equal(states[0], states[1]) {
		t.Error("states differ")
	}
}

// FuzzConfig: any file is an error or a configuration whose parameters can be listed.
func FuzzConfig(f *testing.F) {
	for _, dir := range []string{"clip-tiny", "sd-tiny/text_encoder"} {
		b, err := os.ReadFile(filepath.Join(set, dir, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"model_type": "clip", "text_config_dict": {"hidden_size": 8}, "vision_config": null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		check := func(params []nn.Param, err error) {
			if err != nil {
				if !strings.Contains(err.Error(), dir) {
					t.Errorf("the error names no file: %v", err)
				}
				return
			}
			names := map[string]bool{}
			for _, p := range params {
				if names[p.Name] = true; p.Size() < 1 {
					t.Errorf("%s has the shape %v", p.Name, p.Shape)
				}
			}
			if len(names) != len(params) {
				t.Errorf("%d parameters have %d names", len(params), len(names))
			}
		}
		text, err := clip.ReadText(dir)
		check(text.Params(), err)
		pair, err := clip.Read(dir)
		check(pair.Params(), err)
	})
}
