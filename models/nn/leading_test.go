package nn_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
)

// TestLeading: a policy and its reference in one pass have the outputs that they have in two, and the
// gradient by the updates is that of the policy, in blocks that are computed again, too.
func TestLeading(t *testing.T) {
	b := modeltest.Backend(t)
	params := append(nn.ConvParams("conv", 3, 4, 4), append(nn.LinearParams("q", 4, 4, 1), nn.LinearParams("k", 4, 4, 1)...)...)
	frozen := len(params)
	params = append(params, nn.Param{Name: "conv" + nn.LowRankA, Shape: []int{3, 3, 4, 2}, Std: .3}, nn.Param{Name: "conv" + nn.LowRankB, Shape: []int{4, 2}, Std: .3},
		nn.Param{Name: "q" + nn.LowRankA, Shape: []int{2, 4}, Std: .3}, nn.Param{Name: "q" + nn.LowRankB, Shape: []int{4, 2}, Std: .3})
	values := nn.Init(params, random.Stream(1, "test", "leading", 0))
	weights, err := values.Tensors(b, params)
	if err != nil {
		t.Fatal(err)
	}
	const n, side = 2, 3
	x := make([]float32, n*side*side*4)
	random.Normal(random.Stream(1, "test", "x", 0), x)
	args := append([]*tensors.Tensor{tensors.FromFlatDataAndDimensions(x, n, side, side, 4)}, weights...)
	for _, blocks := range []bool{false, true} {
		var results [2][][]float32
		for k := range results {
			fn, err := backend.NewFn(b, fmt.Sprint("leading ", k, blocks), 0, func(in []*graph.Node) []*graph.Node {
				saving := nn.Saving{Blocks: blocks, Frozen: func(name string) bool {
					for _, p := range params[:frozen] {
						if p.Name == name {
							return true
						}
					}
					return false
				}}
				apply := func(w nn.Weights, x *graph.Node) *graph.Node {
					for range 2 {
						x = saving.Block(w, params[:frozen], func(w nn.Weights, in []*graph.Node) *graph.Node {
							rows := in[0].Shape().Dimensions[0]
							h := graph.Reshape(w.Conv("conv", nn.SiLU(in[0]), 1), rows, side*side, 4)
							h = w.Attention(w.Linear("q", h), w.Linear("k", h), h, 2, &nn.Saving{Queries: 4})
							return graph.Add(in[0], graph.Reshape(h, rows, side, side, 4))
						}, x)
					}
					return x
				}
				own, base := nn.Bind(params, in[1:]), nn.Bind(params[:frozen], in[1:1+frozen])
				var policy, reference *graph.Node
				if k == 0 {
					policy, reference = apply(own, in[0]), apply(base, in[0])
				} else {
					both := nn.Split(apply(own.Leading(in[0].Graph(), n), graph.Concatenate([]*graph.Node{in[0], in[0]}, 0)), 0, n, n)
					policy, reference = both[0], both[1]
				}
				loss := graph.ReduceAllSum(graph.Square(graph.Sub(policy, graph.StopGradient(reference))))
				return append([]*graph.Node{policy, reference}, graph.Gradient(loss, in[1+frozen:]...)...)
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := fn.Call(args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range out {
				results[k] = append(results[k], backend.Float32s(x))
			}
		}
		for i, want := range results[0] {
			for j, w := range want {
				if got := results[1][i][j]; math.Abs(float64(got-w)) > 1e-5*(1+math.Abs(float64(w))) {
					t.Fatalf("blocks %v, result %d: value %d is %v in one pass and %v in two", blocks, i, j, got, w)
				}
			}
		}
	}
}
