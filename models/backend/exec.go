package backend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/distributed"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

type graphShape = shapes.Shape

// Backend computes graphs. Packages outside models use this name of gomlx's type.
type Backend = backends.Backend

// A Fn is a graph function that is compiled once for each combination of input
// shapes and then called with arrays. Values that a study sweeps are inputs, so
// that a sweep compiles nothing new. A Fn is not safe for concurrent use.
type Fn struct {
	name     string
	backend  backends.Backend
	state    int
	devices  int
	build    func(in []*graph.Node) []*graph.Node
	compiled []compiled
}

// compiled is the graph of one combination of shapes.
type compiled struct {
	inputs []graphShape
	graph  *graph.Graph
}

// NewFn wraps build, which receives a node for every input of Call and returns
// the outputs. Call returns an error with which build panics.
//
// The first state inputs are donated: Call reuses their memory for the outputs with the same
// index and shape.
func NewFn(b backends.Backend, name string, state int, build func(in []*graph.Node) []*graph.Node) (*Fn, error) {
	mendGradients()
	return &Fn{name: name, backend: b, state: state, devices: 1, build: build}, nil
}

// Replicate makes a function that has not been called compute on the first n devices at the same
// time. Call is then given the inputs of each device, which are on that device, one device after the
// other, and it returns the outputs so. Sum adds values of all devices.
func (f *Fn) Replicate(n int) { f.devices = n }

// Sum returns the sums of arrays over the devices that compute a graph; on one device the arrays.
func Sum(x ...*graph.Node) []*graph.Node {
	if g := x[0].Graph(); g.NumDevices() > 1 {
		return g.Distributed().AllReduce(x, backends.ReduceOpSum)
	}
	return x
}

// Compiled returns how often the function was compiled: once for each combination
// of input shapes.
func (f *Fn) Compiled() int { return len(f.compiled) }

// Call runs the function. The caller must not use the donated inputs again, not
// even after an error.
//
// It runs the compiled graph directly: gomlx's Exec allocates several values for every
// input and, for an input that is not on the device yet, an error with a stack trace.
func (f *Fn) Call(in ...*tensors.Tensor) (out []*tensors.Tensor, err error) {
	defer f.caught(&err)
	given := make([]graphShape, len(in)/f.devices)
	for i := range given {
		given[i] = in[i].Shape()
	}
	return f.run(f.graph(given), in)
}

// caught makes an error of the value with which a graph's construction panics.
func (f *Fn) caught(err *error) {
	switch p := recover().(type) {
	case nil:
	case error:
		*err = p
	default:
		panic(p)
	}
	if *err != nil {
		*err = fmt.Errorf("graph %s: %w", f.name, *err)
	}
}

// run runs a compiled graph.
func (f *Fn) run(g *graph.Graph, in []*tensors.Tensor) (_ []*tensors.Tensor, err error) {
	buffers, given := make([]backends.Buffer, len(in)), make([]bool, len(in))
	each := len(in) / f.devices
	for i, t := range in {
		device := backends.DeviceNum(i / each)
		if given[i] = i%each < f.state; given[i] {
			buffers[i], err = t.DonateBuffer(f.backend, device)
		} else {
			buffers[i], err = t.Buffer(f.backend, device)
		}
		if err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
	}
	return g.RunWithBuffers(buffers, given, 0), nil
}

// graph returns the compiled graph for inputs of these shapes.
func (f *Fn) graph(in []graphShape) *graph.Graph {
	for _, c := range f.compiled {
		if slices.EqualFunc(c.inputs, in, graphShape.Equal) {
			return c.graph
		}
	}
	g, out := f.built(in)
	g.Compile(out...)
	f.compiled = append(f.compiled, compiled{in, g})
	return g
}

// built returns a new graph for inputs of these shapes, with its outputs.
func (f *Fn) built(in []graphShape) (*graph.Graph, []*graph.Node) {
	g := graph.NewGraph(f.backend, fmt.Sprintf("%s#%d", f.name, len(f.compiled)))
	if f.devices > 1 {
		mesh, err := distributed.NewDeviceMesh([]int{f.devices}, []string{"device"})
		if err == nil {
			err = g.SetSPMD(mesh)
		}
		if err != nil {
			panic(err)
		}
	}
	nodes := make([]*graph.Node, len(in))
	for i, shape := range in {
		nodes[i] = graph.Parameter(g, fmt.Sprintf("arg%d", i), shape)
		if i < f.state {
			alias(nodes[i], i)
		}
	}
	return g, f.build(nodes)
}

// Put copies values to the device once, where a gomlx tensor that is made of values and then
// given to a function is copied twice.
func Put(b Backend, x []float32, dims ...int) (*tensors.Tensor, error) {
	buffer, err := b.BufferFromFlatData(0, x, shapes.Make(dtypes.Float32, dims...))
	if err != nil {
		return nil, fmt.Errorf("array float32%v to the device: %w", dims, err)
	}
	return tensors.FromBuffer(b, buffer)
}

// Copy returns a copy of an array on another device.
func Copy(b Backend, t *tensors.Tensor, device int) (*tensors.Tensor, error) {
	from, err := t.Buffer(b, 0)
	if err != nil {
		return nil, err
	}
	to, err := b.BufferCopyToDevice(from, backends.DeviceNum(device))
	if err != nil {
		return nil, fmt.Errorf("copying an array %s to device %d: %w", t.Shape(), device, err)
	}
	return tensors.FromBuffer(b, to)
}

// Float32s copies an array's values to the host.
func Float32s(t *tensors.Tensor) []float32 { return tensors.MustCopyFlatData[float32](t) }

// View calls use with the bytes of an array's values, little-endian. They are those of the
// array itself where the host can read these, and otherwise a copy, which does not stay. use
// must not change or keep them.
func View(t *tensors.Tensor, use func([]byte) error) error {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return errors.New("this processor is not little-endian, as the bytes of a file are")
	}
	if t.Size() == 0 {
		return use(nil)
	}
	if !t.IsLocal() {
		defer t.FinalizeLocal() // the copy of an array that the host cannot read
	}
	var err error
	if e := t.ConstBytes(func(b []byte) { err = use(b) }); e != nil {
		return e
	}
	return err
}

// Free releases arrays on the device before the garbage collector would.
func Free(ts ...*tensors.Tensor) {
	for _, t := range ts {
		if t != nil && t.Ok() {
			_ = t.FinalizeAll() // freeing an array that is gone already is not an error
		}
	}
}
