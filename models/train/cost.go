package train

import (
	"maps"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"

	"ablate/models/backend"
	"ablate/models/nn"
)

// A Cost is what an update computes, and what it needs on the device in bytes.
type Cost struct {
	Flops   float64
	State   int64 // weights, moments, moving average and accumulator
	Frozen  int64
	Working int64 // the rest, while it computes
	Values  int64 // bound of Working that needs no compilation: that of all values together
}

// Cost returns the cost of an update from a number of batches, for inputs float32 of some shapes, with
// a moving average if average is true. It compiles the step if compile is true, and leaves Working out
// otherwise.
func (t *Trainer) Cost(o Options, batches int, average, compile bool, in Shapes) (c Cost, err error) {
	_, size := nn.Arrays(t.layout.arrays)
	for _, set := range t.sets {
		_, bytes := nn.Arrays(t.frozen[set].arrays)
		c.Frozen += bytes
	}
	last := variant{average: average, clips: o.Clip > 0}
	variants := map[variant]int{last: 1}
	groups := 3
	if average {
		groups++
	}
	if batches > 1 {
		delete(variants, last)
		last.phase = apply
		variants[last], variants[variant{phase: add}] = 1, batches-1
		groups++
	}
	c.State = int64(groups) * size
	for v, times := range variants {
		copies := groups
		if v.phase == add {
			copies = 2
		}
		fn, args, err := t.graph(v, copies, in)
		if err != nil {
			return c, err
		}
		w, err := fn.Work(args...)
		if err != nil {
			return c, err
		}
		c.Flops, c.Values = c.Flops+float64(times)*w.Flops, max(c.Values, w.Values)
		if !compile {
			continue
		}
		m, err := fn.Memory(args...)
		if err != nil {
			return c, err
		}
		c.Working = max(c.Working, m.Temporary+m.Outputs-m.Aliased)
	}
	return c, nil
}

// graph returns the graph of a variant, and the shapes of its inputs: groups of arrays of the state, and those of
// a step.
func (t *Trainer) graph(v variant, groups int, in Shapes) (*backend.Fn, []shapes.Shape, error) {
	names := slices.Sorted(maps.Keys(in))
	own, err := t.compiled(v, names)
	if err != nil {
		return nil, nil, err
	}
	state, _ := nn.Arrays(t.layout.arrays)
	args := append(slices.Repeat(state, groups), shapes.Make(dtypes.Float32, options))
	for _, set := range t.sets {
		arrays, _ := nn.Arrays(t.frozen[set].arrays)
		args = append(args, arrays...)
	}
	for _, name := range names {
		args = append(args, shapes.Make(dtypes.Float32, in[name]...))
	}
	return own.fn, args, nil
}

// Program returns the program of an update from one batch (backend.Fn), for inputs float32 of some shapes.
func (t *Trainer) Program(o Options, in Shapes) (string, error) {
	fn, args, err := t.graph(variant{clips: o.Clip > 0}, 3, in)
	if err != nil {
		return "", err
	}
	return fn.Program(args...)
}
