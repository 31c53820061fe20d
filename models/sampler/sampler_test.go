package sampler_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/random"
	"ablate/models/sampler"
)

// network predicts the clean image scale·cond in every pixel. Euler's method ends exactly
// there with any number of steps, because the flow is straight.
func network() pipeline.Network {
	return pipeline.Network{
		Name: "constant", Image: [3]int{2, 2, 3}, Text: 1, Cond: 1,
		Params:     []nn.Param{{Name: "scale", Shape: []int{1}}},
		TextParams: []nn.Param{{Name: "two", Shape: []int{1}}},
		Denoise: func(w nn.Weights, x, t, text *graph.Node) *graph.Node {
			flat := graph.Mul(text, graph.Reshape(w.At("scale"), 1, 1)) // [B, 1]
			return graph.BroadcastToDims(graph.InsertAxes(flat, -1, -1), x.Shape().Dimensions...)
		},
		Encode: func(w nn.Weights, words *graph.Node) *graph.Node {
			return graph.Mul(words, graph.Reshape(w.At("two"), 1, 1))
		},
		Process: process.ShapesFlow(),
	}
}

func TestStraightFlow(t *testing.T) {
	net := network()
	e, err := sampler.New(modeltest.Backend(t), net)
	if err != nil {
		t.Fatal(err)
	}
	m := &pipeline.Model{Network: net, Weights: nn.Values{"scale": {3}, "text_encoder.two": {2}}}
	const n = 300 // more than a batch, and no multiple of it
	words := make([]float32, n)
	for i := range words {
		words[i] = float32(i) / n
	}
	enc, err := pipeline.NewEncoder(modeltest.Backend(t), net)
	if err != nil {
		t.Fatal(err)
	}
	cond, err := enc.Encode(m.Weights, words)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	noise := func(i int, dst []float32) { random.Normal(random.Stream(1, "test", "noise", i), dst) }
	for _, steps := range []int{1, 5} {
		got, err := e.Draw(m, cond, noise, sampler.Options{Steps: steps, Shift: 1.5, Batch: 256}, 0, func(int) error { calls++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for _, v := range got[i*12 : (i+1)*12] {
				if want := 6 * float64(i) / n; math.Abs(float64(v)-want) > 1e-4 {
					t.Fatalf("%d steps, image %d: %v, want %v", steps, i, v, want)
				}
			}
		}
	}
	if calls != 4 {
		t.Errorf("progress was told %d times, want once a batch", calls)
	}
	// The first images do not depend on how many follow.
	a, err := e.Draw(m, cond[:10], noise, sampler.Options{Steps: 3, Shift: 1, Batch: 256}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Draw(m, cond, noise, sampler.Options{Steps: 3, Shift: 1, Batch: 256}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range a {
		if v != b[i] {
			t.Fatalf("value %d is %v of 10 images and %v of %d", i, v, b[i], n)
		}
	}
}
