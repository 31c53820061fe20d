package finetune

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/train"
)

// slope compares the norm of a loss' gradient by the network's weights with the slope of the
// loss along the gradient, by central differences through the whole network. Copies differ
// from the weights, as in training, and detached values stay constant.
func slope(t *testing.T, name string, l loss, m *pipeline.Model, rewardValues nn.Values, in train.Inputs) {
	t.Helper()
	s, err := newStep(m.Network, l, pipeline.BothParts, lora.Config{})
	if err != nil {
		t.Fatal(err)
	}
	params := m.AllParams()
	n := len(params)
	sets, inputs := sortedNames(s.Frozen), sortedNames(in)
	fn, err := backend.NewFn(modeltest.Backend(t), name, 0, func(x []*graph.Node) []*graph.Node {
		frozen, rest := train.Sets{}, x[2*n:]
		for _, set := range sets {
			frozen[set], rest = nn.Bind(s.Frozen[set], rest[:len(s.Frozen[set])]), rest[len(s.Frozen[set]):]
		}
		named := train.Nodes{}
		for i, input := range inputs {
			named[input] = rest[i]
		}
		w := s.networks(nn.Bind(params, x[:n]), frozen)
		w.detached = m.Bind(nn.Bind(params, x[n:2*n]), true)
		l := l.build(w, named)
		return append([]*graph.Node{l}, graph.Gradient(l, x[:n]...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	of := func(v nn.Values, ps []nn.Param) []*tensors.Tensor {
		x, err := v.Tensors(modeltest.Backend(t), ps)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	still := of(m.Weights, params)
	for i, set := range sets {
		v := nudged(m.Weights, random.Stream(int64(i), "test", "copy", 0), .02)
		if set == rewardSet {
			v = rewardValues
		}
		still = append(still, of(v, s.Frozen[set])...)
	}
	for _, input := range inputs {
		still = append(still, in[input])
	}
	at := func(v nn.Values) (float64, nn.Values) {
		out, err := fn.Call(append(of(v, params), still...)...)
		if err != nil {
			t.Fatal(err)
		}
		return float64(backend.Float32s(out[0])[0]), nn.ValuesOf(params, out[1:])
	}
	_, g := at(m.Weights)
	var norm float64
	for _, x := range g {
		for _, v := range x {
			norm += float64(v) * float64(v)
		}
	}
	norm = math.Sqrt(norm)
	// With this step the loss changes by much more than the resolution of float32.
	const h = 2e-3
	moved := func(sign float64) float64 {
		v := nn.Values{}
		for name, x := range m.Weights {
			y := make([]float32, len(x))
			for i := range x {
				y[i] = x[i] + float32(sign*h/norm)*g[name][i]
			}
			v[name] = y
		}
		l, _ := at(v)
		return l
	}
	if rise := (moved(1) - moved(-1)) / (2 * h); math.Abs(rise/norm-1) > .03 || norm == 0 {
		t.Errorf("%s: the loss rises by %v along a gradient of norm %v", name, rise, norm)
	}
}

// first returns the loss of a job and the inputs of its first step. The text encoder is
// trained too, so that its gradients are compared as well.
func first(t *testing.T, tl Tools, m *pipeline.Model, j Job) (loss, train.Inputs) {
	t.Helper()
	j.Trains = pipeline.BothParts
	var l loss
	var next func(context.Context, int) (train.Inputs, train.Options, []float64, error)
	begin := func() *training {
		u, err := j.begin(tl, m, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.state.Free)
		return u
	}
	grid, err := m.Process.Grid(j.Sampler.Steps, j.Sampler.Shift)
	if err != nil {
		t.Fatal(err)
	}
	switch method := j.Method.Method.(type) {
	case Offline:
		l = forward(method, j.Anchor, j.Rounds)
		f := &forwardTraining{training: begin(), method: method, batch: j.Batch, plain: l.name == likelihood().name}
		if err := f.learnFrom(nil); err != nil {
			t.Fatal(err)
		}
		next = f.next
	case Policy:
		l = policyLoss(method, j.Anchor)
		p := &policyTraining{training: begin(), method: method, grid: grid, batches: j.Roll.Images * (j.Sampler.Steps - 1) / j.Batch, PolicyState: PolicyState{History: History{}}}
		next = p.next
	case RewardGradient:
		l = gradientLoss(method, j.Reward)
		g := &gradientTraining{training: begin(), method: method, grid: grid}
		next = g.next
	}
	in, _, _, err := next(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return l, in
}

// TestGradients compares the gradients of every method, variant and anchor with central
// differences.
func TestGradients(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	jobs := map[string]Job{}
	for name, method := range constants() {
		j := job(net, method)
		if DrawsItself(method) {
			j.Batch = 12
		}
		jobs[name] = j
	}
	anchored := func(method string, anchor Anchor, rounds int) {
		j := jobs[method]
		j.Anchor, j.Prediction, j.KL, j.Velocity, j.Rounds = anchor, .5, .5, .5, rounds
		jobs[method+" anchored by "+string(anchor)] = j
	}
	anchored("reward-weighted", AnchorPrediction, 1)
	anchored("reward-weighted", AnchorKL, 1)
	anchored("nft", AnchorPrediction, 3)
	anchored("crd", AnchorPrediction, 1)
	anchored("ddpo", AnchorKL, 1)
	anchored("dpok", AnchorVelocity, 1)
	anchored("grpo", AnchorKL, 1)
	for _, w := range []string{"uniform", "t", "t2", "ghuber"} {
		j := job(net, awm{Weighting: w, Power: .25, Clip: .5, Average: 1})
		j.Rounds = 3
		jobs["awm "+w] = j
	}
	jobs["nft on labels"] = job(net, nft{Beta: 1, Signal: "label"})
	long := job(net, draft{Last: 3})
	long.Batch = 12
	jobs["draft through three steps"] = long
	done := map[string]bool{} // methods of weighted likelihood share a graph
	for _, name := range sortedNames(jobs) {
		j := jobs[name]
		l, in := first(t, tl, m, j)
		if done[l.name] {
			continue
		}
		done[l.name] = true
		slope(t, name, l, m, j.RewardValues, in)
	}
}

// TestRatioBeforeTheFirstUpdate: the policy that draws is the one that is trained, so that the
// ratio of probabilities is 1.
func TestRatioBeforeTheFirstUpdate(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	j := job(net, ddpo{Clip: 10, Updates: 1})
	j.Trains, j.Batch = pipeline.BothParts, 12
	u, err := j.begin(tl, m, policyLoss(j.Method.Method.(Policy), AnchorNone))
	if err != nil {
		t.Fatal(err)
	}
	defer u.state.Free()
	_, in := first(t, tl, m, j)
	ones := make([]float32, 12)
	for i := range ones {
		ones[i] = 1
	}
	in.Vector("advantage", ones)
	r, err := u.trainer.Step(u.state, j.options(0), in)
	if err != nil {
		t.Fatal(err)
	}
	// All advantages are 1: the loss is minus the mean ratio.
	if math.Abs(r.Loss+1) > 2e-5 {
		t.Errorf("before the first update the mean ratio is %v", -r.Loss)
	}
}

// TestOutsideTheImage: the reward's gradient is 0 outside the range of pixel values, as in
// the released code, which clips images before the reward.
func TestOutsideTheImage(t *testing.T) {
	reward, _ := brightnessModel()
	fn, err := backend.NewFn(modeltest.Backend(t), "clipped", 0, func(in []*graph.Node) []*graph.Node {
		score := reward.Score(nn.Weights{"scale": in[1]}, clipped(in[0]), nil)
		return append([]*graph.Node{score}, graph.Gradient(graph.ReduceAllSum(score), in[0])...)
	})
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{-1.5, -.9, 0, .9, 1.5, 100}
	out, err := fn.Call(tensors.FromFlatDataAndDimensions(x, 1, 6, 1, 1), tensors.FromFlatDataAndDimensions([]float32{4}, 1))
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range backend.Float32s(out[1]) {
		if (g != 0) != (x[i] > -1 && x[i] < 1) {
			t.Errorf("the gradient at a pixel of %v is %v", x[i], g)
		}
	}
	if r, want := backend.Float32s(out[0])[0], 1/(1+math.Exp(-4*(1./6))); math.Abs(float64(r)-want) > 1e-6 {
		t.Errorf("the reward is %v, want %v: that of the image as it is stored", r, want)
	}
	// The losses of both methods use the clipped score.
	net := tiny()
	tl, m := tools(t, net), model(net)
	for _, method := range []Method{draft{Last: 1}, refl{From: .5, Weight: 1, Margin: 2}} {
		j := job(net, method)
		j.Batch, j.LearningRate = 16, 1e-2 // compiled for TestDrawingMethods, too
		// The reward of a denoiser that predicts values far above white has no gradient.
		far := m.With(nn.Values{"out.bias": slices.Repeat([]float32{50}, 192), "out.weight": make([]float32, 192*16)})
		got := run(t, tl, far, j)
		if d := distance(got, far.Weights); d != 0 {
			t.Errorf("%s: beyond white the weights still move by %v", method.Name(), d)
		}
	}
}
