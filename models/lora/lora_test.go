package lora

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
)

// TestMerge: an update is 0 at the start, and merging on the host gives the same weights as
// inside a graph.
func TestMerge(t *testing.T) {
	b := modeltest.Backend(t)
	network := append(nn.LinearParams("block.attention.qkv", 5, 7, 1), nn.LinearParams("mlp", 7, 3, 1)...)
	for targets, want := range map[string]int{"attention": 2, "all": 4} {
		c := Config{Rank: 2, Targets: targets}
		ps, err := c.Params(network)
		if err != nil || len(ps) != want {
			t.Fatalf("%s: %d arrays, %v", targets, len(ps), err)
		}
		v, u := nn.Init(network, random.Stream(1, "test", "init", 0)), nn.Init(ps, random.Stream(2, "test", "init", 0))
		for name, x := range c.Merge(v, u) {
			for i := range x {
				if x[i] != v[name][i] {
					t.Fatalf("%s: an update that has learned nothing changes %s", targets, name)
				}
			}
		}
		for _, p := range ps {
			random.Normal(random.Stream(3, "test", p.Name, 0), u[p.Name])
		}
		n := len(network)
		fn, err := backend.NewFn(b, "merge", 0, func(in []*graph.Node) []*graph.Node {
			w := c.Weights(nn.Bind(network, in[:n]), nn.Bind(ps, in[n:]))
			out := make([]*graph.Node, n)
			for i, p := range network {
				out[i] = graph.Add(w.At(p.Name), graph.ZerosLike(w.At(p.Name)))
			}
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		x, err := v.Tensors(b, network)
		if err != nil {
			t.Fatal(err)
		}
		y, err := u.Tensors(b, ps)
		if err != nil {
			t.Fatal(err)
		}
		out, err := fn.Call(append(x, y...)...)
		if err != nil {
			t.Fatal(err)
		}
		moved := 0.
		merged := c.Merge(v, u)
		for name, x := range nn.ValuesOf(network, out) {
			for i := range x {
				moved = max(moved, math.Abs(float64(x[i]-v[name][i])))
				if math.Abs(float64(x[i]-merged[name][i])) > 1e-5 {
					t.Fatalf("%s: %s differs by %v", targets, name, x[i]-merged[name][i])
				}
			}
		}
		if moved == 0 {
			t.Errorf("%s: the update changes nothing", targets)
		}
	}
	if _, err := (Config{Rank: 2, Targets: "attention"}).Params(nn.LinearParams("mlp", 2, 2, 1)); err == nil {
		t.Error("a network without attention has targets")
	}
}

// TestMergeKernels: merged into the kernel of a convolution, an update is B·A for each of its pixels, in both orders of
// kernels.
func TestMergeKernels(t *testing.T) {
	b := modeltest.Backend(t)
	const size, in, out, rank = 3, 4, 5, 2
	network := nn.ConvParams("conv", size, in, out)
	a := &Adapter{Layers: []Layer{{Name: "conv", Rank: rank, Scale: 1.5, a: []int{size, size, in, rank}, b: []int{out, rank}}}, Values: nn.Values{}}
	for _, p := range a.Params() {
		a.Values[p.Name] = make([]float32, p.Size())
		random.Normal(random.Stream(3, "test", p.Name, 0), a.Values[p.Name])
	}
	for _, ohwi := range []bool{false, true} {
		network := nn.Ordered(network, ohwi)
		zeros, err := nn.Zeros(b, network)
		if err != nil {
			t.Fatal(err)
		}
		merged, err := a.Merge(b, network, zeros, 1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := nn.Filed(network, nn.ValuesOf(network, merged))["conv.weight"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		for o := range out {
			for i := range in {
				for k := range size * size {
					want := 0.
					for r := range rank {
						want += 1.5 * float64(a.Values["conv"+up][o*rank+r]*a.Values["conv"+down][(k*in+i)*rank+r])
					}
					if x := got[(o*in+i)*size*size+k]; math.Abs(float64(x)-want) > 1e-5 {
						t.Fatalf("OHWI is %v: output %d, input %d, pixel %d is %v, want %v", ohwi, o, i, k, x, want)
					}
				}
			}
		}
	}
}
