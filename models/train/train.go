// Package train is one optimizer step as one compiled graph: loss, gradients,
// clipping by their global norm, AdamW and a moving average of the weights.
// Every number that a study can sweep is an input of that graph.
//
// A Trainer is compiled once a process and shape, and serves any number of
// trainings through their States.
package train

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
)

// A Loss builds a scalar loss from parameters and the inputs of a step.
type Loss func(w nn.Weights, in []*graph.Node) *graph.Node

// A LossBeside reads, beside the parameters, frozen sets of others: a
// reference's weights, or those that a low-rank update stands on.
type LossBeside func(w nn.Weights, frozen []nn.Weights, in []*graph.Node) *graph.Node

// A Trainer takes steps on the parameters of one network.
type Trainer struct {
	layout layout
	frozen []layout
	fn     *backend.Fn
}

// Compiled is how often the step was compiled, once a shape.
func (t *Trainer) Compiled() int { return t.fn.Compiled() }

// Options of one step. They are inputs of the graph, never constants of it.
type Options struct {
	LearningRate float64
	Beta1, Beta2 float64 // decay of AdamW's moments (Loshchilov & Hutter 2019, algorithm 2)
	Epsilon      float64
	WeightDecay  float64
	Clip         float64 // largest global norm of the gradient; 0 does not clip
	EMA          float64 // decay of the moving average; 0 makes it the weights themselves
}

// Default returns AdamW as PyTorch has it, without weight decay, clipping at 1.
func Default(learningRate float64) Options {
	return Options{LearningRate: learningRate, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Clip: 1}
}

// New returns a trainer of params under loss.
func New(b backends.Backend, name string, params []nn.Param, loss Loss) (*Trainer, error) {
	return NewBeside(b, name, params, nil, func(w nn.Weights, _ []nn.Weights, in []*graph.Node) *graph.Node { return loss(w, in) })
}

// NewBeside returns a trainer of params under a loss that also reads frozen
// sets, which Freeze gives to each training.
func NewBeside(b backends.Backend, name string, params []nn.Param, frozen [][]nn.Param, loss LossBeside) (*Trainer, error) {
	t := &Trainer{layout: newLayout(params)}
	for _, ps := range frozen {
		t.frozen = append(t.frozen, newLayout(ps))
	}
	lay := t.layout
	n := len(lay.arrays)
	fn, err := backend.NewFn(b, name, 4*n, func(in []*graph.Node) []*graph.Node {
		p, m, v, avg := in[:n], in[n:2*n], in[2*n:3*n], in[3*n:4*n]
		h, rest := unpack(in[4*n]), in[4*n+1:]
		beside := make([]nn.Weights, len(t.frozen))
		for i, l := range t.frozen {
			beside[i], rest = l.bind(rest[:len(l.arrays)]), rest[len(l.arrays):]
		}
		l := loss(lay.bind(p), beside, rest)
		l.AssertScalar()
		grads := graph.Gradient(l, p...)

		var square *graph.Node
		for _, g := range grads {
			s := graph.ReduceAllSum(graph.Square(g))
			if square == nil {
				square = s
			} else {
				square = graph.Add(square, s)
			}
		}
		norm := graph.Sqrt(square)
		scale := graph.Div(h.clip, graph.Max(norm, h.clip))

		out := make([]*graph.Node, 4*n, 4*n+2)
		for i, g := range grads {
			g = graph.Mul(g, scale)
			out[n+i] = mix(m[i], g, h.beta1)
			out[2*n+i] = mix(v[i], graph.Square(g), h.beta2)
			mean := graph.Mul(out[n+i], h.correct1)
			rms := graph.Sqrt(graph.Mul(out[2*n+i], h.correct2))
			step := graph.Add(graph.Div(mean, graph.Add(rms, h.epsilon)), graph.Mul(h.decay, p[i]))
			out[i] = graph.Sub(p[i], graph.Mul(h.rate, step))
			out[3*n+i] = mix(avg[i], out[i], h.ema)
		}
		return append(out, l, norm)
	})
	if err != nil {
		return nil, err
	}
	t.fn = fn
	return t, nil
}

// mix is d·a + (1 - d)·b.
func mix(a, b, d *graph.Node) *graph.Node {
	return graph.Add(graph.Mul(d, a), graph.Mul(graph.OneMinus(d), b))
}

// hyper are the scalars of a step inside the graph.
type hyper struct {
	rate, beta1, beta2, epsilon, decay, clip, ema, correct1, correct2 *graph.Node
}

func unpack(x *graph.Node) hyper {
	at := func(i int) *graph.Node { return graph.Reshape(graph.Slice(x, graph.AxisElem(i))) }
	return hyper{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)}
}

// pack lays out options for step number t, counted from 1.
func (o Options) pack(t int) *tensors.Tensor {
	clip := o.Clip
	if clip <= 0 {
		clip = math.MaxFloat32
	}
	x := []float32{
		float32(o.LearningRate), float32(o.Beta1), float32(o.Beta2), float32(o.Epsilon), float32(o.WeightDecay), float32(clip), float32(o.EMA),
		float32(1 / (1 - math.Pow(o.Beta1, float64(t)))), float32(1 / (1 - math.Pow(o.Beta2, float64(t)))),
	}
	return tensors.FromFlatDataAndDimensions(x, len(x))
}

// A State is one training under way: weights, moments and moving average on
// the device, the frozen sets, and the number of steps taken.
type State struct {
	arrays []*tensors.Tensor
	frozen [][]*tensors.Tensor
	step   int
}

// Start begins a training at v; the moving average starts there too.
func (t *Trainer) Start(v nn.Values) (*State, error) {
	packed, err := t.layout.pack(v)
	if err != nil {
		return nil, err
	}
	s := &State{frozen: make([][]*tensors.Tensor, len(t.frozen))}
	for _, start := range []nn.Values{packed, nil, nil, packed} {
		if start == nil {
			s.arrays = append(s.arrays, nn.Zeros(t.layout.arrays)...)
			continue
		}
		x, err := start.Tensors(t.layout.arrays)
		if err != nil {
			return nil, err
		}
		s.arrays = append(s.arrays, x...)
	}
	return s, nil
}

// Freeze gives a training its frozen set number i, or another one in its place.
func (t *Trainer) Freeze(s *State, i int, v nn.Values) error {
	packed, err := t.frozen[i].pack(v)
	if err != nil {
		return err
	}
	x, err := packed.Tensors(t.frozen[i].arrays)
	if err != nil {
		return err
	}
	backend.Free(s.frozen[i]...)
	s.frozen[i] = x
	return nil
}

// A Result is what a step reports: the loss before it and the gradient's norm
// before clipping.
type Result struct{ Loss, GradientNorm float64 }

// Step takes one step. After an error, or when the loss is not a finite
// number, the state must not be used again.
func (t *Trainer) Step(s *State, o Options, in ...*tensors.Tensor) (Result, error) {
	s.step++
	args := append(append([]*tensors.Tensor{}, s.arrays...), o.pack(s.step))
	for i, x := range s.frozen {
		if x == nil {
			return Result{}, fmt.Errorf("frozen set %d of the training was never given", i)
		}
		args = append(args, x...)
	}
	out, err := t.fn.Call(append(args, in...)...)
	s.arrays = nil // given away
	if err != nil {
		return Result{}, err
	}
	n := 4 * len(t.layout.arrays)
	s.arrays = out[:n]
	r := Result{Loss: scalar(out[n]), GradientNorm: scalar(out[n+1])}
	backend.Free(out[n:]...)
	if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
		return r, fmt.Errorf("loss is %v at step %d: the training diverged (a smaller learning rate helps)", r.Loss, s.step)
	}
	return r, nil
}

func scalar(t *tensors.Tensor) float64 { return float64(tensors.ToScalar[float32](t)) }

// Weights copies the current weights to the host.
func (t *Trainer) Weights(s *State) nn.Values { return t.layout.unpack(s.arrays) }

// Average copies the moving average of the weights to the host.
func (t *Trainer) Average(s *State) nn.Values {
	return t.layout.unpack(s.arrays[3*len(t.layout.arrays):])
}

// Free releases the state's arrays.
func (s *State) Free() {
	backend.Free(s.arrays...)
	for _, x := range s.frozen {
		backend.Free(x...)
	}
	s.arrays, s.frozen = nil, nil
}

// WarmupDecay is the factor on the learning rate at step i of n: linear
// warm-up over the first steps, then flat, then from hold·n on linear down to
// floor.
func WarmupDecay(i, n, warmup int, hold, floor float64) float64 {
	f := 1.0
	if i < warmup {
		f = float64(i+1) / float64(warmup)
	}
	if start := hold * float64(n); float64(i) >= start && float64(n) > start {
		f *= 1 - (1-floor)*(float64(i)-start)/(float64(n)-start)
	}
	return f
}
