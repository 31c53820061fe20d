package train_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/train"
)

// TestReplicas: two devices make the updates of one that accumulates the gradients of the same batches,
// with a frozen set that moves. A state that is saved between two of these batches goes on on any number
// of devices. All devices have the same bits.
func TestReplicas(t *testing.T) {
	b := modeltest.Devices(t, 2)
	params := []nn.Param{{Name: "p", Shape: []int{3, 1}}, {Name: "q", Shape: []int{1}}}
	data := []float32{1, 2, 3, -4, 5, 6, 7, -8, 9, .5, 0, 1, .25, -1, 2}
	const batches, rows, updates = 5, 1, 4
	// run returns the norm and the loss of each update.
	run := func(devices, then int) (losses []float64, weights, average nn.Values) {
		trainer := func(n int) (*train.Trainer, *train.State) {
			x, err := train.New(b, train.Step{Name: "replicas", Params: params, Frozen: map[string][]nn.Param{"copy": params},
				Loss: func(w nn.Weights, frozen train.Sets, in train.Nodes) *graph.Node {
					y := graph.Add(graph.Dot(in.At("x"), graph.Sub(graph.MulScalar(w.At("p"), 2), frozen.At("copy").At("p"))), graph.InsertAxes(w.At("q"), 0))
					return graph.ReduceAllMean(graph.Square(y))
				}})
			if err != nil {
				t.Fatal(err)
			}
			x.Replicate(n)
			s, err := x.Start(nn.Values{"p": {.1, .2, .3}, "q": {.4}}, true)
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Freeze(s, "copy", nn.Values{"p": {.5, .5, .5}, "q": {0}}); err != nil {
				t.Fatal(err)
			}
			return x, s
		}
		n := devices
		x, s := trainer(n)
		defer func() { s.Free() }()
		for update := range updates {
			loss := 0.
			for from := 0; from < batches; {
				var in []train.Inputs
				for range min(n, batches-from) {
					in = append(in, train.Inputs{"x": tensors.FromFlatDataAndDimensions(data[from*3:(from+1)*3], rows, 3)})
					from++
				}
				o := train.Default(.1)
				o.EMA, o.Clip, o.Share, o.Accumulate = .5, .5, 1./batches, from < batches
				r, err := x.Step(s, o, in...)
				if err != nil {
					t.Fatal(err)
				}
				loss += r.Loss / batches
				if !o.Accumulate {
					losses = append(losses, r.GradientNorm)
				}
				if n != then && update == 1 && o.Accumulate && from > 1 {
					loop, file := train.Loop{Trainer: x, State: s, Steps: 9}, filepath.Join(t.TempDir(), "state")
					if err := loop.Save(file, 1); err != nil {
						t.Fatal(err)
					}
					s.Free()
					n = then
					x, s = trainer(n)
					loop = train.Loop{Trainer: x, State: s, Steps: 9}
					if _, err := loop.Load(file); err != nil {
						t.Fatal(err)
					}
				}
			}
			losses = append(losses, loss)
			if update == 2 {
				if err := x.Move(s, "copy", .25); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, other := range s.Others() {
			for i, first := range s.First() {
				if !slices.Equal(backend.Float32s(first), backend.Float32s(other[i])) {
					t.Errorf("%d devices: array %d has %v on the first and %v on another", n, i, first, other[i])
				}
			}
		}
		if got := len(s.Others()); got != n-1 {
			t.Errorf("%d devices have %d replicas", n, got+1)
		}
		return losses, x.Weights(s), x.Average(s)
	}
	want, weights, average := run(1, 1)
	for _, c := range [][2]int{{2, 2}, {1, 2}, {2, 1}} {
		losses, w, a := run(c[0], c[1])
		for i := range want {
			if math.Abs(losses[i]-want[i]) > 1e-6*math.Abs(want[i]) {
				t.Errorf("%d devices, then %d: norm or loss %d is %v, want %v", c[0], c[1], i+1, losses[i], want[i])
			}
		}
		for i := range 3 {
			if math.Abs(float64(w["p"][i]-weights["p"][i])) > 1e-6 || math.Abs(float64(a["p"][i]-average["p"][i])) > 1e-6 {
				t.Errorf("%d devices, then %d: weights %v and average %v, want %v and %v", c[0], c[1], w, a, weights, average)
			}
		}
	}
}
