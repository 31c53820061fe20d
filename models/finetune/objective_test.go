package finetune

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/random"
)

// objectives are all methods and anchors, each as a recipe.
func objectives() map[string]Recipe {
	all := map[string]Recipe{}
	for _, method := range []string{"reward-weighted", "softmax-weighted", "filtered", "dpo", "kto", "awm", "nft", "crd"} {
		all[method] = recipe(method)
	}
	for _, anchor := range []string{"velocity", "kl"} {
		r := recipe("reward-weighted")
		r.Anchor, r.Weight = anchor, .5
		all["anchor "+anchor] = r
	}
	for _, w := range []string{"ghuber", "uniform", "t", "t2"} {
		r := recipe("awm")
		r.AWM.Weighting, r.AWM.Clip = w, .5
		all["awm "+w] = r
	}
	r := recipe("awm")
	r.AWM.Average = 0 // as with one round
	all["awm of one round"] = r
	r = recipe("nft")
	r.NFT.Signal = "label"
	all["nft on labels"] = r
	return all
}

// scored are generated images whose scores differ within every prompt.
func scored(n int) Source {
	s := generated(n, 0)
	r := random.Stream(1, "test", "score", 0)
	for i := range s.Scores {
		s.Scores[i] = r.Float32()
	}
	return s
}

// TestGradients: along its own gradient every objective rises as fast as the
// gradient's norm says, by central differences through the whole network.
func TestGradients(t *testing.T) {
	b := modeltest.Backend(t)
	net := tiny()
	m := model(net)
	params := net.AllParams()
	for name, r := range objectives() {
		loss, err := r.Loss()
		if err != nil {
			t.Fatal(err)
		}
		n := len(params)
		// Copies that differ from the weights, as they do in training; the trained
		// weights follow them by the distance h along the gradient.
		fn, err := backend.NewFn(b, "gradient "+name, 0, func(in []*graph.Node) []*graph.Node {
			w := nn.Bind(params, in[:n])
			var copies [3]nn.Weights
			for k := range copies {
				copies[k] = nn.Bind(params, in[(k+1)*n:(k+2)*n])
			}
			l := loss.Build(net, w, copies, nn.Bind(params, in[4*n:5*n]), in[5*n:])
			return append([]*graph.Node{l}, graph.Gradient(l, in[:n]...)...)
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLearner(r, []Source{scored(32)})
		if err != nil {
			t.Fatal(err)
		}
		order := random.Stream(2, "test", "order", 0)
		batch := net.NewBatch(l.batch)
		drawn := l.draw(order)
		for i, k := range drawn {
			src, j := l.pool.of(k)
			src.Images(j, batch.Images[i*net.Pixels():(i+1)*net.Pixels()])
			src.Words(j, batch.Words[i*net.Words:(i+1)*net.Words])
			batch.Coefficients[i] = l.coefficient(k)
		}
		batch.Draw(order)
		var frozen []*tensors.Tensor
		for k := range 3 {
			v, err := nudged(m.Weights, random.Stream(int64(k), "test", "copy", 0), .02).Tensors(params)
			if err != nil {
				t.Fatal(err)
			}
			frozen = append(frozen, v...)
		}
		still, err := m.Weights.Tensors(params)
		if err != nil {
			t.Fatal(err)
		}
		frozen = append(frozen, still...)
		at := func(v nn.Values) (float64, nn.Values) {
			x, err := v.Tensors(params)
			if err != nil {
				t.Fatal(err)
			}
			s := &Step{net: net, loss: loss}
			in := append(append(append(x, frozen...), batch.Inputs()...), l.inputs(s, net, drawn, batch.Times)...)
			out, err := fn.Call(in...)
			if err != nil {
				t.Fatal(err)
			}
			return float64(backend.Float32s(out[0])[0]), nn.ValuesOf(params, out[1:])
		}
		rises(t, name, m.Weights, at)
	}
}

// rises holds the norm of a loss's gradient to how fast the loss rises along it,
// by central differences. at returns the loss and its gradient.
func rises(t *testing.T, name string, weights nn.Values, at func(v nn.Values) (float64, nn.Values)) {
	t.Helper()
	_, g := at(weights)
	var norm float64
	for _, x := range g {
		for _, v := range x {
			norm += float64(v) * float64(v)
		}
	}
	norm = math.Sqrt(norm)
	// The step is chosen so that the loss moves by well more than a float32 resolves.
	h := 2e-3
	moved := func(sign float64) float64 {
		v := nn.Values{}
		for name, x := range weights {
			y := make([]float32, len(x))
			for i := range x {
				y[i] = x[i] + float32(sign*h/norm)*g[name][i]
			}
			v[name] = y
		}
		l, _ := at(v)
		return l
	}
	if slope := (moved(1) - moved(-1)) / (2 * h); math.Abs(slope/norm-1) > .03 || norm == 0 {
		t.Errorf("%s: the loss rises by %v along a gradient of norm %v", name, slope, norm)
	}
}

func nudged(v nn.Values, r *rand.Rand, by float32) nn.Values {
	out := nn.Values{}
	for _, p := range tiny().AllParams() {
		x := v[p.Name]
		y := make([]float32, len(x))
		random.Normal(r, y)
		for i := range x {
			y[i] = x[i] + by*y[i]
		}
		out[p.Name] = y
	}
	return out
}

// TestOverfits: every objective on the forward process learns what four images
// tell it. Those that follow a score bring the good images nearer than the bad
// ones; those that weigh the likelihood learn the weighed images by heart.
func TestOverfits(t *testing.T) {
	modeltest.Backend(t)
	net := tiny()
	m := model(net)
	source := generated(4, 0)
	source.Prompts = []int{0, 0, 0, 0} // one group of two good and two bad
	source.Words = func(i int, dst []float32) { dst[i] = 1 }
	for i := range source.Scores {
		source.Good[i] = i%2 == 0
		if source.Scores[i] = 0; source.Good[i] {
			source.Scores[i] = 1
		}
	}
	for name, r := range objectives() {
		if r.Method == "awm" && name != "awm" {
			continue // another weighting of the same score
		}
		r.Steps, r.Batch, r.LearningRate, r.Schedule, r.Tau = 100, 8, 3e-3, "constant", 20
		r.CRD.Group = 4
		s := step(t, net, r)
		got, err := Train(s, m, []Source{source}, nil, 0, random.Stream(1, "test", "lora", 0), random.Stream(1, "test", "order", 0), r, Hooks{})
		if err != nil {
			t.Fatal(name, err)
		}
		good, bad := gap(t, net, m.Weights, got, source)
		if good >= bad {
			t.Errorf("%s: the loss of good images moved by %v, of bad ones by %v", name, good, bad)
		}
		if r.Anchor == "none" && (name == "reward-weighted" || name == "softmax-weighted" || name == "filtered") && good > -.2 {
			t.Errorf("%s: the good images are not learned: their loss moved by %v", name, good)
		}
	}
}

// gap is how far the denoising loss of good and of bad images moved.
func gap(t *testing.T, net pipeline.Network, before, after nn.Values, s Source) (good, bad float64) {
	t.Helper()
	params := net.AllParams()
	fn, err := backend.NewFn(modeltest.Backend(t), "losses", 0, func(in []*graph.Node) []*graph.Node {
		denoise, encode := net.Bind(nn.Bind(params, in[4:]))
		return []*graph.Node{net.Schedule.Loss(denoise, in[0], in[1], in[2], encode(in[3]))}
	})
	if err != nil {
		t.Fatal(err)
	}
	const times = 16
	n := len(s.Scores)
	b := net.NewBatch(n * times)
	for i := range n * times {
		s.Images(i%n, b.Images[i*net.Pixels():(i+1)*net.Pixels()])
		s.Words(i%n, b.Words[i*net.Words:(i+1)*net.Words])
	}
	b.Draw(random.Stream(9, "test", "gap", 0))
	losses := func(v nn.Values) []float32 {
		x, err := v.Tensors(params)
		if err != nil {
			t.Fatal(err)
		}
		out, err := fn.Call(append(b.Inputs()[:4], x...)...)
		if err != nil {
			t.Fatal(err)
		}
		return backend.Float32s(out[0])
	}
	x, y := losses(before), losses(after)
	for i := range x {
		d := float64(y[i]-x[i]) / float64(len(x)/2)
		if s.Good[i%n] {
			good += d
		} else {
			bad += d
		}
	}
	return good, bad
}
