package train_test

import (
	"context"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/google/go-cmp/cmp"

	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/train"
)

// TestReports: a training reports that it compiles, when its first step is done, and its
// metrics at each point of its curve.
func TestReports(t *testing.T) {
	trainer, err := train.New(modeltest.Backend(t), train.Step{Name: "reports", Params: []nn.Param{{Name: "p", Shape: []int{1}}},
		Loss: func(w nn.Weights, _ train.Sets, _ train.Nodes) *graph.Node { return graph.ReduceAllSum(w.At("p")) }})
	if err != nil {
		t.Fatal(err)
	}
	run := func() (all []train.Report) {
		s, err := trainer.Start(nn.Values{"p": {3}}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Free()
		l := train.Loop{Trainer: trainer, State: s, Steps: 200,
			Batch: func(context.Context, int) (train.Inputs, train.Options, []float64, error) {
				return nil, train.Options{}, nil, nil
			},
			Progress: func(r train.Report) { all = append(all, r) }}
		if _, err := l.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return all
	}
	metrics := []string{"loss", "gradient norm"}
	want := []train.Report{{Total: 200, Compiling: true}, {Step: 1, Total: 200}, {Step: 2, Total: 200, Metrics: metrics, Values: []float64{3, 1}}}
	got := run()
	if len(got) != 102 || cmp.Diff(want, got[:3]) != "" {
		t.Errorf("%d reports:\n%s", len(got), cmp.Diff(want, got[:min(3, len(got))]))
	}
	if got := run(); got[0].Compiling {
		t.Error("a second training with the same step is compiling")
	}
}
