package lora

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/nn"
)

// An Adapter has the low-rank updates of a network's layers.
type Adapter struct {
	Layers []Layer // by name
	Values nn.Values
}

// A Layer is a linear layer or a convolution with an update: Scale·B·A is added to its weight.
type Layer struct {
	Name  string
	Rank  int
	Scale float64 // α/rank
	a, b  []int   // shapes of the factors
}

// Add adds the update of a linear layer, with its factors A float32[rank, in] and
// B float32[out, rank].
func (a *Adapter) Add(layer string, rank int, alpha float64, in, out int, A, B []float32) {
	a.Layers = append(a.Layers, Layer{layer, rank, alpha / float64(rank), []int{rank, in}, []int{out, rank}})
	a.Values[layer+down], a.Values[layer+up] = A, B
}

// Params are the factors of all updates, in the order of the layers.
func (a *Adapter) Params() []nn.Param {
	var ps []nn.Param
	for _, l := range a.Layers {
		ps = append(ps, nn.Param{Name: l.Name + down, Shape: l.a}, nn.Param{Name: l.Name + up, Shape: l.b})
	}
	return ps
}

// Write writes the updates of linear layers, all of one rank, as diffusers' save_lora_weights does: with peft's names, and with the
// rank and α in the header.
func (a *Adapter) Write(path, component string) error {
	ends := map[string]bool{}
	tensors := map[string]checkpoint.Tensor{}
	for _, l := range a.Layers {
		if len(l.a) != 2 || l.Rank != a.Layers[0].Rank || l.Scale != a.Layers[0].Scale {
			return fmt.Errorf("%s: layer %s is no linear layer, or has another rank or scale than %s", path, l.Name, a.Layers[0].Name)
		}
		_, end, _ := strings.Cut(l.Name[max(0, strings.LastIndex(l.Name, "attn")):], ".")
		ends[end] = true
		tensors[component+"."+l.Name+down+".weight"] = checkpoint.Floats(a.Values[l.Name+down], l.a...)
		tensors[component+"."+l.Name+up+".weight"] = checkpoint.Floats(a.Values[l.Name+up], l.b...)
	}
	rank := a.Layers[0].Rank
	text, err := json.Marshal(map[string]any{component + ".r": rank, component + ".lora_alpha": a.Layers[0].Scale * float64(rank), component + ".target_modules": slices.Sorted(maps.Keys(ends))})
	if err != nil {
		return err
	}
	return checkpoint.WriteFileAbout(path, map[string]string{"lora_adapter_metadata": string(text)}, tensors)
}

// Weights returns the network's weights with the updates beside them, times strength, so that
// layers of package nn compute W·x + B·(A·x).
func (a *Adapter) Weights(network, updates nn.Weights, strength float64) nn.Weights {
	w := maps.Clone(network)
	for _, l := range a.Layers {
		w[l.Name+down] = updates.At(l.Name + down)
		w[l.Name+up] = graph.MulScalar(updates.At(l.Name+up), l.Scale*strength)
	}
	return w
}

// parts are the ends of tensors' names in the files of adapters, and what such a tensor has.
var parts = []struct{ end, what string }{
	{".lora.down.weight", down}, {".lora.up.weight", up}, // diffusers
	{".lora_A.weight", down}, {".lora_B.weight", up}, // peft
	{".lora_A.default.weight", down}, {".lora_B.default.weight", up},
	{".lora_down.weight", down}, {".lora_up.weight", up}, // kohya
	{".alpha", "alpha"},
}

// Read reads a file of updates with the names of diffusers, peft or kohya. component is the part
// of the pipeline that the network is, unet or text_encoder. A tensor that is of the component
// and belongs to no layer of the network is an error; those of other components are not read.
// α is that of the file's metadata or of its tensors, and otherwise the rank.
func Read(path, component string, network []nn.Param) (*Adapter, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fail := func(format string, args ...any) (*Adapter, error) {
		return nil, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
	weights, flat := map[string]nn.Param{}, map[string]string{}
	for _, p := range network {
		if layer, ok := strings.CutSuffix(p.Name, ".weight"); ok && len(p.Shape) >= 2 {
			weights[layer] = p
			flat[strings.ReplaceAll(layer, ".", "_")] = layer
		}
	}
	kohya := map[string]string{"unet": "lora_unet_", "text_encoder": "lora_te_"}[component]
	found, alphas := map[string]map[string]checkpoint.Tensor{}, map[string]float64{}
	for _, name := range f.Names() {
		layer, what := "", ""
		for _, p := range parts {
			if before, ok := strings.CutSuffix(name, p.end); ok {
				layer, what = before, p.what
			}
		}
		if short, ok := strings.CutPrefix(layer, kohya); ok {
			layer = flat[strings.TrimPrefix(short, "text_model_")]
			if layer == "" {
				layer = short
			}
		} else if rest, ok := strings.CutPrefix(strings.TrimPrefix(layer, "base_model.model."), component+"."); ok {
			layer = strings.TrimPrefix(rest, "text_model.")
		} else if of, _, dotted := strings.Cut(name, "."); dotted && (of == "unet" || strings.HasPrefix(of, "text_encoder")) || strings.HasPrefix(name, "lora_te") || strings.HasPrefix(name, "lora_unet_") {
			continue // another component's
		}
		if _, ok := weights[layer]; !ok || what == "" {
			return fail("tensor %s is an update of no layer of the %s: it is of another model, or its names are of a form that is not known; those of diffusers, peft and kohya are", name, component)
		}
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		if what == "alpha" {
			x, err := t.Float32()
			if err != nil || len(x) != 1 {
				return fail("tensor %s must be one number", name)
			}
			alphas[layer] = float64(x[0])
			continue
		}
		if found[layer] == nil {
			found[layer] = map[string]checkpoint.Tensor{}
		}
		found[layer][what] = t
	}
	alpha, err := metadataAlpha(f.About()["lora_adapter_metadata"], component)
	if err != nil {
		return fail("lora_adapter_metadata: %v", err)
	}
	a := &Adapter{Values: nn.Values{}}
	for _, layer := range slices.Sorted(maps.Keys(found)) {
		of, p := found[layer], weights[layer]
		A, B := of[down], of[up]
		if A.Shape == nil || B.Shape == nil {
			return fail("layer %s has only one of the two factors of its update", layer)
		}
		l := Layer{Name: layer, Rank: A.Shape[0]}
		wantA, wantB := []int{l.Rank, p.Shape[len(p.Shape)-1]}, []int{p.Shape[0], l.Rank}
		kernel := len(p.Shape) == 4
		if kernel { // [size, size, in, out] here; [rank, in, size, size] in the file
			wantA, wantB = []int{l.Rank, p.Shape[2], p.Shape[0], p.Shape[1]}, []int{p.Shape[3], l.Rank, 1, 1}
		}
		if l.Rank < 1 || !slices.Equal(A.Shape, wantA) || !slices.Equal(B.Shape, wantB) {
			return fail("layer %s: its update has the shapes %v and %v, and the network wants %v and %v", layer, A.Shape, B.Shape, wantA, wantB)
		}
		if err := errors.Join(A.Finite(), B.Finite()); err != nil {
			return fail("layer %s: %v", layer, err)
		}
		x, err := A.Float32()
		if err != nil {
			return fail("layer %s: %v", layer, err)
		}
		y, err := B.Float32()
		if err != nil {
			return fail("layer %s: %v", layer, err)
		}
		l.a, l.b = wantA, []int{wantB[0], l.Rank}
		if kernel {
			l.a = []int{p.Shape[0], p.Shape[1], p.Shape[2], l.Rank}
			x = transposed(x, l.a)
		}
		a.Values[layer+down], a.Values[layer+up] = x, y
		l.Scale = 1
		if own, ok := alphas[layer]; ok {
			l.Scale = own / float64(l.Rank)
		} else if alpha != nil {
			l.Scale = alpha.of(layer) / float64(l.Rank)
		}
		a.Layers = append(a.Layers, l)
	}
	if len(a.Layers) == 0 {
		return fail("it has no update of the %s", component)
	}
	return a, nil
}

// transposed moves a kernel from PyTorch's order [out, in, h, w] to dims, [h, w, in, out].
func transposed(x []float32, dims []int) []float32 {
	h, w, in, out := dims[0], dims[1], dims[2], dims[3]
	y := make([]float32, len(x))
	for o := range out {
		for i := range in {
			for k := range h * w {
				y[(k*in+i)*out+o] = x[(o*in+i)*h*w+k]
			}
		}
	}
	return y
}

// scales are α of a file's metadata.
type scales struct {
	alpha   float64
	pattern map[string]float64
}

// of returns α of a layer: peft's pattern that is the layer's name or its end, or that of all.
func (s *scales) of(layer string) float64 {
	for _, key := range slices.Sorted(maps.Keys(s.pattern)) {
		if layer == key || strings.HasSuffix(layer, "."+key) {
			return s.pattern[key]
		}
	}
	return s.alpha
}

// metadataAlpha reads α from what diffusers writes into the header; nil if there is none.
func metadataAlpha(text, component string) (*scales, error) {
	if text == "" {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	var s scales
	alpha, ok := raw[component+".lora_alpha"]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal(alpha, &s.alpha); err != nil {
		return nil, fmt.Errorf("%s.lora_alpha is %s: must be a number", component, alpha)
	}
	if pattern, ok := raw[component+".alpha_pattern"]; ok {
		if err := json.Unmarshal(pattern, &s.pattern); err != nil {
			return nil, fmt.Errorf("%s.alpha_pattern: %w", component, err)
		}
	}
	for _, key := range []string{"use_dora", "use_rslora"} {
		if text := string(raw[component+"."+key]); text == "true" {
			return nil, fmt.Errorf("%s.%s is true: use an engine that has this form of update", component, key)
		}
	}
	return &s, nil
}

// Merge returns the arrays of a network with the updates added to their weights, times strength.
// It frees arrays that it replaces.
func (a *Adapter) Merge(b backend.Backend, network []nn.Param, arrays []*tensors.Tensor, strength float64) ([]*tensors.Tensor, error) {
	own, err := a.Values.Tensors(b, a.Params())
	if err != nil {
		return nil, err
	}
	defer backend.Free(own...)
	at := map[string]int{}
	for i, p := range network {
		at[p.Name] = i
	}
	arrays = slices.Clone(arrays)
	fns := map[string]*backend.Fn{}
	for i, l := range a.Layers {
		k, ok := at[l.Name+".weight"]
		if !ok {
			return nil, fmt.Errorf("lora: the network has no layer %s", l.Name)
		}
		key := fmt.Sprint(network[k].Shape, l.Rank)
		if fns[key] == nil {
			if fns[key], err = backend.NewFn(b, "merge "+key, 1, func(in []*graph.Node) []*graph.Node {
				w, a, b, scale := in[0], in[1], in[2], in[3]
				var update *graph.Node
				switch {
				case w.Rank() == 2:
					update = graph.DotGeneral(b, []int{1}, nil, a, []int{0}, nil) // [out, in]
				case network[k].OHWI:
					update = graph.DotGeneral(b, []int{1}, nil, a, []int{3}, nil) // [out, size, size, in]
				default:
					update = graph.DotGeneral(a, []int{3}, nil, b, []int{1}, nil) // [size, size, in, out]
				}
				return []*graph.Node{graph.Add(w, graph.Mul(scale, update))}
			}); err != nil {
				return nil, err
			}
		}
		scale := tensors.FromScalar(float32(l.Scale * strength))
		out, err := fns[key].Call(arrays[k], own[2*i], own[2*i+1], scale)
		backend.Free(scale)
		if err != nil {
			return nil, err
		}
		arrays[k] = out[0]
	}
	return arrays, nil
}
