package process

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/modeltest"
	"ablate/models/reference"
	"ablate/models/scheduler"
)

// stable is Stable Diffusion 1's process.
func stable(prediction string) DDPM {
	return DDPM{scheduler.Schedule{Steps: 1000, BetaStart: .00085, BetaEnd: .012, Betas: scheduler.ScaledLinear, Prediction: prediction}, 1}
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

// TestReferenceSchedulers compares ᾱ of three schedules, and the noisy images, velocities and
// signal-to-noise ratios of a checkpoint's, with diffusers'.
func TestReferenceSchedulers(t *testing.T) {
	modeltest.Backend(t)
	for _, c := range reference.Cases(t, "schedulers.safetensors") {
		config, err := scheduler.Read(filepath.Join(c.Checkpoint(), "scheduler", "scheduler_config.json"), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range c.Expected() {
			s := config.Schedule
			name, ok := strings.CutPrefix(key, "alphas_cumprod_")
			if !ok {
				continue
			}
			// The betas are those of the script that made the reference.
			if s.Betas, s.BetaStart, s.BetaEnd = name, .0001, .02; name == scheduler.ScaledLinear {
				s.BetaStart, s.BetaEnd = .00085, .012
			}
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			reference.Check(t, c, key, s.Alphas())
		}
		noisy, velocity := DDPM{Schedule: config.Schedule}, DDPM{Schedule: config.Schedule}
		velocity.Prediction = scheduler.VPrediction
		var times []float32
		var snr []float64
		for _, k := range c.Ints(t, "timesteps") {
			times, snr = append(times, float32(k)), append(snr, scheduler.SNR(config.Alphas()[k]))
		}
		fn, err := backend.NewFn(modeltest.Backend(t), "reference", 0, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{noisy.Noisy(in[0], in[1], in[2]), velocity.Target(in[0], in[1], in[2])}
		})
		if err != nil {
			t.Fatal(err)
		}
		tensor := func(key string) *tensors.Tensor {
			return tensors.FromFlatDataAndDimensions(c.Floats(t, key), c.Shape(t, key)...)
		}
		out, err := fn.Call(tensor("x0"), tensor("noise"), tensors.FromFlatDataAndDimensions(times, len(times)))
		if err != nil {
			t.Fatal(err)
		}
		reference.Check(t, c, "ddpm_add_noise", backend.Float32s(out[0]))
		reference.Check(t, c, "ddpm_velocity", backend.Float32s(out[1]))
		reference.Check(t, c, "snr", snr)
	}
}

// TestCheck: processes that are not valid are errors.
func TestCheck(t *testing.T) {
	good := stable(scheduler.Epsilon)
	for name, change := range map[string]func(*DDPM){
		"no steps":          func(d *DDPM) { d.Steps = 0 },
		"a clean image":     func(d *DDPM) { d.Prediction = scheduler.Sample },
		"an offset too far": func(d *DDPM) { d.Offset = 1000 },
	} {
		bad := good
		if change(&bad); bad.Check() == nil {
			t.Errorf("%s: %+v is taken for a process", name, bad)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
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
		"ddpm, epsilon":  {stable(scheduler.Epsilon), "ddpm", [][2]float32{{981, 961}, {501, 481}, {1, -19}}},
		"ddpm, v":        {stable(scheduler.VPrediction), "ddpm", [][2]float32{{981, 961}, {501, 481}, {1, -19}}},
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
	got, err := stable(scheduler.Epsilon).Grid(50, 1)
	if err != nil || len(got) != 51 || got[0] != 981 || got[1] != 961 || got[49] != 1 || got[50] != -19 {
		t.Errorf("Grid(50) = %v, %v", got, err)
	}
	for _, bad := range []struct {
		n     int
		shift float64
	}{{0, 1}, {1000, 1}, {1001, 1}, {50, 2}} {
		if _, err := stable(scheduler.Epsilon).Grid(bad.n, bad.shift); err == nil {
			t.Errorf("Grid(%d, %v) is taken", bad.n, bad.shift)
		}
	}
}

// TestDivergenceWeight: over all times the weights of DDPM add up to half of the difference
// between the first and the last signal-to-noise ratio, and those of the flow integrate to
// the same for ((1-t)/t)².
func TestDivergenceWeight(t *testing.T) {
	d := stable(scheduler.Epsilon)
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
