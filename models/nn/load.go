package nn

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/dtypes/bfloat16"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/x448/float16"

	"ablate/models/backend"
	"ablate/models/checkpoint"
)

// Load sends the parameters of a network from a component's files to the device, as numbers of
// their types, in the order of params. names returns the names that files have for a parameter; nil if it is the
// parameter's. Kernels are transposed from PyTorch's order to the device's. The host keeps no copy. An error names
// the file, the tensor, and both shapes. A value that is NaN or infinite is an error, too.
func Load(b backend.Backend, w *checkpoint.Weights, params []Param, names func(parameter string) []string) (arrays []*tensors.Tensor, err error) {
	defer func() {
		if err != nil {
			backend.Free(arrays...)
			arrays = nil
		}
	}()
	// One graph for all parameters of a shape and type.
	placed := map[string]*backend.Fn{}
	for _, p := range params {
		list := []string{p.Name}
		if names != nil {
			list = names(p.Name)
		}
		name, t, err := w.Find(list...)
		if err != nil {
			return arrays, err
		}
		want := filed(p.Shape)
		if !slices.Equal(squeezed(t.Shape), squeezed(want)) {
			return arrays, fmt.Errorf("%s: tensor %s has the shape %v, and config.json wants %v", w.File(name), name, t.Shape, want)
		}
		err = t.Finite()
		var raw *tensors.Tensor
		if err == nil {
			raw, err = put(b, t, want)
		}
		if err != nil {
			return arrays, fmt.Errorf("%s: tensor %s: %w", w.File(name), name, err)
		}
		if len(p.Shape) != 4 && raw.DType() == p.DType() {
			arrays = append(arrays, raw)
			continue
		}
		key := fmt.Sprint(raw.Shape(), p.Array())
		if placed[key] == nil {
			if placed[key], err = backend.NewFn(b, "weights "+key, 0, func(in []*graph.Node) []*graph.Node {
				x := graph.ConvertDType(in[0], p.DType())
				switch {
				case p.OHWI:
					x = graph.TransposeAllAxes(x, 0, 2, 3, 1)
				case x.Rank() == 4:
					x = graph.TransposeAllAxes(x, 2, 3, 1, 0)
				}
				return []*graph.Node{x}
			}); err != nil {
				return arrays, err
			}
		}
		out, err := placed[key].Call(raw)
		backend.Free(raw)
		if err != nil {
			return arrays, fmt.Errorf("%s: tensor %s: %w", w.File(name), name, err)
		}
		arrays = append(arrays, out...)
	}
	return arrays, nil
}

// Round converts arrays on the device to another type, one at a time, and frees them.
func Round(b backend.Backend, arrays []*tensors.Tensor, to dtypes.DType) (out []*tensors.Tensor, err error) {
	// One graph for all arrays of a shape.
	fn, err := backend.NewFn(b, "round weights", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.ConvertDType(in[0], to)}
	})
	for i, x := range arrays {
		if err != nil {
			break
		}
		var y []*tensors.Tensor
		if y, err = fn.Call(x); err == nil {
			backend.Free(x)
			out = append(out, y...)
			arrays[i] = nil
		}
	}
	if err != nil {
		backend.Free(append(out, arrays...)...)
		return nil, err
	}
	return out, nil
}

// filed is the shape of a parameter in files: that of a kernel begins with its outputs and inputs.
func filed(shape []int) []int {
	if len(shape) != 4 {
		return shape
	}
	return []int{shape[3], shape[2], shape[0], shape[1]}
}

// squeezed is a shape without dimensions of 1 at its end, which a kernel of size 1 has and the
// linear layer that it equals does not.
func squeezed(shape []int) []int {
	for len(shape) > 1 && shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	return shape
}

// put copies a tensor's bytes to the device, in the type of the file.
func put(b backend.Backend, t checkpoint.Tensor, dims []int) (*tensors.Tensor, error) {
	n := 1
	for _, d := range dims {
		n *= d
	}
	var flat any
	var dtype dtypes.DType
	switch t.DType {
	case "F32":
		flat, dtype = viewed[float32](t.Data, n), dtypes.Float32
	case "F16":
		flat, dtype = viewed[float16.Float16](t.Data, n), dtypes.Float16
	case "BF16":
		flat, dtype = viewed[bfloat16.BFloat16](t.Data, n), dtypes.BFloat16
	default:
		return nil, fmt.Errorf("it has numbers of type %s; weights must be F32, F16 or BF16", t.DType)
	}
	buffer, err := b.BufferFromFlatData(0, flat, shapes.Make(dtype, dims...))
	if err != nil {
		return nil, err
	}
	return tensors.FromBuffer(b, buffer)
}

// viewed returns bytes as numbers, without a copy where they are aligned.
func viewed[T any](data []byte, n int) []T {
	var zero T
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%unsafe.Alignof(zero) == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
	}
	x := make([]T, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(data)), data)
	return x
}

// Filed returns values as files have them: by the names of the parameters, kernels in PyTorch's
// order.
func Filed(params []Param, v Values) map[string]checkpoint.Tensor {
	out := make(map[string]checkpoint.Tensor, len(params))
	for _, p := range params {
		x := v[p.Name]
		if len(p.Shape) == 4 {
			px, in, n := p.Shape[0]*p.Shape[1], p.Shape[2], p.Shape[3]
			y := make([]float32, len(x))
			for k := range px {
				for i := range in {
					for o := range n {
						at := (k*in+i)*n + o
						if p.OHWI {
							at = (o*px+k)*in + i
						}
						y[(o*in+i)*px+k] = x[at]
					}
				}
			}
			x = y
		}
		out[p.Name] = checkpoint.Floats(x, filed(p.Shape)...)
	}
	return out
}
