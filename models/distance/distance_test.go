package distance

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"

	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/process"
	"ablate/models/random"
)

// constant is a network that predicts the same image for every input; its pixels are the
// parameters.
func constant() pipeline.Network {
	return pipeline.Network{Name: "constant", Image: [3]int{2, 2, 1}, Text: 1, Cond: 1, Process: process.ShapesFlow(),
		Params: []nn.Param{{Name: "b", Shape: []int{1}}},
		Denoise: func(w nn.Weights, x, _, _ *graph.Node) *graph.Node {
			return graph.BroadcastToShape(graph.Reshape(w.At("b"), 1, 1, 1, 1), x.Shape())
		},
		Encode: func(_ nn.Weights, words *graph.Node) *graph.Node { return words }}
}

// TestKnownAnswers: predictions that differ by d everywhere have velocities that
// differ by d/t, so that the divergence is 4 d² ∫ (1-t)/t³ dt = 4 d²·40.5 from
// t = 0.1 to 1, and the gap of losses on black images is the difference of b²
// over the schedule's max(t, .5)².
func TestKnownAnswers(t *testing.T) {
	m, err := New(modeltest.Backend(t), constant())
	if err != nil {
		t.Fatal(err)
	}
	const n = 20000
	p := Pairs{Images: make([]float32, 4*n), Model: make([]float32, n), Base: make([]float32, n)}
	model, base := nn.Values{"b": {.3}}, nn.Values{"b": {.1}}
	kl, err := m.Divergence(model, base, p, 256, random.Stream(1, "test", "kl", 0))
	if err != nil {
		t.Fatal(err)
	}
	if want := 4 * .2 * .2 * 40.5; math.Abs(kl/want-1) > .02 {
		t.Errorf("divergence %.3f, want %.3f", kl, want)
	}
	gap, err := m.Gap(model, base, p, 256, random.Stream(1, "test", "gap", 0))
	if err != nil {
		t.Fatal(err)
	}
	times := make([]float32, n)
	process.ShapesFlow().Times(random.Stream(1, "test", "gap", 0), times)
	want := 0.
	for _, t := range times {
		want += (.3*.3 - .1*.1) / math.Pow(math.Max(float64(t), .5), 2) / n
	}
	if math.Abs(gap/want-1) > 1e-4 {
		t.Errorf("gap %.5f, want %.5f", gap, want)
	}
	if kl, err := m.Divergence(base, base, p, 256, random.Stream(1, "test", "kl", 0)); err != nil || kl > 1e-9 {
		t.Errorf("of a model from itself: %v, %v", kl, err)
	}
	if _, err := m.Gap(model, base, Pairs{}, 256, random.Stream(1, "test", "gap", 0)); err == nil {
		t.Error("a gap of no pairs")
	}
}
