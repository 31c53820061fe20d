package backend

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/go-xla/pkg/stablehlo"
	xladtypes "github.com/gomlx/go-xla/pkg/types/dtypes"
	xlashapes "github.com/gomlx/go-xla/pkg/types/shapes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// This file emits operations that XLA has and gomlx v0.26.0 has no function for: go-xla prints any
// operation of StableHLO, and its statements can be changed. A marker with the right shapes is
// emitted through gomlx, and its statement is then rewritten. Two private
// fields are read, by value and function. Each operation has a test that sees its effect.

// value returns a node's value in the program, or nil on a backend other than XLA.
func value(n *graph.Node) *stablehlo.Value {
	ops := reflect.ValueOf(n).Elem().FieldByName("outputOps")
	if !ops.IsValid() || ops.Len() != 1 || ops.Index(0).Elem().Kind() != reflect.Pointer {
		return nil
	}
	v := ops.Index(0).Elem().Elem().FieldByName("value")
	if !v.IsValid() || v.Type() != reflect.TypeFor[*stablehlo.Value]() {
		return nil
	}
	return (*stablehlo.Value)(v.UnsafePointer())
}

// function returns the function to which a node belongs, or nil on a backend other than XLA.
func function(n *graph.Node) *stablehlo.Function {
	v := value(n)
	if v == nil {
		return nil
	}
	f := reflect.ValueOf(v).Elem().FieldByName("fn")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*stablehlo.Function]() {
		return nil
	}
	return (*stablehlo.Function)(f.UnsafePointer())
}

// setOp changes the operation of a statement. The type of operations is internal to go-xla, so
// it is found by its name.
func setOp(s *stablehlo.Statement, name string) {
	f := reflect.ValueOf(s).Elem().FieldByName("OpType")
	for i := range int64(256) {
		if f.SetInt(i); fmt.Sprint(f.Interface()) == name {
			return
		}
	}
	panic(fmt.Errorf("go-xla has no operation %s", name))
}

// Barrier returns its arguments, floating-point or signed, after all of them are computed: XLA
// moves no computation over it and merges none of both sides. On another backend it does nothing.
func Barrier(in ...*graph.Node) []*graph.Node {
	fn := function(in[0])
	if fn == nil {
		return in
	}
	out := make([]*graph.Node, len(in))
	at := len(fn.Statements)
	for i, n := range in {
		out[i] = graph.Neg(n) // the marker: one statement for each argument
	}
	if len(fn.Statements) != at+len(in) {
		panic(fmt.Errorf("a barrier of %d values became %d statements", len(in), len(fn.Statements)-at))
	}
	s := fn.Statements[at]
	for _, o := range fn.Statements[at+1:] {
		s.Inputs, s.Outputs = append(s.Inputs, o.Inputs...), append(s.Outputs, o.Outputs...)
	}
	fn.Statements = fn.Statements[:at+1]
	setOp(s, "OptimizationBarrier")
	return out
}

// A Result is an output of a custom call. Layout are its axes, the one whose values lie next to each other
// first; nil means the last axis first.
type Result struct {
	Shape  shapes.Shape
	Layout []int
}

// The functions of cuDNN for q, k and v [B, T, H, K]: a self-attention, which is two matrix products, and its
// gradient, which is four and computes the scores again.
const (
	FlashAttention = "__cudnn$fmhaSoftmax"
	FlashGradient  = "__cudnn$fmhaSoftmaxBackward"
)

// CustomCall calls a function of XLA's library by its name, with a configuration in JSON, and returns the
// results and no gradient. As a last result, which is not returned, the function has a workspace of
// which XLA decides the size: cuDNN's functions are called so. Only XLA has such functions.
func CustomCall(target, config string, results []Result, in ...*graph.Node) []*graph.Node {
	fn := function(in[0])
	if fn == nil {
		panic(fmt.Errorf("%s needs XLA", target))
	}
	out, at := make([]*graph.Node, len(results)), len(fn.Statements)
	for i, r := range results {
		out[i] = graph.Iota(in[0].Graph(), r.Shape, 0) // the marker
	}
	workspace, err := fn.Iota(xlashapes.Make(xladtypes.Uint8, 0), 0)
	if err != nil {
		panic(err)
	}
	if len(fn.Statements) != at+len(results)+1 {
		panic(fmt.Errorf("a call with %d results became %d statements", len(results), len(fn.Statements)-at))
	}
	s := fn.Statements[at]
	for _, o := range fn.Statements[at+1:] {
		s.Outputs = append(s.Outputs, o.Outputs...)
	}
	fn.Statements = fn.Statements[:at+1]
	setOp(s, "CustomCall")
	var operands, layouts []string
	for _, n := range in {
		s.Inputs = append(s.Inputs, value(n))
		operands = append(operands, layout(n.Rank(), nil))
	}
	for _, r := range results {
		layouts = append(layouts, layout(r.Shape.Rank(), r.Layout))
	}
	layouts = append(layouts, layout(workspace.Shape().Rank(), nil))
	s.Attributes = map[string]any{"call_target_name": target, "backend_config": config, "api_version": int32(2),
		"operand_layouts": literal("[" + strings.Join(operands, ", ") + "]"), "result_layouts": literal("[" + strings.Join(layouts, ", ") + "]")}
	return out
}

// A literal is the value of an attribute, as the program has it.
type literal string

func (l literal) ToStableHLO() string { return string(l) }

// layout is the literal of a layout; nil means the last axis first.
func layout(rank int, axes []int) string {
	if axes == nil {
		axes = make([]int, rank)
		for i := range axes {
			axes[i] = rank - 1 - i
		}
	}
	list := strings.ReplaceAll(fmt.Sprint(axes), " ", ", ")
	return fmt.Sprintf("dense<%s> : tensor<%dxindex>", list, rank)
}

// CustomGradient gives y its own gradient by several inputs: vjp returns, for the gradient of the
// loss by y, that by each of in. gomlx has this for one input.
func CustomGradient(y *graph.Node, vjp func(v *graph.Node) []*graph.Node, in ...*graph.Node) *graph.Node {
	var v, sum *graph.Node
	var gradients []*graph.Node
	for i, x := range in {
		tap := graph.IdentityWithCustomGradient(x, func(_, _ *graph.Node) *graph.Node {
			if gradients == nil {
				gradients = vjp(graph.StopGradient(v))
			}
			return gradients[i]
		})
		for tap.Rank() > 0 { // a scalar that depends on x, which XLA removes
			tap = graph.Reshape(graph.Slice(tap, graph.AxisElem(0)), tap.Shape().Dimensions[1:]...)
		}
		if tap = graph.ConvertDType(tap, y.DType()); sum != nil {
			tap = graph.Add(sum, tap)
		}
		sum = tap
	}
	z := graph.Where(graph.Const(y.Graph(), false), graph.BroadcastToShape(sum, y.Shape()), graph.StopGradient(y))
	return graph.IdentityWithCustomGradient(z, func(_, w *graph.Node) *graph.Node { v = w; return w })
}

// A Chain computes parts of a graph again for their gradient, one after the other, so that the
// values inside only one of them are in memory at a time. The zero Chain is ready.
type Chain struct{ forward, backward *graph.Node }

// Checkpoint returns f(in and then fixed), which is computed again for the gradient. All that f
// reads and that has a gradient, its weights too, must be among in. fixed has no gradient. Weights
// belong there rather than outside: what XLA computes of them alone, such as transposed kernels, it
// otherwise computes for all parts at once.
func (c *Chain) Checkpoint(f func(in []*graph.Node) *graph.Node, in, fixed []*graph.Node) *graph.Node {
	return c.CheckpointRows(0, nil, f, in, fixed)
}

// CheckpointRows is Checkpoint of f(batch, then in, then fixed), of which only the first n rows have a
// gradient, where n is not 0. It is computed from these rows of the arrays of batch.
func (c *Chain) CheckpointRows(n int, batch []*graph.Node, f func(in []*graph.Node) *graph.Node, in, fixed []*graph.Node) *graph.Node {
	in = slices.Concat(batch, in)
	all := slices.Concat(in, fixed)
	a := all
	if c.forward != nil {
		a = Barrier(append(slices.Clone(all), c.forward)...)[:len(all)] // after the part before it
	}
	y := f(slices.Clip(a))
	c.forward = graph.StopGradient(y)
	return CustomGradient(y, func(v *graph.Node) []*graph.Node {
		b := append(slices.Clone(all), v)
		if n > 0 {
			for i := range batch {
				b[i] = Head(b[i], n)
			}
			b[len(all)] = Head(v, n)
		}
		if c.backward != nil {
			b = append(b, c.backward)
		}
		b = Barrier(b...)
		g := Barrier(graph.Gradient(graph.ReduceAllSum(graph.Mul(f(slices.Clip(b[:len(all)])), b[len(all)])), b[:len(in)]...)...)
		c.backward = g[0]
		if n > 0 {
			for i, x := range batch {
				g[i] = Pad(g[i], x.Shape().Dimensions[0])
			}
		}
		return g
	}, in...)
}

// Head returns the first n rows of x.
func Head(x *graph.Node, n int) *graph.Node { return graph.Slice(x, graph.AxisRange(0, n)) }

// Pad returns x with rows of zeros at its end, n in all.
func Pad(x *graph.Node, n int) *graph.Node {
	dims := append([]int{n - x.Shape().Dimensions[0]}, x.Shape().Dimensions[1:]...)
	return graph.Concatenate([]*graph.Node{x, graph.Zeros(x.Graph(), shapes.Make(x.DType(), dims...))}, 0)
}
