package nn_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
)

// TestSoftplus holds values and derivatives, σ(z), to those in float64: at 0 too,
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
