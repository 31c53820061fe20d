package train_test

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/google/go-cmp/cmp"

	"ablate/models/dit"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/train"
)

// TestAdamW follows torch.optim.AdamW's update by hand for a scalar with the
// gradients 2(p-3): two steps from p = 1, in float64.
func TestAdamW(t *testing.T) {
	b := modeltest.Backend(t)
	params := []nn.Param{{Name: "p", Shape: []int{1}}}
	trainer, err := train.New(b, train.Step{Name: "adamw", Params: params, Loss: func(w nn.Weights, _ train.Sets, in train.Nodes) *graph.Node {
		return graph.ReduceAllSum(graph.Square(graph.Sub(w.At("p"), in.At("x"))))
	}})
	if err != nil {
		t.Fatal(err)
	}
	state, err := trainer.Start(nn.Values{"p": {1}}, true)
	if err != nil {
		t.Fatal(err)
	}
	o := train.Options{LearningRate: 0.1, Adam: train.Adam{Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-8, WeightDecay: 0.01}, Clip: 2, EMA: 0.5}
	p, m, v, avg := 1., 0., 0., 1.
	for step := 1; step <= 2; step++ {
		r, err := trainer.Step(state, o, train.Inputs{"x": tensors.FromFlatDataAndDimensions([]float32{3}, 1)})
		if err != nil {
			t.Fatal(err)
		}
		g := 2 * (p - 3)
		if want := (p - 3) * (p - 3); math.Abs(r.Loss-want) > 1e-5 || math.Abs(r.GradientNorm-math.Abs(g)) > 1e-5 {
			t.Errorf("step %d: loss %v, norm %v; want %v, %v", step, r.Loss, r.GradientNorm, want, math.Abs(g))
		}
		g *= 2 / math.Max(math.Abs(g), 2) // clipped to norm 2
		m, v = .9*m+.1*g, .99*v+.01*g*g
		p -= .1 * (m/(1-math.Pow(.9, float64(step)))/(math.Sqrt(v/(1-math.Pow(.99, float64(step))))+1e-8) + .01*p)
		avg = .5*avg + .5*p
		if got := trainer.Weights(state)["p"][0]; math.Abs(float64(got)-p) > 1e-5 {
			t.Errorf("step %d: weight %v, want %v", step, got, p)
		}
		if got := trainer.Average(state)["p"][0]; math.Abs(float64(got)-avg) > 1e-5 {
			t.Errorf("step %d: average %v, want %v", step, got, avg)
		}
	}
}

func tiny() (dit.Config, pipeline.Network) {
	c := dit.Default(12)
	c.Layers, c.Width, c.TextWidth, c.Heads = 1, 16, 16, 2
	return c, pipeline.Shapes(c)
}

// TestOverfits shows that a denoiser memorizes four images.
func TestOverfits(t *testing.T) {
	b := modeltest.Backend(t)
	_, net := tiny()
	trainer, err := train.New(b, net.PretrainingStep())
	if err != nil {
		t.Fatal(err)
	}
	state, err := trainer.Start(nn.Init(net.AllParams(), random.Stream(1, "test", "init", 0)), false)
	if err != nil {
		t.Fatal(err)
	}
	batch := net.NewBatch(4, true)
	random.Normal(random.Stream(1, "test", "images", 0), batch.Images)
	for i := range 4 {
		batch.CondRow(i)[i], batch.Coefficients[i] = 1, .25
	}
	r := random.Stream(1, "test", "noise", 0)
	var first, last float64
	for step := range 300 {
		batch.Draw(r)
		o := train.Default(1e-2)
		o.Beta2 = .99
		res, err := trainer.Step(state, o, batch.Inputs())
		if err != nil {
			t.Fatal(err)
		}
		if step < 10 {
			first += res.Loss / 10
		}
		if step >= 290 {
			last += res.Loss / 10
		}
	}
	if last > first/3 {
		t.Errorf("loss %.3f after 300 steps, %.3f at first: four images are not learned", last, first)
	}
}

// TestDenoiserGradient compares the gradient norm of a tiny denoiser without weights of zero
// with central differences along the gradient.
func TestDenoiserGradient(t *testing.T) {
	b := modeltest.Backend(t)
	_, net := tiny()
	params := net.AllParams()
	values := nn.Init(params, random.Stream(2, "test", "init", 0))
	for i, p := range params {
		if p.Std == 0 {
			random.Normal(random.Stream(2, "test", "zeros", i), values[p.Name])
			for j := range values[p.Name] {
				values[p.Name][j] *= .1
			}
		}
	}
	batch := net.NewBatch(3, true)
	random.Normal(random.Stream(2, "test", "images", 0), batch.Images)
	for i := range 3 {
		batch.CondRow(i)[i], batch.Coefficients[i] = 1, 1
	}
	batch.Draw(random.Stream(2, "test", "noise", 0))
	trainer, err := train.New(b, net.PretrainingStep())
	if err != nil {
		t.Fatal(err)
	}
	// One step of gradient descent (β = 0 makes Adam's mean the gradient, a huge ε
	// makes its denominator constant) moves by rate·g/ε.
	const epsilon = 1e6
	at := func(rate float64, from nn.Values) (train.Result, nn.Values) {
		s, err := trainer.Start(from, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Free()
		r, err := trainer.Step(s, train.Options{LearningRate: rate * epsilon, Adam: train.Adam{Epsilon: epsilon}}, batch.Inputs())
		if err != nil {
			t.Fatal(err)
		}
		return r, trainer.Weights(s)
	}
	const h = 1e-3
	here, down := at(h, values)
	_, up := at(-h, values)
	low, _ := at(0, down)
	high, _ := at(0, up)
	slope, want := (high.Loss-low.Loss)/(2*h), here.GradientNorm*here.GradientNorm
	if math.Abs(slope-want) > .02*want {
		t.Errorf("loss changes by %.4f along the gradient, its squared norm is %.4f", slope, want)
	}
}

func TestWarmupDecay(t *testing.T) {
	for _, tc := range []struct {
		i, n, warmup int
		hold, floor  float64
		want         float64
	}{{0, 100, 10, .5, 0, .1}, {9, 100, 10, .5, 0, 1}, {49, 100, 10, .5, 0, 1}, {75, 100, 10, .5, 0, .5}, {100, 100, 0, .6, .03, .03}, {99, 100, 0, 1, 0, 1}} {
		if got := train.WarmupDecay(tc.i, tc.n, tc.warmup, tc.hold, tc.floor); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("WarmupDecay(%d, %d, %d, %v, %v) = %v, want %v", tc.i, tc.n, tc.warmup, tc.hold, tc.floor, got, tc.want)
		}
	}
}

// TestFreeze: a step needs its frozen sets, and uses the values that were set last.
func TestFreeze(t *testing.T) {
	b := modeltest.Backend(t)
	params := []nn.Param{{Name: "p", Shape: []int{2, 2}}, {Name: "q", Shape: []int{1}}}
	trainer, err := train.New(b, train.Step{Name: "freeze", Params: params, Frozen: map[string][]nn.Param{"copy": params, "other": params[:1]},
		Loss: func(w nn.Weights, frozen train.Sets, _ train.Nodes) *graph.Node {
			corner := graph.Reshape(graph.Slice(frozen.At("other").At("p"), graph.AxisElem(0), graph.AxisElem(0)), 1)
			return graph.Add(graph.ReduceAllSum(graph.Square(graph.Sub(w.At("p"), frozen.At("copy").At("p")))),
				graph.ReduceAllSum(graph.Mul(w.At("q"), graph.Add(frozen.At("copy").At("q"), corner))))
		}})
	if err != nil {
		t.Fatal(err)
	}
	start := func() *train.State {
		state, err := trainer.Start(nn.Values{"p": {1, 2, 3, 4}, "q": {5}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	state := start()
	o := train.Options{Adam: train.Adam{Epsilon: 1e-8}}
	if _, err := trainer.Step(state, o, nil); err == nil {
		t.Error("a step without its frozen sets is taken")
	}
	state = start()
	defer state.Free()
	freeze := func(set string, v nn.Values) {
		t.Helper()
		if err := trainer.Freeze(state, set, v); err != nil {
			t.Fatal(err)
		}
	}
	freeze("copy", nn.Values{"p": {0, 0, 0, 0}, "q": {1}})
	freeze("other", nn.Values{"p": {10, 0, 0, 0}})
	loss := func(want float64) {
		t.Helper()
		r, err := trainer.Step(state, o, nil) // of learning rate 0
		if err != nil || math.Abs(r.Loss-want) > 1e-4 {
			t.Errorf("loss %v, want %v; %v", r.Loss, want, err)
		}
	}
	loss(30 + 5*11)
	freeze("copy", nn.Values{"p": {1, 2, 3, 4}, "q": {5}})
	loss(5 * 15)
	freeze("copy", nn.Values{"p": {0, 0, 0, 0}, "q": {1}})
	if err := trainer.Move(state, "copy", .25); err != nil { // to .75, 1.5, 2.25, 3 and 4
		t.Fatal(err)
	}
	if got := trainer.Set(state, "copy"); got["p"][3] != 3 || got["q"][0] != 4 {
		t.Errorf("a copy that keeps a quarter moved to %v", got)
	}
	loss(30./16 + 5*14)
	if err := trainer.Freeze(state, "other", nn.Values{"q": {5}}); err == nil {
		t.Error("a set of other parameters is taken")
	}
	if err := trainer.Freeze(state, "third", nil); err == nil {
		t.Error("a set that the step does not have is taken")
	}
	if _, err := trainer.Step(state, o, train.Inputs{"x": tensors.FromScalar(float32(1))}); err == nil {
		t.Error("another input is taken")
	}
}

// TestDevice: a training that starts and freezes from arrays on the device has the losses of one
// that does from the host. It neither changes nor frees these arrays.
func TestDevice(t *testing.T) {
	b := modeltest.Backend(t)
	params := []nn.Param{{Name: "p", Shape: []int{2, 2}}, {Name: "q", Shape: []int{1}}, {Name: "r", Shape: []int{2, 1}}, {Name: "s", Shape: []int{3}}}
	trainer, err := train.New(b, train.Step{Name: "device", Params: params, Frozen: map[string][]nn.Param{"base": params},
		Loss: func(w nn.Weights, frozen train.Sets, _ train.Nodes) *graph.Node {
			var sum *graph.Node
			for i, p := range params {
				term := graph.MulScalar(graph.ReduceAllSum(graph.Square(graph.Sub(graph.MulScalar(w.At(p.Name), 2), frozen.At("base").At(p.Name)))), float64(i+1))
				if sum = term; i > 0 {
					sum = graph.Add(sum, term)
				}
			}
			return sum
		}})
	if err != nil {
		t.Fatal(err)
	}
	values := nn.Values{"p": {1, 2, 3, 4}, "q": {5}, "r": {6, 7}, "s": {8, 9, 10}}
	host, err := trainer.Start(values, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Freeze(host, "base", values); err != nil {
		t.Fatal(err)
	}
	arrays, err := values.Tensors(b, params)
	if err != nil {
		t.Fatal(err)
	}
	device, err := trainer.StartAt(arrays, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := trainer.Share(device, "base", arrays); err != nil {
		t.Fatal(err)
	}
	o := train.Default(.1)
	o.EMA = .5
	for range 3 {
		want, err := trainer.Step(host, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := trainer.Step(device, o, nil); err != nil || got != want {
			t.Errorf("a step has %v from the device and %v from the host; %v", got, want, err)
		}
	}
	if d := cmp.Diff(trainer.Average(host), trainer.Average(device)); d != "" {
		t.Errorf("averages differ (-host +device):\n%s", d)
	}
	if err := trainer.Move(device, "base", .5); err == nil {
		t.Error("a shared set is moved")
	}
	device.Free()
	if d := cmp.Diff(values, nn.ValuesOf(params, arrays)); d != "" {
		t.Errorf("the arrays have changed (-want +got):\n%s", d)
	}
	if _, err := trainer.StartAt(arrays[:3], false); err == nil {
		t.Error("a training starts without one of its parameters")
	}
	if err := trainer.Share(host, "base", []*tensors.Tensor{arrays[2], arrays[1], arrays[0], arrays[3]}); err == nil {
		t.Error("arrays of other shapes are shared")
	}
}

// TestAccumulate: batches whose gradients are accumulated make the same update as one batch of
// all their rows.
func TestAccumulate(t *testing.T) {
	b := modeltest.Backend(t)
	trainer, err := train.New(b, train.Step{Name: "accumulate", Params: []nn.Param{{Name: "p", Shape: []int{3}}},
		Loss: func(w nn.Weights, _ train.Sets, in train.Nodes) *graph.Node {
			return graph.ReduceAllMean(graph.Square(graph.Sub(graph.InsertAxes(w.At("p"), 0), in.At("x"))))
		}})
	if err != nil {
		t.Fatal(err)
	}
	data := []float32{1, 2, 3, -4, 5, 6, 7, -8, 9, .5, 0, 1}
	run := func(average bool, sizes ...int) (nn.Values, nn.Values) {
		s, err := trainer.Start(nn.Values{"p": {.1, .2, .3}}, average)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Free()
		for range 3 {
			from := 0
			for i, n := range sizes {
				o := train.Default(.1)
				o.EMA, o.Share, o.Accumulate = .5, float64(n)/4, i < len(sizes)-1
				x := tensors.FromFlatDataAndDimensions(data[from*3:(from+n)*3], n, 3)
				if _, err := trainer.Step(s, o, train.Inputs{"x": x}); err != nil {
					t.Fatal(err)
				}
				from += n
			}
		}
		return trainer.Weights(s), trainer.Average(s)
	}
	for _, average := range []bool{false, true} {
		want, wantAverage := run(average, 4)
		got, gotAverage := run(average, 1, 2, 1)
		for i := range want["p"] {
			if math.Abs(float64(got["p"][i]-want["p"][i])) > 1e-6 || math.Abs(float64(gotAverage["p"][i]-wantAverage["p"][i])) > 1e-6 {
				t.Errorf("three batches lead to %v and %v, one of them all to %v and %v", got, gotAverage, want, wantAverage)
			}
		}
	}
}
