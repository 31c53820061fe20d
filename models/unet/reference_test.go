package unet_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/reference"
	"ablate/models/unet"
)

// load returns the network of a case's checkpoint, and its weights.
func load(t *testing.T, b backend.Backend, c *reference.Case) (*unet.UNet, []*tensors.Tensor) {
	t.Helper()
	dir := filepath.Join(c.Checkpoint(), "unet")
	config, err := unet.ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	u := unet.New(config)
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	arrays, err := nn.Load(b, w, u.Params(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if names := w.Names(); len(names) != len(arrays) {
		t.Errorf("the file has %d tensors, and the network %d parameters", len(names), len(arrays))
	}
	return u, arrays
}

func times(t *testing.T, c *reference.Case, key string) []float32 {
	t.Helper()
	var out []float32
	for _, x := range c.Ints(t, key) {
		out = append(out, float32(x))
	}
	return out
}

// TestReferenceUNet compares outputs, and the activations after each stage, with diffusers.
func TestReferenceUNet(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "unet.safetensors") {
		u, arrays := load(t, b, c)
		var stages []string
		fn, err := backend.NewFn(b, "unet "+c.Name, 0, func(in []*graph.Node) []*graph.Node {
			var traced []*graph.Node
			stages = nil
			y := u.Denoise(nn.Bind(u.Params(), in[3:]), in[0], in[1], in[2], func(stage string, x *graph.Node) {
				stages, traced = append(stages, stage), append(traced, x)
			})
			return append([]*graph.Node{y}, traced...)
		})
		if err != nil {
			t.Fatal(err)
		}
		call := func(x *tensors.Tensor, at []float32, text *tensors.Tensor) []*tensors.Tensor {
			out, err := fn.Call(append([]*tensors.Tensor{x, tensors.FromFlatDataAndDimensions(at, len(at)), text}, arrays...)...)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		x, text := modeltest.Images(t, c, "unet_sample_in"), modeltest.Floats(t, c, "unet_context")
		n := x.Shape().Dimensions[0]
		var all []float32
		for _, at := range c.Floats(t, "unet_timesteps") {
			all = append(all, modeltest.ChannelsFirst(call(x, slices.Repeat([]float32{at}, n), text)[0])...)
		}
		reference.Check(t, c, "unet_out", all)
		out := call(x, times(t, c, "unet_batch_timesteps"), text)
		reference.Check(t, c, "unet_batch_out", modeltest.ChannelsFirst(out[0]))
		for i, stage := range stages {
			reference.Check(t, c, "trace_"+stage, modeltest.ChannelsFirst(out[1+i]))
		}
		if c.Has("unet_odd_sample_in") {
			odd := call(modeltest.Images(t, c, "unet_odd_sample_in"), times(t, c, "unet_odd_timestep"), modeltest.First(text, 1))
			reference.Check(t, c, "unet_odd_out", modeltest.ChannelsFirst(odd[0]))
		}
		if c.Has("unet_short_context") {
			short := call(modeltest.First(x, 1), times(t, c, "unet_batch_timesteps")[:1], modeltest.Floats(t, c, "unet_short_context"))
			reference.Check(t, c, "unet_short_context_out", modeltest.ChannelsFirst(short[0]))
		}
	}
}
