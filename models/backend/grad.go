package backend

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/pkg/core/graph"
)

// mendGradients replaces gomlx's vector-Jacobian products of Dot and
// DotGeneral. Those of v0.26.0 are a broadcast multiplication and a sum, which
// needs more memory and an order of magnitude more time than the dot product that
// computes the same gradient. It runs once, before the first graph is built;
// TestGradientStillNeedsMending fails when it is no longer needed.
var mendGradients = sync.OnceFunc(func() {
	graph.VJPRegistration[graph.NodeTypeDot] = dotVJP
	graph.VJPRegistration[graph.NodeTypeDotGeneral] = dotGeneralVJP
})

// dotVJP is the gradient of graph.Dot: for matrices dL = v·rᵀ, dR = lᵀ·v.
func dotVJP(node *graph.Node, vs []*graph.Node, _ graphShape) []*graph.Node {
	v, in := vs[0], node.Inputs()
	l, r := in[0], in[1]
	switch {
	case l.Rank() == 1 && r.Rank() == 1:
		return []*graph.Node{graph.Mul(v, r), graph.Mul(v, l)}
	case l.Rank() == 2 && r.Rank() == 1:
		return []*graph.Node{
			graph.Mul(graph.InsertAxes(v, -1), graph.InsertAxes(r, 0)),
			graph.DotGeneral(l, []int{0}, nil, v, []int{0}, nil),
		}
	case l.Rank() == 2 && r.Rank() == 2:
		return []*graph.Node{
			graph.DotGeneral(v, []int{1}, nil, r, []int{1}, nil),
			graph.DotGeneral(l, []int{0}, nil, v, []int{0}, nil),
		}
	}
	panic(fmt.Errorf("dot gradient: ranks %d and %d are not supported", l.Rank(), r.Rank()))
}

// dotGeneralVJP is the gradient of graph.DotGeneral, whose output v has the
// axes [batch, lhs cross, rhs cross]: v is contracted with the other operand
// over the other's cross axes and the result is transposed back.
func dotGeneralVJP(node *graph.Node, vs []*graph.Node, _ graphShape) []*graph.Node {
	v, in := vs[0], node.Inputs()
	l := operand{in[0], axes(node, "lhsContractingAxes"), axes(node, "lhsBatchAxes")}
	r := operand{in[1], axes(node, "rhsContractingAxes"), axes(node, "rhsBatchAxes")}
	b, nl, nr := len(l.batch), len(l.cross()), len(r.cross())
	return []*graph.Node{
		l.gradient(v, b+nl, nr, r),
		r.gradient(v, b, nl, l),
	}
}

// An operand is one side of a DotGeneral with the axes it contracts and those
// it shares with the other side.
type operand struct {
	x                  *graph.Node
	contracting, batch []int
}

// cross lists the axes that are neither contracted nor batch, in order.
func (o operand) cross() []int {
	used := make([]bool, o.x.Rank())
	for _, a := range append(append([]int{}, o.contracting...), o.batch...) {
		used[a] = true
	}
	var free []int
	for a, u := range used {
		if !u {
			free = append(free, a)
		}
	}
	return free
}

// gradient contracts v's axes [first, first+n), which are the other operand's
// cross axes, with the other operand. The product has the axes
// [batch, o.cross, other.contracting]; position i of other.contracting is
// position i of o.contracting, so a transposition gives o's own order.
func (o operand) gradient(v *graph.Node, first, n int, other operand) *graph.Node {
	if g := o.weightGradient(v, first, n, other); g != nil {
		return g
	}
	g := graph.DotGeneral(v, span(first, n), span(0, len(o.batch)), other.x, other.cross(), other.batch)
	// DotGeneral lists other's remaining axes in other's own order.
	rest := append([]int{}, other.contracting...)
	rank := make(map[int]int, len(rest))
	for _, a := range rest {
		for _, b := range rest {
			if b < a {
				rank[a]++
			}
		}
	}
	perm := make([]int, o.x.Rank())
	for i, a := range o.batch {
		perm[a] = i
	}
	for i, a := range o.cross() {
		perm[a] = len(o.batch) + i
	}
	for i, a := range o.contracting {
		perm[a] = len(o.batch) + len(o.cross()) + rank[other.contracting[i]]
	}
	for i, p := range perm {
		if i != p {
			return graph.TransposeAllAxes(g, perm...)
		}
	}
	return g
}

// weightGradient is the gradient of a weight matrix x [out, in] with no more rows than
// columns, in a product with the last axis of other that has two or more leading axes; nil in
// other cases. It flattens the leading axes, because XLA on the CPU then reads v and other
// as they are in memory. For a product over several axes XLA first makes a transposed copy of
// v, and for that copy it computes v again, which with residual connections is the sum of the
// gradients of all later layers. For matrices with more rows than columns XLA's product over
// several axes is the faster one.
func (o operand) weightGradient(v *graph.Node, first, n int, other operand) *graph.Node {
	contracts := func(o operand, axis int) bool { return len(o.batch) == 0 && slices.Equal(o.contracting, []int{axis}) }
	if n < 2 || first != 0 || o.x.Rank() != 2 || !contracts(o, 1) || other.x.Rank() != n+1 || !contracts(other, n) {
		return nil
	}
	if d := o.x.Shape().Dimensions; d[0] > d[1] {
		return nil
	}
	flat := func(x *graph.Node) *graph.Node { return graph.Reshape(x, -1, x.Shape().Dimensions[n]) }
	return graph.DotGeneral(flat(v), []int{0}, nil, flat(other.x), []int{0}, nil)
}

// axes reads a private field of a node's inputs, because the exported API does not have
// the axes of a DotGeneral.
func axes(node *graph.Node, field string) []int {
	f := reflect.ValueOf(node).Elem().FieldByName("inputs").Elem().Elem().FieldByName(field)
	if !f.IsValid() {
		panic(fmt.Errorf("dot gradient: this version of gomlx has no field %s", field))
	}
	list := make([]int, f.Len())
	for i := range list {
		list[i] = int(f.Index(i).Int())
	}
	return list
}

func span(first, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = first + i
	}
	return s
}
