package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// A Tensor is one array of a safetensors file, its values little-endian.
type Tensor struct {
	DType string // F32, F16, BF16, F64, I64, I32, I16, I8, U8 or BOOL
	Shape []int
	Data  []byte
}

// A Source is a tensor whose bytes are asked for when they are written, so that large ones need
// not be copied.
type Source struct {
	DType string
	Shape []int
	Write func(w io.Writer) error // all bytes, the values little-endian
}

// sources returns tensors as sources.
func sources(tensors map[string]Tensor) map[string]Source {
	out := make(map[string]Source, len(tensors))
	for name, t := range tensors {
		out[name] = Source{t.DType, t.Shape, func(w io.Writer) error {
			_, err := w.Write(t.Data)
			return err
		}}
	}
	return out
}

// width is the number of bytes of a value, by type.
var width = map[string]int{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}

// Floats makes a float32 tensor.
func Floats(x []float32, shape ...int) Tensor {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return Tensor{DType: "F32", Shape: shape, Data: b}
}

// Bytes makes a tensor of bytes.
func Bytes(x []byte, shape ...int) Tensor { return Tensor{DType: "U8", Shape: shape, Data: x} }

// Float32 returns the values of a tensor of floating-point numbers.
func (t Tensor) Float32() ([]float32, error) {
	w := width[t.DType]
	if w == 0 || len(t.Data)%w != 0 {
		return nil, fmt.Errorf("%d bytes are not a whole number of %s values", len(t.Data), t.DType)
	}
	x := make([]float32, len(t.Data)/w)
	for i := range x {
		switch b := t.Data[i*w:]; t.DType {
		case "F32":
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b))
		case "F64":
			x[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		case "BF16":
			x[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
		case "F16":
			x[i] = half(binary.LittleEndian.Uint16(b))
		default:
			return nil, fmt.Errorf("a tensor of type %s does not have floating-point numbers", t.DType)
		}
	}
	return x, nil
}

// exponents are the bits of a value's exponent, by type. They are all 1 where it is NaN or infinite.
var exponents = map[string]uint64{"F64": 0x7ff << 52, "F32": 0xff << 23, "BF16": 0xff << 7, "F16": 0x1f << 10}

// Finite returns an error that names the first value that is NaN or infinite. Tensors of whole
// numbers have none. It reads 8 bytes at a time.
func (t Tensor) Finite() error {
	one, w := exponents[t.DType], width[t.DType]
	if one == 0 {
		return nil
	}
	var mask, top uint64 // of all values in 8 bytes
	for at := 0; at < 64; at += 8 * w {
		mask |= one << at
		top |= 1 << (at + 8*w - 1)
	}
	for at := 0; at < len(t.Data); at += 8 {
		var x uint64
		if b := t.Data[at:]; len(b) >= 8 {
			x = binary.LittleEndian.Uint64(b)
		} else {
			var rest [8]byte
			copy(rest[:], b)
			x = binary.LittleEndian.Uint64(rest[:])
		}
		// The sum has a value's top bit where its exponent has a bit that is 0.
		if ((^x&mask)+^top)&top == top {
			continue
		}
		for i := at / w; ; i++ {
			v := Tensor{DType: t.DType, Data: t.Data[i*w : (i+1)*w]}
			if x, err := v.Float32(); err != nil || x[0]-x[0] != 0 {
				return fmt.Errorf("its value at %v is %v: weights must be finite numbers", place(i, t.Shape), x[0])
			}
		}
	}
	return nil
}

// place returns the index of the value at a position of the data.
func place(i int, shape []int) []int {
	index := make([]int, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		index[k], i = i%shape[k], i/shape[k]
	}
	return index
}

// half converts an IEEE 754 binary16 number.
func half(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0:
		f := float32(frac) / (1 << 24)
		if sign != 0 {
			return -f
		}
		return f
	case 31:
		return math.Float32frombits(sign | 255<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// size returns the number of values of a shape. A shape whose size in bytes could overflow is
// an error.
func size(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt/8/d {
			return 0, fmt.Errorf("shape %v is not valid: dimensions must be at least 0, and their product must fit into memory", shape)
		}
		n *= d
	}
	return n, nil
}
