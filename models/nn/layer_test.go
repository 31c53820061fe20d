package nn_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
)

// TestSoftplus compares values and derivatives, σ(z), with those in float64, also at 0,
// where every pair of DPO begins.
func TestSoftplus(t *testing.T) {
	x := []float32{-80, -3, -1e-3, 0, 1e-3, 3, 80}
	fn, err := backend.NewFn(modeltest.Backend(t), "softplus", 0, func(in []*graph.Node) []*graph.Node {
		y := nn.Softplus(in[0])
		return []*graph.Node{y, graph.Gradient(graph.ReduceAllSum(y), in[0])[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := fn.Call(tensors.FromFlatDataAndDimensions(x, len(x)))
	if err != nil {
		t.Fatal(err)
	}
	value, slope := backend.Float32s(out[0]), backend.Float32s(out[1])
	for i, z := range x {
		want, rise := max(float64(z), 0)+math.Log1p(math.Exp(-math.Abs(float64(z)))), 1/(1+math.Exp(-float64(z)))
		if math.Abs(float64(value[i])-want) > 1e-6*(1+want) || math.Abs(float64(slope[i])-rise) > 1e-6 {
			t.Errorf("at %v: %v with slope %v, want %v and %v", z, value[i], slope[i], want, rise)
		}
	}
}

// call builds and calls a graph once, and returns the outputs on the host.
func call(t *testing.T, build func(in []*graph.Node) []*graph.Node, in ...*tensors.Tensor) [][]float32 {
	t.Helper()
	fn, err := backend.NewFn(modeltest.Backend(t), t.Name(), 0, build)
	if err != nil {
		t.Fatal(err)
	}
	out, err := fn.Call(in...)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]float32
	for _, x := range out {
		all = append(all, backend.Float32s(x))
	}
	return all
}

// normal returns an array of normal random numbers.
func normal(name string, dims ...int) *tensors.Tensor {
	n := 1
	for _, d := range dims {
		n *= d
	}
	x := make([]float32, n)
	random.Normal(random.Stream(1, "test", name, 0), x)
	return tensors.FromFlatDataAndDimensions(x, dims...)
}

func equal(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 1e-5 {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

// TestSelfAttention compares attention and its gradient, for few and for many tokens, with the
// formula by matrix products and its automatic gradient.
func TestSelfAttention(t *testing.T) {
	for _, tokens := range []int{1, 4, 9} {
		const b, h, kw = 2, 3, 5
		out := call(t, func(in []*graph.Node) []*graph.Node {
			loss := func(y *graph.Node) *graph.Node { return graph.ReduceAllSum(graph.Mul(y, in[1])) }
			y := nn.SelfAttention(in[0], h)
			var part [3]*graph.Node
			for i := range part {
				part[i] = graph.Slice(graph.Reshape(in[0], b, tokens, 3, h, kw), graph.AxisRange(), graph.AxisRange(), graph.AxisElem(i))
				part[i] = graph.Reshape(part[i], b, tokens, h, kw)
			}
			p := graph.Softmax(graph.MulScalar(graph.Einsum("bqhk,bthk->bhqt", part[0], part[1]), 1/math.Sqrt(kw)), -1)
			want := graph.Reshape(graph.Einsum("bhqt,bthk->bqhk", p, part[2]), b, tokens, h*kw)
			return []*graph.Node{y, graph.Gradient(loss(y), in[0])[0], graph.Gradient(graph.ReduceAllSum(y), in[0])[0],
				want, graph.Gradient(loss(want), in[0])[0], graph.Gradient(graph.ReduceAllSum(want), in[0])[0]}
		}, normal("qkv", b, tokens, 3*h*kw), normal("dy", b, tokens, h*kw))
		for i, what := range []string{"attention", "gradient", "another gradient"} {
			equal(t, what, out[i], out[3+i])
		}
	}
}

// TestSplit: the parts and their gradients are those of slices, also if a part is not used.
func TestSplit(t *testing.T) {
	out := call(t, func(in []*graph.Node) []*graph.Node {
		parts := nn.Split(in[0], 1, 1, 2, 3)
		all := graph.Gradient(graph.Add(graph.ReduceAllSum(graph.Square(parts[0])), graph.ReduceAllSum(graph.Exp(parts[2]))), in[0])
		again := graph.Gradient(graph.ReduceAllSum(parts[1]), in[0])
		return append(append(parts, all...), again...)
	}, tensors.FromFlatDataAndDimensions([]float32{1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6}, 2, 6))
	e := func(x float64) float32 { return float32(math.Exp(x)) }
	equal(t, "first part", out[0], []float32{1, -1})
	equal(t, "second part", out[1], []float32{2, 3, -2, -3})
	equal(t, "third part", out[2], []float32{4, 5, 6, -4, -5, -6})
	equal(t, "gradient", []float32{out[3][0], out[3][1], out[3][2], out[3][3] / e(4), out[3][6], out[3][9] / e(-4)}, []float32{2, 0, 0, 1, -2, 1})
	equal(t, "another gradient", out[4], []float32{0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0})
}
