// Package sampler draws images from a model. One loop serves every forward process: a step is
// the process' transition, deterministic or stochastic, as one compiled graph that is called
// for each time of the grid.
package sampler

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
	"ablate/models/pipeline"
	"ablate/models/process"
)

// A Sampler draws images from every model of a network.
type Sampler struct {
	net pipeline.Network
	b   backend.Backend
	// deterministic and stochastic are the two graphs of a step. Only the stochastic one adds
	// noise and returns log-probabilities.
	deterministic, stochastic *backend.Fn
}

// New returns a sampler.
func New(b backends.Backend, net pipeline.Network) (*Sampler, error) {
	s := &Sampler{net: net, b: b}
	// The inputs are x, cond, (t, next, noise) and, for the stochastic step, z.
	step := func(in []*graph.Node, stochastic bool, params []*graph.Node) (x, mean, std *graph.Node) {
		x, cond, times := in[0], in[1], in[2]
		at := func(i int) *graph.Node {
			return graph.BroadcastToDims(graph.Reshape(graph.Slice(times, graph.AxisElem(i))), x.Shape().Dimensions[0])
		}
		t, next := at(0), at(1)
		noise := graph.ZerosLike(t)
		if stochastic {
			noise = at(2)
		}
		prediction := net.Denoise(nn.Bind(net.Params, params), x, t, cond)
		mean, std = net.Process.Transition(x, prediction, t, next, noise)
		return x, mean, std
	}
	var err error
	s.deterministic, err = backend.NewFn(b, "sample "+net.Name, 1, func(in []*graph.Node) []*graph.Node {
		_, mean, _ := step(in, false, in[3:])
		return []*graph.Node{mean}
	})
	if err != nil {
		return nil, err
	}
	s.stochastic, err = backend.NewFn(b, "sample by chance "+net.Name, 0, func(in []*graph.Node) []*graph.Node {
		x, mean, std := step(in, true, in[4:])
		wide := graph.BroadcastToShape(graph.Reshape(std, x.Shape().Dimensions[0], 1, 1, 1), x.Shape())
		y := graph.Add(mean, graph.Mul(wide, in[3]))
		return []*graph.Node{y, process.LogProbability(y, mean, std)}
	})
	return s, err
}

// Compiled returns how often the steps were compiled.
func (s *Sampler) Compiled() int { return s.deterministic.Compiled() + s.stochastic.Compiled() }

// Options of a draw.
type Options struct {
	Steps int     `json:"steps"`
	Shift float64 `json:"shift"`
	// Batch is the number of images that are drawn at a time; a last, smaller batch is
	// padded. The last bits of an image may depend on it.
	Batch int `json:"batch"`
}

// Draw draws one image for every row of cond float32[n, Cond]. noise(i, dst) fills the
// initial noise of image i. stop, if positive, is the number of steps to take, which leaves
// the images partially denoised. progress, if not nil, is called with the number of images
// that are done. The result is float32[n, H, W, C] in the model's range, about -1 to 1.
func (s *Sampler) Draw(m *pipeline.Model, cond []float32, noise func(i int, dst []float32), o Options, stop int, progress func(done int) error) ([]float32, error) {
	r, err := s.begin(m, cond, o)
	if err != nil {
		return nil, err
	}
	defer backend.Free(r.params...)
	steps := o.Steps
	if stop > 0 {
		steps = min(stop, steps)
	}
	px := s.net.Pixels()
	out := make([]float32, r.n*px)
	for from := 0; from < r.n; from += o.Batch {
		if progress != nil {
			if err := progress(from); err != nil {
				return nil, err
			}
		}
		to := min(from+o.Batch, r.n)
		start := make([]float32, o.Batch*px)
		for i := from; i < to; i++ {
			noise(i, start[(i-from)*px:(i-from+1)*px])
		}
		x, c := r.image(start), backend.Rows(cond, from, to, o.Batch, s.net.Cond)
		for k := range steps {
			times := r.times(k, 0)
			got, err := s.deterministic.Call(append([]*tensors.Tensor{x, c, times}, r.params...)...)
			if err != nil {
				return nil, err
			}
			backend.Free(times)
			x = got[0]
		}
		copy(out[from*px:], backend.Float32s(x)[:(to-from)*px])
		backend.Free(x, c)
	}
	return out, nil
}

// A Trajectory has the states of one image's draw, float32[Steps+1][H·W·C] from noise to the
// image, and the log-probability of each transition but the last, a mean over pixels.
type Trajectory struct {
	States         [][]float32
	LogProbability []float32
}

// Trajectories draws an image for every row of cond by the process' stochastic transitions
// and returns their trajectories. normal fills the noise of a step of image i; step -1 is the
// initial noise. The last step has no noise, so it is not an action of the policy.
func (s *Sampler) Trajectories(m *pipeline.Model, cond []float32, normal func(i, step int, dst []float32), o Options, noise float64, progress func(done int) error) ([]Trajectory, error) {
	r, err := s.begin(m, cond, o)
	if err != nil {
		return nil, err
	}
	defer backend.Free(r.params...)
	return s.trajectories(r, cond, normal, o, noise, progress)
}

// TrajectoriesOn is Trajectories of a model whose parameters are on the device, in the order of the
// network's.
func (s *Sampler) TrajectoriesOn(params []*tensors.Tensor, cond []float32, normal func(i, step int, dst []float32), o Options, noise float64, progress func(done int) error) ([]Trajectory, error) {
	r, err := s.drawing(cond, o)
	if err != nil {
		return nil, err
	}
	r.params = params
	return s.trajectories(r, cond, normal, o, noise, progress)
}

func (s *Sampler) trajectories(r *draw, cond []float32, normal func(i, step int, dst []float32), o Options, noise float64, progress func(done int) error) ([]Trajectory, error) {
	px := s.net.Pixels()
	out := make([]Trajectory, r.n)
	for from := 0; from < r.n; from += o.Batch {
		if progress != nil {
			if err := progress(from); err != nil {
				return nil, err
			}
		}
		to := min(from+o.Batch, r.n)
		row := func(x []float32, i int) []float32 { return x[(i-from)*px : (i-from+1)*px] }
		x := make([]float32, o.Batch*px)
		for i := from; i < to; i++ {
			normal(i, -1, row(x, i))
			out[i].States = append(out[i].States, row(x, i))
		}
		c := backend.Rows(cond, from, to, o.Batch, s.net.Cond)
		for k := range o.Steps {
			z, level := make([]float32, o.Batch*px), noise
			if k == o.Steps-1 {
				level = 0
			} else {
				for i := from; i < to; i++ {
					normal(i, k, row(z, i))
				}
			}
			in := []*tensors.Tensor{r.image(x), c, r.times(k, level), r.image(z)}
			got, err := s.stochastic.Call(append(in, r.params...)...)
			if err != nil {
				return nil, err
			}
			x = backend.Float32s(got[0])
			log := backend.Float32s(got[1])
			backend.Free(got[0], got[1], in[0], in[2], in[3])
			for i := from; i < to; i++ {
				out[i].States = append(out[i].States, row(x, i))
				if k < o.Steps-1 {
					out[i].LogProbability = append(out[i].LogProbability, log[i-from])
				}
			}
		}
		backend.Free(c)
	}
	return out, nil
}

// A draw is the state that Draw and Trajectories begin with.
type draw struct {
	net    pipeline.Network
	n      int
	batch  int
	grid   []float32
	params []*tensors.Tensor
}

func (s *Sampler) begin(m *pipeline.Model, cond []float32, o Options) (*draw, error) {
	if m.Name != s.net.Name {
		return nil, fmt.Errorf("sampler for %s was given a model of %s", s.net.Name, m.Name)
	}
	d, err := s.drawing(cond, o)
	if err == nil {
		d.params, err = m.Weights.Tensors(s.b, s.net.Params)
	}
	return d, err
}

// drawing returns the state of a draw without parameters.
func (s *Sampler) drawing(cond []float32, o Options) (*draw, error) {
	if len(cond)%s.net.Cond != 0 || o.Batch < 1 {
		return nil, fmt.Errorf("sampler: %d values of conditioning of width %d, in batches of %d", len(cond), s.net.Cond, o.Batch)
	}
	grid, err := s.net.Process.Grid(o.Steps, o.Shift)
	return &draw{net: s.net, n: len(cond) / s.net.Cond, batch: o.Batch, grid: grid}, err
}

func (d *draw) image(x []float32) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(x, d.batch, d.net.Image[0], d.net.Image[1], d.net.Image[2])
}

func (d *draw) times(k int, noise float64) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions([]float32{d.grid[k], d.grid[k+1], float32(noise)}, 3)
}
