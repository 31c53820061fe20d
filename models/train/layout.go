package train

import (
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/nn"
)

// A layout is how a step passes parameters: those of two or more axes as separate arrays, and
// all smaller ones, mostly biases, as one vector. Half of a network's parameters are biases,
// and each array costs a step about 5 µs on the host, up to four times for a parameter
// (weights, two moments, average). All parameters of a network have one type of numbers.
type layout struct {
	params []nn.Param
	arrays []nn.Param // large parameters in their order, then the vector
	start  []int      // of each small parameter in the vector; -1 for a large one
}

const vectorName = "(small parameters)"

func newLayout(params []nn.Param) layout {
	l := layout{params: params, start: make([]int, len(params))}
	at := 0
	for i, p := range params {
		if len(p.Shape) > 1 {
			l.start[i] = -1
			l.arrays = append(l.arrays, p)
			continue
		}
		l.start[i] = at
		at += p.Size()
	}
	if at > 0 {
		l.arrays = append(l.arrays, nn.Param{Name: vectorName, Shape: []int{at}, Type: params[0].Type})
	}
	return l
}

// pack returns the arrays of a network's values.
func (l layout) pack(v nn.Values) (nn.Values, error) {
	out := nn.Values{}
	var vector []float32
	for i, p := range l.params {
		x, ok := v[p.Name]
		if !ok || len(x) != p.Size() {
			return nil, fmt.Errorf("parameter %s has %d values, its shape %v needs %d", p.Name, len(x), p.Shape, p.Size())
		}
		if l.start[i] < 0 {
			out[p.Name] = x
		} else {
			vector = append(vector, x...)
		}
	}
	if vector != nil {
		out[vectorName] = vector
	}
	return out, nil
}

// unpack copies arrays to the host, by the names of the parameters.
func (l layout) unpack(arrays []*tensors.Tensor) nn.Values {
	packed := nn.ValuesOf(l.arrays, arrays)
	out := nn.Values{}
	for i, p := range l.params {
		if at := l.start[i]; at >= 0 {
			out[p.Name] = packed[vectorName][at : at+p.Size() : at+p.Size()]
		} else {
			out[p.Name] = packed[p.Name]
		}
	}
	return out
}

// small returns the parameters that are in the vector.
func (l layout) small() []nn.Param {
	var small []nn.Param
	for i, p := range l.params {
		if l.start[i] >= 0 {
			small = append(small, p)
		}
	}
	return small
}

// gather returns the arrays of parameters inside a graph: bind's inverse.
func (l layout) gather(params []*graph.Node) []*graph.Node {
	var arrays, small []*graph.Node
	for i, x := range params {
		if l.start[i] < 0 {
			arrays = append(arrays, x)
		} else {
			small = append(small, graph.Reshape(x, x.Shape().Size()))
		}
	}
	if small == nil {
		return arrays
	}
	return append(arrays, graph.Concatenate(small, 0))
}

// fits returns an error if arrays on the device are not those of the parameters, in their order.
func (l layout) fits(arrays []*tensors.Tensor) error {
	if len(arrays) != len(l.params) {
		return fmt.Errorf("%d arrays are given for %d parameters", len(arrays), len(l.params))
	}
	for i, p := range l.params {
		if want := p.Array(); !arrays[i].Shape().Equal(want) {
			return fmt.Errorf("parameter %s is %s and is given an array %s", p.Name, want, arrays[i].Shape())
		}
	}
	return nil
}

// bind names the parameters inside a graph.
func (l layout) bind(arrays []*graph.Node) nn.Weights {
	w := nn.Bind(l.arrays, arrays)
	small := l.small()
	if small == nil {
		return w
	}
	sizes := make([]int, len(small))
	for i, p := range small {
		sizes[i] = p.Size()
	}
	for i, x := range nn.Split(w[vectorName], 0, sizes...) {
		w[small[i].Name] = graph.Reshape(x, small[i].Shape...)
	}
	return w
}
