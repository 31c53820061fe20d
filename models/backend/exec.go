package backend

import (
	"fmt"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

type graphShape = shapes.Shape

// Backend is where graphs run; the packages outside models know it by this name.
type Backend = backends.Backend

// A Fn is a graph function that is compiled once for each combination of input
// shapes and then called with arrays. What a study sweeps is an input of it, so
// that a sweep compiles nothing new. A Fn is not safe for concurrent use.
type Fn struct {
	exec    *graph.Exec
	backend backends.Backend
	state   int
	built   int
}

// NewFn wraps build, which receives a node for every input of Call and returns
// the outputs. It may panic, with an error: Call returns that error.
//
// The first state inputs are a state that the function carries forward: Call
// gives their memory away to the outputs of the same number and shape.
func NewFn(b backends.Backend, name string, state int, build func(in []*graph.Node) []*graph.Node) (*Fn, error) {
	mendGradients()
	f := &Fn{backend: b, state: state}
	e, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
		f.built++
		for i := range state {
			alias(in[i], i)
		}
		return build(in)
	})
	if err != nil {
		return nil, fmt.Errorf("graph %s: %w", name, err)
	}
	// A study may sweep what sets a shape over more values than gomlx keeps.
	f.exec = e.WithName(name).SetMaxCache(-1)
	return f, nil
}

// Compiled is how often the function was compiled: once for each combination
// of shapes that it was called with.
func (f *Fn) Compiled() int { return f.built }

// Call runs the function. The caller must not use the state inputs again, not
// even after an error.
func (f *Fn) Call(in ...*tensors.Tensor) ([]*tensors.Tensor, error) {
	args := make([]any, len(in))
	for i, t := range in {
		if i >= f.state {
			args[i] = t
			continue
		}
		given, err := graph.DonateTensorBuffer(t, f.backend, 0)
		if err != nil {
			return nil, fmt.Errorf("graph %s: input %d: %w", f.exec.Name(), i, err)
		}
		args[i] = given
	}
	out, err := f.exec.Exec(args...)
	if err != nil {
		return nil, fmt.Errorf("graph %s: %w", f.exec.Name(), err)
	}
	return out, nil
}

// Float32s copies an array's values to the host.
func Float32s(t *tensors.Tensor) []float32 { return tensors.MustCopyFlatData[float32](t) }

// Free releases arrays on the device before the garbage collector would.
func Free(ts ...*tensors.Tensor) {
	for _, t := range ts {
		if t != nil && t.Ok() {
			_ = t.FinalizeAll() // freeing an array that is gone already is not an error
		}
	}
}
