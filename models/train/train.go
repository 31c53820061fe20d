// Package train trains networks. A [Trainer] is one optimizer step as one compiled
// graph: loss, gradients, clipping by their global norm, AdamW and a moving average of
// the weights; every number that a study can sweep is an input of that graph. A
// [Loop] takes such steps, records their curve, and saves and restores all of its
// state, so that a training that was interrupted ends with the same bytes.
//
// A Trainer is compiled once for each process and shape, and serves any number of trainings
// through their States.
package train

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/nn"
)

// A Loss builds a scalar loss from the trained parameters, the frozen sets and the
// inputs of a step.
type Loss func(w nn.Weights, frozen Sets, in Nodes) *graph.Node

// A Step is the loss that a Trainer minimizes, with its trained and frozen parameters.
type Step struct {
	// Name identifies the graph: steps of one name must be the same.
	Name   string
	Params []nn.Param
	// Frozen are sets of parameters that the loss reads and the optimizer does not change. They
	// may have other types of numbers than the trained ones, which are float32.
	Frozen map[string][]nn.Param
	Loss   Loss
}

// A Trainer takes steps on the parameters of one network.
type Trainer struct {
	b      backends.Backend
	step   Step
	layout layout
	sets   []string // names of the frozen sets, sorted
	frozen map[string]layout
	fns    map[variant]*compiled
	n      int         // devices
	moves  *backend.Fn // moves a frozen set towards the trained parameters
}

// A variant is one of the graphs of a Trainer.
type variant struct {
	average bool // keeps a moving average
	clips   bool // scales the gradient: all of it must be known before the first weight changes
	phase   phase
}

type phase int

const (
	whole phase = iota // gradient and update
	add                // the gradient is added to an accumulator
	apply              // an update by the gradient plus the accumulator
)

type compiled struct {
	fn     *backend.Fn
	inputs []string // names of the step's inputs, sorted
}

// Options of one step. They are inputs of the graph, never constants of it.
type Options struct {
	LearningRate float64
	Adam
	Clip float64 // largest global norm of the gradient; 0 does not clip
	EMA  float64 // decay of the moving average, for a State that has one
	// Share is the weight of this batch's gradient in an update from several batches;
	// 0 means 1. All of these batches but the last have Accumulate set.
	Share      float64
	Accumulate bool
}

// Adam are the constants of AdamW (Loshchilov & Hutter 2019, algorithm 2).
type Adam struct {
	Beta1       float64 `json:"beta1"` // decay of the first moment
	Beta2       float64 `json:"beta2"` // decay of the second
	Epsilon     float64 `json:"epsilon"`
	WeightDecay float64 `json:"weightDecay"`
}

// Default returns AdamW with PyTorch's constants but without weight decay, with clipping at 1.
func Default(learningRate float64) Options {
	return Options{LearningRate: learningRate, Adam: Adam{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, Clip: 1}
}

// New returns a trainer.
func New(b backends.Backend, s Step) (*Trainer, error) {
	t := &Trainer{b: b, step: s, layout: newLayout(s.Params), sets: slices.Sorted(maps.Keys(s.Frozen)), frozen: map[string]layout{}, fns: map[variant]*compiled{}, n: 1}
	for name, ps := range s.Frozen {
		t.frozen[name] = newLayout(ps)
	}
	n := len(t.layout.arrays)
	var err error
	t.moves, err = backend.NewFn(b, s.Name+" move", n, func(in []*graph.Node) []*graph.Node {
		out := make([]*graph.Node, n)
		for i := range out {
			out[i] = lerp(in[i], in[n+i], in[2*n])
		}
		return out
	})
	return t, err
}

// Replicate makes a trainer that has not taken a step use the first n devices. Each has the whole state
// and computes the gradient of its own batch, and all of them make the update by their sum.
func (t *Trainer) Replicate(n int) { t.n = n }

// Name returns the step's name.
func (t *Trainer) Name() string { return t.step.Name }

// Compiled returns how often the step was compiled: once for each shape.
func (t *Trainer) Compiled() int {
	n := 0
	for _, c := range t.fns {
		n += c.fn.Compiled()
	}
	return n
}

// compiled returns the graph of a variant for inputs of the given names. Its donated inputs
// are n arrays each of parameters, first moments, second moments, average and accumulator; in
// the phase add of the accumulator only.
func (t *Trainer) compiled(v variant, inputs []string) (*compiled, error) {
	if c, ok := t.fns[v]; ok {
		if !slices.Equal(c.inputs, inputs) {
			return nil, fmt.Errorf("training step %s has the inputs %q and was given %q", t.step.Name, c.inputs, inputs)
		}
		return c, nil
	}
	n := len(t.layout.arrays)
	groups := 3
	if v.average {
		groups++
	}
	if v.phase == apply {
		groups++
	}
	state := groups * n
	if v.phase == add {
		state = n
	}
	fn, err := backend.NewFn(t.b, t.step.Name, state, func(in []*graph.Node) []*graph.Node {
		if v.phase == add {
			sum, p := in[:n], in[n:2*n]
			h, l, grads, norm := t.gradients(p, in[2*n:], inputs)
			out := make([]*graph.Node, n, n+2)
			for i, g := range grads {
				out[i] = graph.Add(sum[i], graph.Mul(g, h.share))
			}
			return append(out, l, norm(grads))
		}
		p, m, q := in[:n], in[n:2*n], in[2*n:3*n]
		h, l, grads, norm := t.gradients(p, in[state:], inputs)
		if v.phase == apply {
			for i, g := range grads {
				grads[i] = graph.Add(in[state-n+i], graph.Mul(g, h.share))
			}
		}
		size := norm(grads)
		scale := graph.Div(h.clip, graph.Max(size, h.clip))
		out := make([]*graph.Node, state, state+2)
		for i, g := range grads {
			if v.clips {
				g = graph.Mul(g, scale)
			}
			out[n+i] = lerp(m[i], g, h.beta1)
			out[2*n+i] = lerp(q[i], graph.Square(g), h.beta2)
			mean := graph.Mul(out[n+i], h.correct1)
			rms := graph.Sqrt(graph.Mul(out[2*n+i], h.correct2))
			update := graph.Add(graph.Div(mean, graph.Add(rms, h.epsilon)), graph.Mul(h.decay, p[i]))
			out[i] = graph.Sub(p[i], graph.Mul(h.rate, update))
			if v.average {
				out[3*n+i] = lerp(in[3*n+i], out[i], h.ema)
			}
			if v.phase == apply {
				out[state-n+i] = graph.ZerosLike(p[i])
			}
		}
		return append(out, l, size)
	})
	if err != nil {
		return nil, err
	}
	fn.Replicate(t.n)
	t.fns[v] = &compiled{fn, inputs}
	return t.fns[v], nil
}

// gradients returns the options, the loss, its gradients by p, and a function for the
// global norm. The gradients of several devices are summed by their shares. rest are the option vector, the frozen sets and the inputs.
func (t *Trainer) gradients(p, rest []*graph.Node, inputs []string) (h hyper, loss *graph.Node, grads []*graph.Node, norm func([]*graph.Node) *graph.Node) {
	h, rest = unpack(rest[0]), rest[1:]
	frozen := Sets{}
	for _, name := range t.sets {
		l := t.frozen[name]
		frozen[name], rest = l.bind(rest[:len(l.arrays)]), rest[len(l.arrays):]
	}
	in := Nodes{}
	for i, name := range inputs {
		in[name] = rest[i]
	}
	loss = t.step.Loss(t.layout.bind(p), frozen, in)
	loss.AssertScalar()
	grads = graph.Gradient(loss, p...)
	if t.n > 1 {
		for i, g := range grads {
			grads[i] = graph.Mul(g, h.share)
		}
		grads, h.share = backend.Sum(grads...), graph.ScalarOne(loss.Graph(), h.share.DType())
	}
	return h, loss, grads, func(grads []*graph.Node) *graph.Node {
		var square *graph.Node
		for _, g := range grads {
			s := graph.ReduceAllSum(graph.Square(g))
			if square == nil {
				square = s
			} else {
				square = graph.Add(square, s)
			}
		}
		return graph.Sqrt(square)
	}
}

// lerp is d·a + (1 - d)·b.
func lerp(a, b, d *graph.Node) *graph.Node {
	return graph.Add(graph.Mul(d, a), graph.Mul(graph.OneMinus(d), b))
}

// hyper are the scalars of a step inside the graph.
type hyper struct {
	rate, beta1, beta2, epsilon, decay, clip, ema, share, correct1, correct2 *graph.Node
}

func unpack(x *graph.Node) hyper {
	at := func(i int) *graph.Node { return graph.Reshape(graph.Slice(x, graph.AxisElem(i))) }
	return hyper{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9)}
}

// share is Share, or 1 where it is 0.
func (o Options) share() float64 {
	if o.Share == 0 {
		return 1
	}
	return o.Share
}

// pack returns the options as a vector, for update number t, counted from 1; without a share where shares
// is false.
func (o Options) pack(t int, shares bool) *tensors.Tensor {
	clip, share := o.Clip, o.share()
	if clip <= 0 {
		clip = math.MaxFloat32
	}
	if !shares {
		share = 0
	}
	x := []float32{
		float32(o.LearningRate), float32(o.Beta1), float32(o.Beta2), float32(o.Epsilon), float32(o.WeightDecay), float32(clip), float32(o.EMA), float32(share),
		float32(1 / (1 - math.Pow(o.Beta1, float64(t)))), float32(1 / (1 - math.Pow(o.Beta2, float64(t)))),
	}
	return tensors.FromFlatDataAndDimensions(x, options)
}

// options is the length of the vector of options.
const options = 10

// A State is the state of one training: weights, moments, moving average and accumulated
// gradient on the devices, the frozen sets, and the number of updates.
type State struct {
	replica                 // on the first device
	others  []replica       // on the other ones; Begin makes those that are missing
	moved   map[string]bool // frozen sets that Move has changed
	updates int
	pending bool // the accumulator has a gradient
	step    *Future
}

// A replica has the arrays of a state on one device.
type replica struct {
	params, first, second []*tensors.Tensor
	average, sum          []*tensors.Tensor // nil where there is none
	frozen                map[string]frozen
}

// frozen is a frozen set. Its first arrays may be the caller's, who frees them.
type frozen struct {
	arrays []*tensors.Tensor
	shared int
}

func (f frozen) free() { backend.Free(f.arrays[f.shared:]...) }

// groups returns the groups of arrays that steps change, by the prefix of their names in files.
func (r *replica) groups() map[string]*[]*tensors.Tensor {
	return map[string]*[]*tensors.Tensor{"params.": &r.params, "first.": &r.first, "second.": &r.second, "average.": &r.average, "sum.": &r.sum}
}

// copy returns a replica on another device.
func (r *replica) copy(b backend.Backend, device int) (c replica, err error) {
	copies := func(arrays []*tensors.Tensor) (out []*tensors.Tensor) {
		for _, x := range arrays {
			y, e := backend.Copy(b, x, device)
			out, err = append(out, y), errors.Join(err, e)
		}
		return out
	}
	c.frozen = map[string]frozen{}
	to := c.groups()
	for name, arrays := range r.groups() {
		*to[name] = copies(*arrays)
	}
	for name, f := range r.frozen {
		c.frozen[name] = frozen{arrays: copies(f.arrays)}
	}
	return c, err
}

func (r *replica) free() {
	for _, arrays := range r.groups() {
		backend.Free(*arrays...)
	}
	for _, f := range r.frozen {
		f.free()
	}
	*r = replica{}
}

// changed waits for the step and frees the other replicas, where the first one is changed by other means
// than a step.
func (s *State) changed() error {
	err := s.Wait()
	for i := range s.others {
		s.others[i].free()
	}
	s.others = nil
	return err
}

// Start begins a training at v. If average is true, it keeps a moving average of the
// weights, which starts at v too.
func (t *Trainer) Start(v nn.Values, average bool) (*State, error) {
	packed, err := t.layout.pack(v)
	if err != nil {
		return nil, err
	}
	copies := [2][]*tensors.Tensor{}
	if copies[0], err = packed.Tensors(t.b, t.layout.arrays); err != nil {
		return nil, err
	}
	if average {
		if copies[1], err = packed.Tensors(t.b, t.layout.arrays); err != nil {
			return nil, err
		}
	}
	return t.start(copies)
}

// StartAt is Start at arrays on the device, in the order of the step's parameters. The training
// changes copies of them.
func (t *Trainer) StartAt(arrays []*tensors.Tensor, average bool) (*State, error) {
	if err := t.layout.fits(arrays); err != nil {
		return nil, err
	}
	fn, err := backend.NewFn(t.b, t.step.Name+" start", 0, t.layout.gather)
	if err != nil {
		return nil, err
	}
	copies := [2][]*tensors.Tensor{}
	for i := range copies {
		if i > 0 && !average {
			break
		}
		if copies[i], err = fn.Call(arrays...); err != nil {
			return nil, err
		}
	}
	return t.start(copies)
}

// start begins a training at weights and their average, which become the state's.
func (t *Trainer) start(copies [2][]*tensors.Tensor) (s *State, err error) {
	s = &State{replica: replica{params: copies[0], average: copies[1], frozen: map[string]frozen{}}, moved: map[string]bool{}}
	if s.first, err = nn.Zeros(t.b, t.layout.arrays); err == nil {
		s.second, err = nn.Zeros(t.b, t.layout.arrays)
	}
	return s, err
}

// Freeze sets a frozen set before the first step of a training. Only Move changes it later.
func (t *Trainer) Freeze(s *State, name string, v nn.Values) error {
	l, err := t.set(name)
	if err != nil {
		return err
	}
	packed, err := l.pack(v)
	if err != nil {
		return err
	}
	x, err := packed.Tensors(t.b, l.arrays)
	if err != nil {
		return err
	}
	s.freeze(name, frozen{arrays: x})
	return nil
}

// Share is Freeze for arrays on the device, in the order of the set's parameters. They stay the
// caller's, who must not free them before the training ends; Move refuses them.
func (t *Trainer) Share(s *State, name string, arrays []*tensors.Tensor) error {
	l, err := t.set(name)
	if err != nil {
		return err
	}
	if err := l.fits(arrays); err != nil {
		return err
	}
	var large, small []*tensors.Tensor
	for i, x := range arrays {
		if l.start[i] < 0 {
			large = append(large, x)
		} else {
			small = append(small, x)
		}
	}
	f := frozen{large, len(large)}
	if small != nil {
		fn, err := backend.NewFn(t.b, t.step.Name+" share", 0, newLayout(l.small()).gather)
		if err != nil {
			return err
		}
		vector, err := fn.Call(small...)
		if err != nil {
			return err
		}
		f.arrays = append(f.arrays, vector...)
	}
	s.freeze(name, f)
	return nil
}

// set returns the layout of a frozen set.
func (t *Trainer) set(name string) (layout, error) {
	l, ok := t.frozen[name]
	if !ok {
		return l, fmt.Errorf("training step %s has no frozen set %q", t.step.Name, name)
	}
	return l, nil
}

func (s *State) freeze(name string, f frozen) {
	_ = s.changed() // the caller of Begin reads its error
	s.frozen[name].free()
	s.frozen[name] = f
}

// Move moves a frozen set that has the trained parameters' names towards their current
// values: d·set + (1 - d)·parameters, on the device.
func (t *Trainer) Move(s *State, name string, d float64) error {
	if err := s.changed(); err != nil {
		return err
	}
	if s.frozen[name].shared > 0 {
		return fmt.Errorf("training step %s cannot move its frozen set %q, whose arrays are shared", t.step.Name, name)
	}
	in := append(append(append([]*tensors.Tensor{}, s.frozen[name].arrays...), s.params...), tensors.FromScalar(float32(d)))
	out, err := t.moves.Call(in...)
	if err != nil {
		s.frozen[name] = frozen{} // donated
		return err
	}
	backend.Free(in[len(in)-1])
	s.frozen[name], s.moved[name] = frozen{arrays: out}, true
	return nil
}

// Set copies a frozen set to the host.
func (t *Trainer) Set(s *State, name string) nn.Values {
	_ = s.Wait() // the caller of Begin reads its error
	return t.frozen[name].unpack(s.frozen[name].arrays)
}

// A Result is the loss before a step and the gradient's norm before clipping: that of the
// batch's gradient where it is accumulated (of several devices, of the mean of their batches'),
// and that of the sum where the step makes an update.
type Result struct{ Loss, GradientNorm float64 }

// A Future is a step that the device computes.
type Future struct {
	done   chan struct{}
	result Result
	err    error
}

// Result waits for the step and returns what it made.
func (f *Future) Result() (Result, error) {
	<-f.done
	return f.result, f.err
}

// Step takes one step and frees its inputs. After an error, or when the loss is not a
// finite number, the state must not be used again.
func (t *Trainer) Step(s *State, o Options, in ...Inputs) (Result, error) {
	f, err := t.Begin(s, o, in...)
	if err != nil {
		return Result{}, err
	}
	return f.Result()
}

// Begin begins a step, for which it first waits for the step before: a caller prepares the inputs of
// a step while the device computes that one, and reads its result when the next step has begun. If
// that step failed, Begin returns its error and begins nothing. Everything that reads the state
// waits for its step. go-xla waits for the end of an execution, so each has a goroutine.
//
// Several devices have a batch each, of one shape. o.Share is that of each of them, and the result's loss
// is the sum of their losses. A device without one computes the first batch again, which has no share then.
func (t *Trainer) Begin(s *State, o Options, in ...Inputs) (*Future, error) {
	if len(in) == 0 || len(in) > t.n {
		return nil, fmt.Errorf("training step %s is given %d batches for %d devices", t.step.Name, len(in), t.n)
	}
	batches := len(in)
	for d := range t.n {
		if d >= batches {
			in = append(in, Inputs{})
		}
		for name, x := range in[0] {
			var err error
			if d < batches {
				_, err = in[d][name].Buffer(t.b, backends.DeviceNum(d))
			} else {
				in[d][name], err = backend.Copy(t.b, x, d)
			}
			if err != nil {
				return nil, fmt.Errorf("input %s of training step %s: %w", name, t.step.Name, err)
			}
		}
	}
	if err := s.Wait(); err != nil {
		return nil, err
	}
	v := variant{average: s.average != nil, clips: o.Clip > 0}
	switch {
	case o.Accumulate:
		v = variant{phase: add}
	case s.pending:
		v.phase = apply
	}
	if v.phase != whole && s.sum == nil {
		err := s.changed()
		if err == nil {
			s.sum, err = nn.Zeros(t.b, t.layout.arrays)
		}
		if err != nil {
			return nil, err
		}
	}
	for d := len(s.others) + 1; d < t.n; d++ {
		c, err := s.copy(t.b, d)
		s.others = append(s.others, c)
		if err != nil {
			return nil, errors.Join(err, s.changed())
		}
	}
	names := slices.Sorted(maps.Keys(in[0]))
	c, err := t.compiled(v, names)
	if err != nil {
		return nil, err
	}
	if v.phase != add {
		s.updates++
	}
	replicas := []*replica{&s.replica}
	for i := range s.others {
		replicas = append(replicas, &s.others[i])
	}
	var args, vectors []*tensors.Tensor
	for d, r := range replicas {
		switch v.phase {
		case add:
			args = append(append(args, r.sum...), r.params...)
		default:
			args = append(append(append(append(args, r.params...), r.first...), r.second...), r.average...)
			if v.phase == apply {
				args = append(args, r.sum...)
			}
		}
		vectors = append(vectors, o.pack(max(s.updates, 1), d < batches))
		args = append(args, vectors[d])
		for _, name := range t.sets {
			if r.frozen[name].arrays == nil {
				return nil, fmt.Errorf("training step %s was never given its frozen set %q", t.step.Name, name)
			}
			args = append(args, r.frozen[name].arrays...)
		}
		for _, name := range names {
			args = append(args, in[d][name])
		}
	}
	f := &Future{done: make(chan struct{})}
	s.step = f
	go func() {
		defer close(f.done)
		var out []*tensors.Tensor
		if out, f.err = c.fn.Call(args...); f.err != nil {
			for _, r := range replicas {
				r.params, r.first, r.second, r.average, r.sum = nil, nil, nil, nil, nil // donated
			}
			return
		}
		n := len(t.layout.arrays)
		take := func() (x []*tensors.Tensor) { x, out = out[:n:n], out[n:]; return x }
		for d, r := range replicas {
			in[d].free()
			switch v.phase {
			case add:
				r.sum = take()
			default:
				r.params, r.first, r.second = take(), take(), take()
				if v.average {
					r.average = take()
				}
				if v.phase == apply {
					r.sum = take()
				}
			}
			if d < batches {
				f.result.Loss, f.result.GradientNorm = f.result.Loss+scalar(out[0]), scalar(out[1])
			}
			backend.Free(vectors[d], out[0], out[1])
			out = out[2:]
		}
		if s.pending = v.phase == add; s.pending && t.n > 1 {
			f.result.GradientNorm /= o.share() * float64(batches) // as on one device: of the mean
		}
		if loss := f.result.Loss; math.IsNaN(loss) || math.IsInf(loss, 0) {
			f.err = &DivergedError{Loss: loss, Update: max(s.updates, 1)}
		}
	}()
	return f, nil
}

// Wait waits for the step that was begun last and returns its error.
func (s *State) Wait() error {
	if s.step == nil {
		return nil
	}
	_, err := s.step.Result()
	return err
}

// DivergedError is the error of a step whose loss is not a number or infinite.
type DivergedError struct {
	Loss   float64
	Update int // from 1
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("loss is %v at update %d: the training diverged (a smaller learning rate helps)", e.Loss, e.Update)
}

func scalar(t *tensors.Tensor) float64 { return float64(tensors.ToScalar[float32](t)) }

// Weights copies the current weights to the host.
func (t *Trainer) Weights(s *State) nn.Values {
	_ = s.Wait() // the caller of Begin reads its error
	return t.layout.unpack(s.params)
}

// Average copies the moving average of the weights to the host, or the weights if there is
// none.
func (t *Trainer) Average(s *State) nn.Values {
	if _ = s.Wait(); s.average == nil {
		return t.Weights(s)
	}
	return t.layout.unpack(s.average)
}

// Free releases the state's arrays.
func (s *State) Free() {
	_ = s.changed() // the step uses the arrays
	s.replica.free()
	*s = State{}
}

// WarmupDecay returns the factor of the learning rate at step i of n: it rises linearly
// over the warmup steps, is 1 until step hold·n, and then falls linearly to floor.
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
