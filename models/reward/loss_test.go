package reward_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/reward"
	"ablate/models/train"
)

var allLosses = []string{reward.MSE, reward.MSEClassification, reward.CrossEntropyLoss, reward.BradleyTerryLoss}

// numbers returns standard normal numbers in float64.
func numbers(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// TestGradients compares the gradient of every loss by every parameter with central
// differences, in float64, in both architectures, with and without the sigmoid.
func TestGradients(t *testing.T) {
	b := modeltest.Backend(t)
	for _, c := range []reward.Config{
		{Embedding: 3, Hidden: 4, Inputs: reward.Product}, {Embedding: 3, Hidden: 4, Inputs: reward.Concat, Linear: true},
	} {
		for _, name := range allLosses {
			loss, err := c.Loss(name)
			if err != nil {
				t.Fatal(err)
			}
			fn, err := backend.NewFn(b, name, 0, func(in []*graph.Node) []*graph.Node {
				named := train.Nodes{"images": in[0], "prompts": in[1], "present": in[2], "labels": in[3], "lambda": in[4], "temperature": in[5]}
				l := loss(nn.Bind(c.Params(), in[6:]), nil, named)
				return append([]*graph.Node{l}, graph.Gradient(l, in[6:]...)...)
			})
			if err != nil {
				t.Fatal(err)
			}
			const images = 4
			n := 1
			if name == reward.MSEClassification {
				n = 3
			}
			r := random.Stream(3, "test", "gradients", 0)
			data := [][]float64{numbers(r, images*3), numbers(r, images*n*3), slices.Repeat([]float64{1}, images*n), {1, 1, 0, 0}, {.7}, {.4}}
			data[2][len(data[2])-1] = 0 // one wrong prompt fewer
			shapes := [][]int{{images, 3}, {images, n, 3}, {images, n}, {images}, {}, {}}
			for _, p := range c.Params() {
				data, shapes = append(data, numbers(r, p.Size())), append(shapes, p.Shape)
			}
			call := func() [][]float64 {
				var in []*tensors.Tensor
				for i, x := range data {
					in = append(in, tensors.FromFlatDataAndDimensions(x, shapes[i]...))
				}
				out, err := fn.Call(in...)
				if err != nil {
					t.Fatal(err)
				}
				var values [][]float64
				for _, o := range out {
					values = append(values, tensors.MustCopyFlatData[float64](o))
				}
				return values
			}
			here := call()
			moving := 0
			for p := range c.Params() {
				for i := range data[6+p] {
					const h = 1e-6
					x := data[6+p][i]
					data[6+p][i] = x + h
					up := call()[0][0]
					data[6+p][i] = x - h
					down := call()[0][0]
					data[6+p][i] = x
					got, want := here[1+p][i], (up-down)/(2*h)
					if math.Abs(got-want) > 1e-7+1e-5*math.Abs(want) {
						t.Errorf("%s, %s: gradient by %s[%d] is %v, by differences %v", name, c.Inputs, c.Params()[p].Name, i, got, want)
					}
					if got != 0 {
						moving++
					}
				}
			}
			if moving < 20 {
				t.Errorf("%s, %s: only %d parameters have a gradient", name, c.Inputs, moving)
			}
		}
	}
}

// TestLossValues: known answers of the two losses on logits, far from 0 too.
func TestLossValues(t *testing.T) {
	b := modeltest.Backend(t)
	fn, err := backend.NewFn(b, "values", 0, func(in []*graph.Node) []*graph.Node {
		ce, bt := reward.CrossEntropy(in[0], in[1]), reward.BradleyTerry(in[0], in[1])
		return []*graph.Node{ce, bt, graph.Gradient(ce, in[0])[0], graph.Gradient(bt, in[0])[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ s, y, ce, bt, dce, dbt float64 }{
		{0, 1, math.Ln2, math.Log1p(math.E), -.5, -math.E / (1 + math.E)},
		{0, 0, math.Ln2, math.Ln2, .5, -.5},
		{2, 1, math.Log1p(math.Exp(-2)), math.Log1p(math.Exp(-1)), -1 / (1 + math.Exp(2)), -1 / (1 + math.E)},
		{2, 0, 2 + math.Log1p(math.Exp(-2)), math.Log1p(math.Exp(-2)), 1 / (1 + math.Exp(-2)), -1 / (1 + math.Exp(2))},
		{-200, 1, 200, 201, -1, -1},
		{200, 0, 200, 0, 1, 0},
	} {
		out, err := fn.Call(tensors.FromFlatDataAndDimensions([]float32{float32(tc.s)}, 1), tensors.FromFlatDataAndDimensions([]float32{float32(tc.y)}, 1))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{tc.ce, tc.bt, tc.dce, tc.dbt} {
			if got := float64(tensors.MustCopyFlatData[float32](out[i])[0]); !(math.Abs(got-want) <= 1e-5*max(1, math.Abs(want))) {
				t.Errorf("s %v, y %v: value %d is %v, want %v", tc.s, tc.y, i, got, want)
			}
		}
	}
}

// TestOverfits: a reward memorizes four labelled images by each loss.
func TestOverfits(t *testing.T) {
	b := modeltest.Backend(t)
	const e = 6
	c := reward.Config{Embedding: e, Hidden: 32, Inputs: reward.Product}
	trainer, err := reward.NewTrainer(b, c)
	if err != nil {
		t.Fatal(err)
	}
	r := random.Stream(4, "test", "overfit", 0)
	unit := func(n int) []float32 {
		x := make([]float32, n*e)
		random.Normal(r, x)
		for i := range n {
			s := float32(norm(x[i*e : (i+1)*e]))
			for j := range e {
				x[i*e+j] /= s
			}
		}
		return x
	}
	d := reward.Data{Images: unit(4), Prompts: unit(4), Labels: []float32{1, 0, 0, 1}, Prompt: []int{0, 0, 1, 1},
		Wrong: func(_ *rand.Rand, p, n int) []int { return []int{2, 3}[:n] }}
	for _, name := range allLosses {
		_, curve, err := trainer.Train(t.Context(), d, random.Stream(4, "test", "init", 0), steps("order"), steps("epochs"), reward.Options{
			Loss: name, Steps: 400, Batch: 4, LearningRate: 1e-2, Adam: train.Default(0).Adam, Lambda: 1, Temperature: .1, Perturbations: 2})
		if err != nil {
			t.Fatal(err)
		}
		losses := curve.Values[0]
		first, last := losses[0], losses[len(losses)-1]
		if last > .02 || last > first/10 {
			t.Errorf("%s: loss %.4f after 400 steps, %.4f at first: four images are not learned", name, last, first)
		}
	}
}

// TestPairs: the two halves of a Bradley–Terry batch are a good and a bad image
// of one prompt, whatever the order of the labels; every image that has an
// opposite comes before any comes again; equal streams draw equal pairs.
func TestPairs(t *testing.T) {
	d := reward.Data{Labels: []float32{1, 0, 1, 0, 0, 1, 1}, Prompt: []int{5, 5, 5, 7, 7, 7, 9}} // image 6 has no opposite
	draw, err := reward.Pairs(d, steps("epochs"))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := reward.Pairs(d, steps("epochs"))
	r, q := random.Stream(5, "test", "pairs", 0), random.Stream(5, "test", "pairs", 0)
	for round := range 50 {
		count := map[int]int{}
		for i := range 6 {
			good, bad := draw(6*round+i, r)
			if d.Labels[good] != 1 || d.Labels[bad] != 0 || d.Prompt[good] != d.Prompt[bad] {
				t.Fatalf("images %d and %d are no pair", good, bad)
			}
			if g, b := again(6*round+i, q); g != good || b != bad {
				t.Fatal("equal streams drew different pairs")
			}
			count[good]++
			count[bad]++
		}
		for i := range 6 {
			if count[i] < 1 {
				t.Errorf("six pairs leave out image %d: %v", i, count)
			}
		}
	}
}

// TestEnsemble: the mean minus the penalty times the population's standard deviation, not below 0.
func TestEnsemble(t *testing.T) {
	members := [][]float32{{.2, .9, 0, .5}, {.4, .9, .1, .5}, {.6, .9, .8, .5}}
	for penalty, want := range map[float64][]float32{
		0: {.4, .9, .3, .5},
		1: {.4 - .163299, .9, 0, .5}, // sd √(.08/3)
		2: {.4 - 2*.163299, .9, 0, .5},
	} {
		for i, got := range reward.Pessimistic(members, penalty) {
			if math.Abs(float64(got-want[i])) > 1e-5 {
				t.Errorf("penalty %v: score %d is %v, want %v", penalty, i, got, want[i])
			}
		}
	}
}

// TestTextNorm: the softmax over the prompt and the contrasting ones.
func TestTextNorm(t *testing.T) {
	for _, tc := range []struct {
		r    []float32
		tau  float64
		want float64
	}{
		{[]float32{.7}, .2, 1},
		{[]float32{.7, .7, .7}, .2, 1. / 3},
		{[]float32{1, 0, .5}, .5, 1 / (1 + math.Exp(-2) + math.Exp(-1))},
		{[]float32{0, 1}, 1e-6, 0},
		{[]float32{1, 0}, 1e-6, 1},
	} {
		if got := reward.TextNorm(tc.r, tc.tau); math.Abs(float64(got)-tc.want) > 1e-6 {
			t.Errorf("%v at τ %v: %v, want %v", tc.r, tc.tau, got, tc.want)
		}
	}
}

// TestAll: an ensemble's contrastive score is made of its members' scores, in the order of
// the images, and a model without contrasts reads only the first prompt.
func TestAll(t *testing.T) {
	b := modeltest.Backend(t)
	c := reward.Config{Embedding: 4, Hidden: 8, Inputs: reward.Product}
	s, err := reward.NewScorer(b, c)
	if err != nil {
		t.Fatal(err)
	}
	r := random.Stream(6, "test", "all", 0)
	images, table := make([]float32, 3*4), make([]float32, 4*4)
	random.Normal(r, images)
	random.Normal(r, table)
	a, z := nn.Init(c.Params(), r), nn.Init(c.Params(), r)
	prompts := [][]int{{0, 1, 2}, {3}, {2, 0}}
	one := func(w nn.Values, i, p int) float32 {
		x, err := s.Score(w, images[i*4:(i+1)*4], table[p*4:(p+1)*4])
		if err != nil {
			t.Fatal(err)
		}
		return x[0]
	}
	m := &reward.Model{Config: c, Members: []nn.Values{a, z}, Use: reward.Use{Penalty: .5, Temperature: .3}}
	got, err := s.All(m, images, prompts, table)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.All(&reward.Model{Config: c, Members: []nn.Values{a}}, images, prompts, table)
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range prompts {
		members := [][]float32{nil, nil}
		for k, w := range m.Members {
			var row []float32
			for _, p := range list {
				row = append(row, one(w, i, p))
			}
			members[k] = []float32{reward.TextNorm(row, .3)}
		}
		if want := reward.Pessimistic(members, .5)[0]; math.Abs(float64(got[i]-want)) > 1e-6 || got[i] < 0 || got[i] > 1 {
			t.Errorf("image %d scores %v, want %v", i, got[i], want)
		}
		if want := one(a, i, list[0]); plain[i] != want {
			t.Errorf("image %d scores %v alone, want %v", i, plain[i], want)
		}
	}
	if _, err := s.All(&reward.Model{Config: c}, images, prompts, table); err == nil {
		t.Error("a reward of no members is no error")
	}
}

// steps returns the random streams of a training's steps.
func steps(purpose string) random.Steps {
	return func(step int) *rand.Rand { return random.Stream(1, "test", purpose, step) }
}
