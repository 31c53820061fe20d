// Package nn has the building blocks of all networks: named parameters with their initial
// values, and layers that gomlx lacks or implements differently (the epsilon of its
// LayerNorm, its attention). A layer computes in the type of numbers of its input, to which its
// weights are converted; norms and softmax compute in float32 and return the type of their input.
//
// Axis letters: B batch, T tokens, D width, H heads, K head width, C channels.
// Weights of linear layers are float32[out, in] and convolution kernels
// float32[height, width, in, out]. PyTorch, and files in its order, have [out, in, height, width].
package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ablate/models/backend"
	"ablate/models/random"
)

// A Param is one parameter array of a network.
type Param struct {
	Name  string
	Shape []int
	Std   float64 // standard deviation of the initial values, which are normal
	Fill  float64 // initial value where Std is 0
	// Type is of the numbers on the device; 0 is float32.
	Type dtypes.DType
	// OHWI says that the array on the device, of a kernel, is [out, height, width, in].
	OHWI bool
}

// DType is the type of the numbers on the device.
func (p Param) DType() dtypes.DType {
	if p.Type == 0 {
		return dtypes.Float32
	}
	return p.Type
}

// Array is the parameter's array on the device.
func (p Param) Array() shapes.Shape {
	dims := p.Shape
	if p.OHWI {
		dims = []int{dims[3], dims[0], dims[1], dims[2]}
	}
	return shapes.Make(p.DType(), dims...)
}

// Arrays are those of parameters, with their size together in bytes.
func Arrays(params []Param) (arrays []shapes.Shape, bytes int64) {
	for _, p := range params {
		arrays, bytes = append(arrays, p.Array()), bytes+int64(p.Array().Memory())
	}
	return arrays, bytes
}

// As returns parameters with a type of numbers.
func As(params []Param, t dtypes.DType) []Param {
	params = slices.Clone(params)
	for i := range params {
		params[i].Type = t
	}
	return params
}

// Ordered returns parameters with kernels that are OHWI on the device, or are not. XLA on the CPU reads
// kernels as [height, width, in, out] and cuDNN as [out, height, width, in]: each copies the
// kernels of the other order in every step.
func Ordered(params []Param, ohwi bool) []Param {
	params = slices.Clone(params)
	for i, p := range params {
		params[i].OHWI = ohwi && len(p.Shape) == 4
	}
	return params
}

// Size is the number of values in p.
func (p Param) Size() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// LinearParams are the parameters NAME.weight float32[out, in] and NAME.bias float32[out].
// gain scales the fan-in initialization of the weight, which starts at 0 where gain is 0.
func LinearParams(name string, in, out int, gain float64) []Param {
	return []Param{
		{Name: name + ".weight", Shape: []int{out, in}, Std: gain / math.Sqrt(float64(in))},
		{Name: name + ".bias", Shape: []int{out}},
	}
}

// ConvParams are the parameters of a size×size convolution.
func ConvParams(name string, size, in, out int) []Param {
	return []Param{
		{Name: name + ".weight", Shape: []int{size, size, in, out}, Std: math.Sqrt(2 / float64(size*size*in))},
		{Name: name + ".bias", Shape: []int{out}},
	}
}

// Values are the arrays of a network on the host, by parameter name, in the order that they have on the
// device.
type Values map[string][]float32

// Init draws the initial values of params from r, in their order.
func Init(params []Param, r *rand.Rand) Values {
	v := make(Values, len(params))
	for _, p := range params {
		x := make([]float32, p.Size())
		if p.Std > 0 {
			random.Normal(r, x)
			for i := range x {
				x[i] *= float32(p.Std)
			}
		} else if p.Fill != 0 {
			for i := range x {
				x[i] = float32(p.Fill)
			}
		}
		v[p.Name] = x
	}
	return v
}

// Tensors copies values to the device in the order of params; a missing array or one of
// another size is an error.
func (v Values) Tensors(b backend.Backend, params []Param) ([]*tensors.Tensor, error) {
	ts := make([]*tensors.Tensor, len(params))
	for i, p := range params {
		x, ok := v[p.Name]
		if !ok {
			return nil, fmt.Errorf("parameter %s is missing", p.Name)
		}
		if len(x) != p.Size() {
			return nil, fmt.Errorf("parameter %s has %d values, its shape %v needs %d", p.Name, len(x), p.Shape, p.Size())
		}
		var err error
		if ts[i], err = backend.Put(b, x, p.Array().Dimensions...); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
	}
	return ts, nil
}

// ValuesOf copies arrays in the order of params back to the host.
func ValuesOf(params []Param, ts []*tensors.Tensor) Values {
	v := make(Values, len(params))
	for i, p := range params {
		v[p.Name] = tensors.MustCopyFlatData[float32](ts[i])
	}
	return v
}

// Zeros are arrays of zeros on the device, shaped as params: an optimizer's first moments.
func Zeros(b backend.Backend, params []Param) ([]*tensors.Tensor, error) {
	ts := make([]*tensors.Tensor, len(params))
	for i, p := range params {
		var err error
		if ts[i], err = backend.Put(b, make([]float32, p.Size()), p.Array().Dimensions...); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
	}
	return ts, nil
}

// Weights are the parameters of a network inside a graph, by name.
type Weights map[string]*graph.Node

// Bind names nodes, the arrays of params. In a graph all kernels are [height, width, in, out]: XLA makes
// the transposition of those that are OHWI a part of the convolution.
func Bind(params []Param, nodes []*graph.Node) Weights {
	w := make(Weights, len(params))
	for i, p := range params {
		w[p.Name] = nodes[i]
		if p.OHWI {
			w[p.Name] = graph.TransposeAllAxes(nodes[i], 1, 2, 3, 0)
		}
	}
	return w
}

// as returns a parameter as numbers of x's type.
func (w Weights) as(name string, x *graph.Node) *graph.Node {
	return graph.ConvertDType(w.At(name), x.DType())
}

// At returns a parameter. It panics if the network has none of that name.
func (w Weights) At(name string) *graph.Node {
	n, ok := w[name]
	if !ok {
		panic(fmt.Errorf("network has no parameter %s", name))
	}
	return n
}
