package vae_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/checkpoint"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/reference"
	"ablate/models/vae"
)

// load returns the network of a case's checkpoint, and the weights of its halves. The decoder's kernels are OHWI.
func load(t *testing.T, b backend.Backend, c *reference.Case) (v *vae.VAE, encoder, decoder []*tensors.Tensor) {
	t.Helper()
	dir := filepath.Join(c.Checkpoint(), "vae")
	config, err := vae.ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	v = vae.New(config)
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if encoder, err = nn.Load(b, w, v.EncoderParams(), vae.Names); err != nil {
		t.Fatal(err)
	}
	if decoder, err = nn.Load(b, w, nn.Ordered(v.DecoderParams(), true), vae.Names); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Names()); n != len(encoder)+len(decoder) {
		t.Errorf("the file has %d tensors, and the network %d parameters", n, len(encoder)+len(decoder))
	}
	return v, encoder, decoder
}

// TestReferenceVAE compares both halves, with the activations of their middle, with diffusers.
func TestReferenceVAE(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range reference.Cases(t, "vae.safetensors") {
		v, encoder, decoder := load(t, b, c)
		var stages []string
		trace := func(nodes *[]*graph.Node) vae.Trace {
			stages = nil
			return func(stage string, x *graph.Node) { stages, *nodes = append(stages, stage), append(*nodes, x) }
		}
		call := func(name string, params []*tensors.Tensor, build func(in []*graph.Node) []*graph.Node, in ...*tensors.Tensor) []*tensors.Tensor {
			fn, err := backend.NewFn(b, name+c.Name, 0, build)
			if err != nil {
				t.Fatal(err)
			}
			out, err := fn.Call(append(in, params...)...)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		traced := func(out []*tensors.Tensor) {
			for i, stage := range stages {
				reference.Check(t, c, "vae_"+stage, modeltest.ChannelsFirst(out[i]))
			}
		}
		out := call("encode ", encoder, func(in []*graph.Node) []*graph.Node {
			var nodes []*graph.Node
			moments := v.Encode(nn.Bind(v.EncoderParams(), in[2:]), in[0], trace(&nodes))
			mean, log, std := vae.Distribution(moments)
			sample := graph.Add(mean, graph.Mul(std, in[1]))
			return append([]*graph.Node{moments, mean, log, std, sample, v.Config.Scaled(sample)}, nodes...)
		}, modeltest.Images(t, c, "vae_image_in"), modeltest.Images(t, c, "vae_noise"))
		for i, key := range []string{"moments", "mean", "logvar", "std", "sample", "latents"} {
			reference.Check(t, c, "vae_"+key, modeltest.ChannelsFirst(out[i]))
		}
		traced(out[6:])
		decode := func(in []*graph.Node) []*graph.Node {
			var nodes []*graph.Node
			return append([]*graph.Node{v.Decode(nn.Bind(nn.Ordered(v.DecoderParams(), true), in[1:]), in[0], trace(&nodes))}, nodes...)
		}
		latents := call("unscale ", nil, func(in []*graph.Node) []*graph.Node { return []*graph.Node{v.Config.Unscaled(in[0])} }, out[5])
		out = call("decode ", decoder, decode, latents[0])
		reference.Check(t, c, "vae_decoded", modeltest.ChannelsFirst(out[0]))
		traced(out[1:])
		var bytes []uint8
		for _, x := range modeltest.ChannelsFirst(out[0]) {
			bytes = append(bytes, uint8(math.RoundToEven(float64(min(max(x/2+.5, 0), 1))*255)))
		}
		reference.Check(t, c, "vae_decoded_uint8", bytes)
		reference.Check(t, c, "vae_decode_out", modeltest.ChannelsFirst(call("decode one ", decoder, decode, modeltest.Images(t, c, "vae_decode_in"))[0]))
	}
}
