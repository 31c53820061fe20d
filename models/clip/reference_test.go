package clip_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/clip"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/reference"
)

// open returns the weights in a folder, which stay open until the test ends.
func open(t testing.TB, dir string) *checkpoint.Weights {
	t.Helper()
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// loadText returns the text encoder in a folder, and its parameters on the device.
func loadText(t testing.TB, b backend.Backend, dir string) (clip.TextConfig, []*tensors.Tensor) {
	t.Helper()
	c, err := clip.ReadText(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, dir)
	if err := c.Match(w); err != nil {
		t.Fatal(err)
	}
	arrays, err := nn.Load(b, w, c.Params(), clip.Names)
	if err != nil {
		t.Fatal(err)
	}
	return c, arrays
}

// ids is a tensor of a case as int32.
func ids(t testing.TB, c *reference.Case, key string) *tensors.Tensor {
	t.Helper()
	var x []int32
	for _, id := range c.Ints(t, key) {
		x = append(x, int32(id))
	}
	return tensors.FromFlatDataAndDimensions(x, c.Shape(t, key)...)
}

func run(t testing.TB, b backend.Backend, name string, build func(in []*graph.Node) []*graph.Node, in ...*tensors.Tensor) []*tensors.Tensor {
	t.Helper()
	fn, err := backend.NewFn(b, name, 0, build)
	if err != nil {
		t.Fatal(err)
	}
	out, err := fn.Call(in...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReferenceTextEncoder compares the states after every layer of a text encoder, and its
// outputs, with transformers'.
func TestReferenceTextEncoder(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "text_encoder.safetensors") {
		text, arrays := loadText(t, b, filepath.Join(c.Checkpoint(), "text_encoder"))
		var keys []string
		out := run(t, b, "text "+c.Name, func(in []*graph.Node) []*graph.Node {
			w := nn.Bind(text.Params(), in[1:])
			x := text.Encode(w, in[0])
			penultimate := x.Hidden[len(x.Hidden)-2]
			keys = []string{"last_hidden_state", "pooler_output", "penultimate", "penultimate_final_norm", "embeddings"}
			for i := range text.Layers {
				keys = append(keys, fmt.Sprintf("layer_%d", i+1))
			}
			return append([]*graph.Node{x.Last, x.Pooled, penultimate, text.Normalize(w, penultimate)}, x.Hidden...)
		}, append([]*tensors.Tensor{ids(t, c, "input_ids")}, arrays...)...)
		for i, key := range keys {
			reference.Check(t, c, key, backend.Float32s(out[i]))
		}
	}
}

// TestReferenceCLIP compares features, similarities and the states of both encoders.
func TestReferenceCLIP(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "clip.safetensors") {
		model, err := clip.Read(c.Checkpoint())
		if err != nil {
			t.Fatal(err)
		}
		w := open(t, c.Checkpoint())
		if err := model.Match(w); err != nil {
			t.Fatal(err)
		}
		arrays, err := nn.Load(b, w, model.Params(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if unread := unread(w, model.Params()); len(unread) > 0 {
			t.Errorf("tensors without a parameter: %s", strings.Join(unread, ", "))
		}
		in := append([]*tensors.Tensor{ids(t, c, "input_ids"), ids(t, c, "attention_mask"), modeltest.Images(t, c, "pixel_values")}, arrays...)
		keys := []string{"text_features", "image_features", "text_embeds", "image_embeds", "cosine", "logits_per_image", "logits_per_text",
			"clip_score", "text_last_hidden_state", "vision_last_hidden_state"}
		out := run(t, b, "clip "+c.Name, func(in []*graph.Node) []*graph.Node {
			w := nn.Bind(model.Params(), in[3:])
			texts, text := model.EncodeText(w, in[0], graph.ConvertDType(in[1], dtypes.Bool))
			images, vision := model.EncodeImage(w, in[2])
			cosine := clip.Cosine(images, texts)
			logits := clip.Logits(w, cosine)
			return []*graph.Node{texts, images, clip.Unit(texts), clip.Unit(images), cosine, logits, graph.Transpose(logits, 0, 1),
				clip.Score(cosine), text.Last, vision.Last}
		}, in...)
		for i, key := range keys {
			reference.Check(t, c, key, backend.Float32s(out[i]))
		}

		// The padding's mask changes no features, and each encoder alone is that of the pair.
		out = run(t, b, "parts "+c.Name, func(in []*graph.Node) []*graph.Node {
			all := nn.Bind(model.Params(), in[3:])
			part := func(prefix string) nn.Weights {
				w := nn.Weights{}
				for name, node := range all {
					if name, ok := strings.CutPrefix(name, prefix); ok {
						w[name] = node
					}
				}
				return w
			}
			features, _ := model.EncodeText(all, in[0], nil)
			text, vision := model.Text.Encode(part("text_model."), in[0]), model.Vision.Encode(part("vision_model."), in[2])
			return []*graph.Node{features, all.Product("text_projection", text.Pooled), all.Product("visual_projection", vision.Pooled)}
		}, in...)
		for i, key := range []string{"text_features", "text_features", "image_features"} {
			reference.Check(t, c, key, backend.Float32s(out[i]))
		}
	}
}

// unread are the tensors of a file that are no parameters, except the positions, which are
// known.
func unread(w *checkpoint.Weights, params []nn.Param) []string {
	known := map[string]bool{}
	for _, p := range params {
		known[p.Name] = true
	}
	var list []string
	for _, name := range w.Names() {
		if !known[name] && !strings.HasSuffix(name, "position_ids") {
			list = append(list, name)
		}
	}
	return list
}

// TestReferenceImages compares each step from an image to pixels. Pillow's bytes are met exactly.
func TestReferenceImages(t *testing.T) {
	for _, c := range reference.Cases(t, "image_processing.safetensors") {
		p, err := clip.ReadProcessor(c.Checkpoint())
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range c.Keys() {
			if !c.Has(key + "_resized") {
				continue
			}
			shape := c.Shape(t, key)
			x, err := p.Resized(clip.Image{Height: shape[0], Width: shape[1], RGB: bytes(c.Ints(t, key))})
			if err != nil {
				t.Fatal(err)
			}
			check := func(step string, x clip.Image) {
				reference.Check(t, c, key+step, x.RGB)
				off := 0
				for i, want := range c.Ints(t, key+step) {
					if int(x.RGB[i]) != want {
						off++
					}
				}
				if off > 0 {
					t.Errorf("%s%s: %d bytes differ", key, step, off)
				}
			}
			check("_resized", x)
			x = p.Cropped(x)
			check("_cropped", x)
			pixels := tensors.FromFlatDataAndDimensions(p.Pixels(x), 1, x.Height, x.Width, 3)
			reference.Check(t, c, key+"_pixel_values", modeltest.ChannelsFirst(pixels))
		}
	}
}

func bytes(x []int) []uint8 {
	b := make([]uint8, len(x))
	for i, v := range x {
		b[i] = uint8(v)
	}
	return b
}
