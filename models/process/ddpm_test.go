package process

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
)

// stable is Stable Diffusion 1's process.
func stable(prediction string) DDPM {
	return DDPM{Steps: 1000, BetaStart: .00085, BetaEnd: .012, Betas: "scaled_linear", Prediction: prediction, Offset: 1}
}

// compute runs a graph on vectors float32[B].
func compute(t *testing.T, in [][]float32, build func(in []*graph.Node) []*graph.Node) [][]float32 {
	t.Helper()
	fn, err := backend.NewFn(modeltest.Backend(t), "process", 0, build)
	if err != nil {
		t.Fatal(err)
	}
	args := make([]*tensors.Tensor, len(in))
	for i, x := range in {
		args[i] = tensors.FromFlatDataAndDimensions(x, len(x))
	}
	out, err := fn.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	got := make([][]float32, len(out))
	for i, x := range out {
		got[i] = backend.Float32s(x)
	}
	return got
}

// TestAlphas: published values of Stable Diffusion's process, ᾱ_0 = .99915 and
// ᾱ_999 = .00466.
func TestAlphas(t *testing.T) {
	a := stable(Epsilon).Alphas()
	if math.Abs(a[0]-.99915) > 1e-9 || math.Abs(a[999]-.0046600) > 1e-6 {
		t.Errorf("ᾱ runs from %v to %v", a[0], a[999])
	}
	linear := DDPM{Steps: 2, BetaStart: .1, BetaEnd: .5, Betas: "linear", Prediction: Epsilon}
	if a := linear.Alphas(); math.Abs(a[1]-.9*.5) > 1e-12 || linear.Check() != nil {
		t.Errorf("linear betas give %v, %v", a, linear.Check())
	}
	for _, bad := range []DDPM{{}, {Steps: 10, BetaStart: .5, BetaEnd: .1}, {Steps: 10, BetaStart: .1, BetaEnd: .2, Betas: "cosine"},
		{Steps: 10, BetaStart: .1, BetaEnd: .2, Betas: "linear", Prediction: Sample},
		{Steps: 10, BetaStart: .1, BetaEnd: .2, Betas: "linear", Prediction: Epsilon, Offset: 10}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken for a process", bad)
		}
	}
}

// TestParameterizations: for every process and prediction type the target of x₀ and ε
// implies x₀, and a deterministic transition by the true prediction leads to
// the noisy image of the next time. A step is the same for both prediction types.
func TestParameterizations(t *testing.T) {
	const x0, eps = .7, -1.3
	flow := ShapesFlow()
	velocity := flow
	velocity.Prediction = Velocity
	type step struct{ mean, std float32 }
	stepsOf := map[string]map[[2]float32]step{}
	for name, c := range map[string]struct {
		p     Process
		kind  string
		times [][2]float32
	}{
		"flow, sample":   {flow, "flow", [][2]float32{{1, .8}, {.5, .25}, {.2, .1}}},
		"flow, velocity": {velocity, "flow", [][2]float32{{1, .8}, {.5, .25}, {.2, .1}}},
		"ddpm, epsilon":  {stable(Epsilon), "ddpm", [][2]float32{{981, 961}, {501, 481}, {1, -19}}},
		"ddpm, v":        {stable(VPrediction), "ddpm", [][2]float32{{981, 961}, {501, 481}, {1, -19}}},
	} {
		for _, tn := range c.times {
			for _, noise := range []float32{0, .5} {
				got := compute(t, [][]float32{{x0}, {eps}, {tn[0]}, {max(tn[1], 0)}, {tn[1]}, {noise}}, func(in []*graph.Node) []*graph.Node {
					x := c.p.Noisy(in[0], in[1], in[2])
					target := c.p.Target(in[0], in[1], in[2])
					mean, std := c.p.Transition(x, target, in[2], in[4], in[5])
					return []*graph.Node{c.p.Clean(x, target, in[2]), mean, std, c.p.Noisy(in[0], in[1], in[3]), c.p.Weight(in[2])}
				})
				if math.Abs(float64(got[0][0]-x0)) > 2e-5 {
					t.Errorf("%s at %v: the right prediction implies x₀ %v, want %v", name, tn[0], got[0][0], x0)
				}
				if noise == 0 && (math.Abs(float64(got[1][0]-got[3][0])) > 2e-5 || got[2][0] != 0) {
					t.Errorf("%s from %v to %v: mean %v and standard deviation %v, want %v and 0", name, tn[0], tn[1], got[1][0], got[2][0], got[3][0])
				}
				if noise > 0 {
					s := step{got[1][0], got[2][0]}
					if other, ok := stepsOf[c.kind][tn]; ok && (math.Abs(float64(s.mean-other.mean)) > 2e-5 || s.std != other.std) {
						t.Errorf("%s from %v to %v: %v, and %v for the other prediction", name, tn[0], tn[1], s, other)
					}
					if stepsOf[c.kind] == nil {
						stepsOf[c.kind] = map[[2]float32]step{}
					}
					stepsOf[c.kind][tn] = s
				}
			}
		}
	}
}

// TestDDPMGrid: the times of diffusers' DDIMScheduler with steps_offset 1.
func TestDDPMGrid(t *testing.T) {
	got, err := stable(Epsilon).Grid(50, 1)
	if err != nil || len(got) != 51 || got[0] != 981 || got[1] != 961 || got[49] != 1 || got[50] != -19 {
		t.Errorf("Grid(50) = %v, %v", got, err)
	}
	for _, bad := range []struct {
		n     int
		shift float64
	}{{0, 1}, {1000, 1}, {1001, 1}, {50, 2}} {
		if _, err := stable(Epsilon).Grid(bad.n, bad.shift); err == nil {
			t.Errorf("Grid(%d, %v) is taken", bad.n, bad.shift)
		}
	}
}

// TestDivergenceWeight: over all times the weights of DDPM add up to half of the difference
// between the first and the last signal-to-noise ratio, and those of the flow integrate to
// the same for ((1-t)/t)².
func TestDivergenceWeight(t *testing.T) {
	d := stable(Epsilon)
	var sum float64
	for k := range d.Steps {
		sum += d.DivergenceWeight(float64(k))
	}
	a := d.Alphas()
	if want := (a[0]/(1-a[0]) - a[999]/(1-a[999])) / 2; math.Abs(sum/want-1) > 1e-9 {
		t.Errorf("the weights of DDPM add up to %v, want %v", sum, want)
	}
	f := ShapesFlow()
	sum = 0
	const n = 100000
	for i := range n {
		sum += f.DivergenceWeight(.1+.9*(float64(i)+.5)/n) * .9 / n
	}
	if want := .5 * 81.; math.Abs(sum/want-1) > 1e-4 {
		t.Errorf("the weights of the flow integrate to %v, want %v", sum, want)
	}
}
