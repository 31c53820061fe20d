package finetune

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/lora"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
	"ablate/models/sampler"
)

// slope compares the norm of a loss's gradient by the network's weights with how
// fast it rises along it, by central differences.
func slope(t *testing.T, name string, net pipeline.Network, loss Loss, m *pipeline.Model, base nn.Values, beside nn.Values, in []*tensors.Tensor) {
	t.Helper()
	params := net.AllParams()
	n := len(params)
	fn, err := backend.NewFn(modeltest.Backend(t), name, 0, func(x []*graph.Node) []*graph.Node {
		l := loss.Build(net, nn.Bind(params, x[:n]), [3]nn.Weights{nn.Bind(params, x[n:2*n])}, nn.Bind(loss.Beside, x[2*n:2*n+len(loss.Beside)]), x[2*n+len(loss.Beside):])
		return append([]*graph.Node{l}, graph.Gradient(l, x[:n]...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	var frozen []*tensors.Tensor
	for _, v := range []struct {
		values nn.Values
		params []nn.Param
	}{{base, params}, {beside, loss.Beside}} {
		x, err := v.values.Tensors(v.params)
		if err != nil {
			t.Fatal(err)
		}
		frozen = append(frozen, x...)
	}
	at := func(v nn.Values) (float64, nn.Values) {
		x, err := v.Tensors(params)
		if err != nil {
			t.Fatal(err)
		}
		out, err := fn.Call(append(append(x, frozen...), in...)...)
		if err != nil {
			t.Fatal(err)
		}
		return float64(backend.Float32s(out[0])[0]), nn.ValuesOf(params, out[1:])
	}
	rises(t, name, m.Weights, at)
}

// draws are paths of a tiny model and what a policy's step is told of their
// first transitions.
func draws(t *testing.T, net pipeline.Network, m *pipeline.Model, n int) []*tensors.Tensor {
	t.Helper()
	sample, err := sampler.NewStochastic(modeltest.Backend(t), net)
	if err != nil {
		t.Fatal(err)
	}
	words := make([]float32, n*net.Words)
	for i := range n {
		words[i*net.Words+i%4] = 1
	}
	const steps, noise = 4, .7
	paths, err := sample.Draw(m.Weights, words, func(i, step int, dst []float32) {
		random.Normal(random.Stream(int64(i), "test", "path", step+1), dst)
	}, steps, 1.5, noise)
	if err != nil {
		t.Fatal(err)
	}
	times, err := net.Schedule.Steps(steps, 1.5)
	if err != nil {
		t.Fatal(err)
	}
	var x, y, t0, t1, adv, old []float32
	for i, p := range paths {
		if len(p.States) != steps+1 || len(p.Density) != steps-1 {
			t.Fatalf("a path of %d states and %d densities", len(p.States), len(p.Density))
		}
		k := i % (steps - 1)
		x, y = append(x, p.States[k]...), append(y, p.States[k+1]...)
		t0, t1, old = append(t0, times[k]), append(t1, times[k+1]), append(old, p.Density[k])
		adv = append(adv, 1)
	}
	vector := func(x []float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(x, len(x)) }
	image := func(x []float32) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(x, n, net.Image[0], net.Image[1], net.Image[2])
	}
	return []*tensors.Tensor{image(x), image(y), tensors.FromFlatDataAndDimensions(words, n, net.Words), vector(t0), vector(t1), vector(adv), vector(old),
		vector([]float32{noise, 10, 2, .5})}
}

// TestPolicyGradients checks the policies' losses by differences, and that their
// ratio of likelihoods is 1 before the first update.
func TestPolicyGradients(t *testing.T) {
	modeltest.Backend(t)
	net := tiny()
	m := model(net)
	in := draws(t, net, m, 12)
	base := nudged(m.Weights, random.Stream(3, "test", "copy", 0), .02)
	for _, c := range [][2]string{{"ddpo", "none"}, {"ddpo", "kl"}, {"dpok", "velocity"}, {"grpo", "kl"}} {
		slope(t, c[0]+" "+c[1], net, PolicyLoss(c[0], c[1]), m, base, nil, in)
	}
	s, err := NewStep(modeltest.Backend(t), net, PolicyLoss("ddpo", "none"), lora.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tune, err := s.start(m, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tune.free()
	r, err := s.trainer.Step(tune.state, recipe("ddpo").optimizer(0), in...)
	if err != nil {
		t.Fatal(err)
	}
	// All advantages are 1: the loss is minus the mean ratio.
	if math.Abs(r.Loss+1) > 2e-5 {
		t.Errorf("before the first update the mean ratio is %v", -r.Loss)
	}
}

// brightness is a reward that anyone can raise: the mean of an image, mapped to
// [0, 1].
func brightness(images []float32, prompts []int) ([]float32, error) {
	px := len(images) / len(prompts)
	r := make([]float32, len(prompts))
	for i := range r {
		var sum float64
		for _, v := range images[i*px : (i+1)*px] {
			sum += float64(v) / float64(px)
		}
		r[i] = float32(1 / (1 + math.Exp(-4*sum)))
	}
	return r, nil
}

// TestDrawingMethods: what learns from images that it draws raises the reward.
func TestDrawingMethods(t *testing.T) {
	b := modeltest.Backend(t)
	net := tiny()
	m := model(net)
	sample, err := sampler.NewStochastic(b, net)
	if err != nil {
		t.Fatal(err)
	}
	euler, err := sampler.NewEuler(b, net)
	if err != nil {
		t.Fatal(err)
	}
	roll := Rollout{Steps: 4, Shift: 1.5, Score: brightness,
		Prompt: func(i int) int { return i % 4 },
		Words:  func(p int, dst []float32) { dst[p] = 1 }}
	start := func(draw, i int, dst []float32) { random.Normal(random.Stream(int64(draw), "test", "start", i), dst) }
	mean := func(w nn.Values) float64 {
		words := make([]float32, 64*net.Words)
		for i := range 64 {
			words[i*net.Words+i%4] = 1
		}
		images, err := euler.Sample(&pipeline.Model{Network: net, Weights: w}, words, func(i int, dst []float32) { start(-1, i, dst) }, sampler.Options{Steps: 4, Shift: 1.5})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := brightness(images, make([]int, 64))
		var sum float64
		for _, v := range r {
			sum += float64(v) / 64
		}
		return sum
	}
	judge := Judge{Name: "brightness", Params: []nn.Param{{Name: "scale", Shape: []int{1}}},
		Score: func(w nn.Weights, images, _ *graph.Node) *graph.Node {
			return graph.Logistic(graph.Mul(w.At("scale"), graph.ReduceMean(images, 1, 2, 3)))
		}}
	scale := nn.Values{"scale": {4}}
	before := mean(m.Weights)
	for _, method := range []string{"ddpo", "dpok", "grpo", "refl", "draft"} {
		r := recipe(method)
		r.Steps, r.Batch, r.LearningRate, r.Schedule = 60, 16, 5e-3, "constant"
		r.Policy = PolicySet{Images: 32, Noise: .7, ClipRange: .2, Weight: 10, Group: map[string]int{"grpo": 8}[method]}
		r.Direct = DirectSet{Last: 1, From: .5, Weight: 1, Margin: 2}
		r.Anchor, r.Weight = map[string]string{"dpok": "velocity", "grpo": "kl"}[method], 1e-3
		order := random.Stream(1, "test", "order", 0)
		var got nn.Values
		if KindOf(method) == Trajectory {
			s, err := NewStep(b, net, PolicyLoss(method, r.Anchor), lora.Config{})
			if err != nil {
				t.Fatal(err)
			}
			got, err = Policies(s, sample, m, roll, nil, order, func(draw, i, step int, dst []float32) {
				random.Normal(random.Stream(int64(1000*draw+i), "test", "path", step+1), dst)
			}, r, Hooks{})
			if err != nil {
				t.Fatal(method, err)
			}
		} else {
			s, err := NewStep(b, net, DirectLoss(method, judge), lora.Config{})
			if err != nil {
				t.Fatal(err)
			}
			got, err = Direct(s, m, roll, func(w nn.Values, words []float32, draw, stop int) ([]float32, error) {
				return euler.Sample(&pipeline.Model{Network: net, Weights: w}, words, func(i int, dst []float32) { start(draw, i, dst) }, sampler.Options{Steps: 4, Shift: 1.5, Stop: stop})
			}, scale, nil, order, r, Hooks{})
			if err != nil {
				t.Fatal(method, err)
			}
			x := make([]float32, 4*net.Pixels())
			random.Normal(random.Stream(5, "test", "way", 0), x)
			words := make([]float32, 4*net.Words)
			words[0], words[net.Words+1] = 1, 1
			times := map[string][]float32{"refl": {.5, .2}, "draft": {.6, .3, 0}}[method]
			slope(t, method, net, DirectLoss(method, judge), m, m.Weights, scale, []*tensors.Tensor{
				tensors.FromFlatDataAndDimensions(x, 4, net.Image[0], net.Image[1], net.Image[2]), tensors.FromFlatDataAndDimensions(words, 4, net.Words),
				tensors.FromFlatDataAndDimensions(times, len(times)), tensors.FromFlatDataAndDimensions([]float32{1, 2}, 2)})
		}
		if after := mean(got); after < before+.012 {
			t.Errorf("%s: the reward went from %.3f to %.3f", method, before, after)
		}
	}
}

func TestAdvantagesOfPolicies(t *testing.T) {
	scores, prompts := []float32{1, 0, 1, 0}, []int{7, 7, 8, 8}
	near := func(what string, got []float32, want ...float64) {
		t.Helper()
		for i := range want {
			if math.Abs(float64(got[i])-want[i]) > 1e-3 {
				t.Errorf("%s: %v, want %v", what, got, want)
				return
			}
		}
	}
	near("grpo", tracker{}.advantages("grpo", scores, prompts), 1, -1, 1, -1)
	near("dpok subtracts the prompt's mean", tracker{}.advantages("dpok", []float32{1, 0, 1, 1}, prompts), .5, -.5, 0, 0)
	// DDPO: the round's moments until a prompt has 16 scores, then its own.
	tr := tracker{}
	near("ddpo, few scores", tr.advantages("ddpo", []float32{1, 0, 1, 1}, prompts), .577, -1.732, .577, .577)
	many, same := make([]float32, 16), make([]int, 16)
	for i := range many {
		many[i], same[i] = float32(i%2), 7
	}
	near("ddpo, enough scores", tr.advantages("ddpo", many, same), -1, 1)
}

func TestWeighting(t *testing.T) {
	r := []float32{0, .5, 1, 1}
	w := Softmax(r, 2)
	e := []float64{1, math.E, math.Exp(2), math.Exp(2)}
	for i := range w {
		if want := 4 * e[i] / (1 + math.E + 2*math.Exp(2)); math.Abs(float64(w[i])-want) > 1e-5 {
			t.Errorf("softmax %v: weight %d, want %v", w, i, want)
		}
	}
	for i, want := range []float32{0, 0, 1, 1} {
		if got := Top(r, .25); got[i] != want { // both that tie
			t.Errorf("the best quarter: %v", got)
		}
	}
	for i, want := range []float32{0, 1, 1, 1} {
		if got := Above(r, .5); got[i] != want {
			t.Errorf("above .5: %v", got)
		}
	}
	if got := EffectiveSampleSize([]float32{1, 1, 0, 0}); got != 2 {
		t.Errorf("two of four weigh the same: effective size %v", got)
	}
}

// TestPairsOfOnePrompt: DPO's halves are good and bad images of one prompt, and
// see the same noise; KTO's share of good images is the one asked for.
func TestPairsOfOnePrompt(t *testing.T) {
	s := generated(40, 0)
	l, err := newLearner(Recipe{Method: "dpo", Batch: 8}, []Source{s})
	if err != nil {
		t.Fatal(err)
	}
	order := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		d := l.draw(order)
		for i := range 4 {
			if w, b := d[i], d[4+i]; !s.Good[w] || s.Good[b] || s.Prompts[w] != s.Prompts[b] {
				t.Fatalf("a pair of images %d and %d", w, b)
			}
		}
	}
	k, err := newLearner(Recipe{Method: "kto", Batch: 1000, KTO: KTOSet{Positive: .8}}, []Source{s})
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, i := range k.draw(order) {
		if s.Good[i] {
			good++
		}
	}
	if good < 750 || good > 850 {
		t.Errorf("%d of 1000 are good, want about 800", good)
	}
	for i := range s.Good {
		s.Good[i] = true
	}
	for _, method := range []string{"dpo", "kto"} {
		if _, err := newLearner(Recipe{Method: method, Batch: 8}, []Source{s}); err == nil {
			t.Errorf("%s learns from good images alone", method)
		}
	}
}

// TestFiltered draws from what it keeps.
func TestFiltered(t *testing.T) {
	s := scored(40)
	l, err := newLearner(Recipe{Method: "filtered", Batch: 100, Keep: "fraction", Top: .25}, []Source{s})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, i := range l.draw(rand.New(rand.NewPCG(1, 2))) {
		seen[i] = true
		if l.coefficient(i) != .01 {
			t.Errorf("image %d counts %v of a batch of 100", i, l.coefficient(i))
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d images of 40 are drawn, want the best 10", len(seen))
	}
	if _, err := newLearner(Recipe{Method: "filtered", Batch: 4, Keep: "threshold", Threshold: 1}, []Source{s}); err == nil {
		t.Error("nothing is kept, and that is no error")
	}
}
