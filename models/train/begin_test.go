package train_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/train"
)

// TestBegin: Begin returns while the device has not computed the step, and sends its inputs before it waits
// for the step before. A step that diverged is the last one that begins.
func TestBegin(t *testing.T) {
	b := modeltest.Backend(t)
	base := []nn.Param{{Name: "base", Shape: []int{1, 1}}}
	trainer, err := train.New(b, train.Step{Name: "begin", Params: []nn.Param{{Name: "p", Shape: []int{1}}}, Frozen: map[string][]nn.Param{"base": base},
		Loss: func(w nn.Weights, frozen train.Sets, in train.Nodes) *graph.Node {
			return graph.ReduceAllSum(graph.Mul(graph.Mul(w.At("p"), in.At("x")), graph.Reshape(frozen.At("base").At("base"), 1)))
		}})
	if err != nil {
		t.Fatal(err)
	}
	state, err := trainer.Start(nn.Values{"p": {1}}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Free()
	shared, err := nn.Values{"base": {2}}.Tensors(b, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Share(state, "base", shared); err != nil {
		t.Fatal(err)
	}
	begin := func(x float32) (*train.Future, *tensors.Tensor, error) {
		in := tensors.FromFlatDataAndDimensions([]float32{x}, 1)
		f, err := trainer.Begin(state, train.Options{LearningRate: .5, Adam: train.Adam{Epsilon: 1e-8}}, train.Inputs{"x": in})
		return f, in, err
	}
	returned := make(chan *train.Future)
	// Who reads an array keeps it from the device.
	err = shared[0].ConstFlatData(func(any) {
		go func() {
			f, _, err := begin(3)
			if err != nil {
				t.Error(err)
			}
			returned <- f
		}()
		select {
		case f := <-returned:
			go func() { returned <- f }()
		case <-time.After(time.Minute):
			t.Error("Begin waits for the device")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	first := <-returned
	second, _, err := begin(float32(math.NaN()))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := first.Result(); err != nil || r.Loss != 6 || r.GradientNorm != 6 {
		t.Errorf("the first step has %+v, want loss 1·3·2 and norm 3·2; %v", r, err)
	}
	var diverged *train.DivergedError
	_, in, err := begin(1)
	if !errors.As(err, &diverged) || diverged.Update != 2 {
		t.Errorf("after a step that diverged, another one begins: %v", err)
	}
	if in.HasLocal() {
		t.Error("the inputs of a step are sent when the step before has ended")
	}
	if _, err := second.Result(); err != error(diverged) {
		t.Errorf("the step that diverged has the error %v", err)
	}
	if err := state.Wait(); err != error(diverged) {
		t.Errorf("a state of a training that diverged has the error %v", err)
	}
}
