package train

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// The encoding of what a training keeps on the host. Equal values have equal bytes in every
// process, because a state may be an artifact, which is named by its bytes. encoding/gob has
// no such promise: it writes maps in a random order, and numbers types in the order in which
// a process first meets them.
//
// A value is the description of its type, with the length before it, and its content:
// numbers in little-endian order, a pointer as one byte (0: nil), a slice or map as its
// length plus one (0: nil), a map in the order of its keys, a struct as its exported fields.

// encode appends the encoding of the value that x points to.
func encode(b []byte, x any) ([]byte, error) {
	v := reflect.ValueOf(x).Elem()
	text, err := describe(v.Type())
	if err != nil {
		return nil, err
	}
	b = binary.AppendUvarint(b, uint64(len(text)))
	return appendValue(append(b, text...), v), nil
}

// decode sets the value that x points to from the beginning of b, and returns the rest of b.
func decode(b []byte, x any) ([]byte, error) {
	v := reflect.ValueOf(x).Elem()
	text, err := describe(v.Type())
	if err != nil {
		return nil, err
	}
	d := decoder{b: b}
	if got := string(d.take(d.length(1))); d.err == nil && got != text {
		return nil, fmt.Errorf("it was saved by another version: it has %.80q where this version has %.80q", got, text)
	}
	d.value(v)
	return d.b, d.err
}

// describe returns a description of a type that names all its fields.
func describe(t reflect.Type) (string, error) {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Float32, reflect.Float64, reflect.String:
		return t.Kind().String(), nil
	case reflect.Pointer, reflect.Slice:
		of, err := describe(t.Elem())
		return map[reflect.Kind]string{reflect.Pointer: "*", reflect.Slice: "[]"}[t.Kind()] + of, err
	case reflect.Map:
		if k := t.Key().Kind(); k != reflect.Int && k != reflect.String {
			return "", fmt.Errorf("a state cannot have a map with keys of type %s", t.Key())
		}
		of, err := describe(t.Elem())
		return "map[" + t.Key().Kind().String() + "]" + of, err
	case reflect.Struct:
		var fields []string
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() {
				return "", fmt.Errorf("a state cannot have the unexported field %s of %s", f.Name, t)
			}
			of, err := describe(f.Type)
			if err != nil {
				return "", err
			}
			fields = append(fields, f.Name+" "+of)
		}
		return "{" + strings.Join(fields, "; ") + "}", nil
	}
	return "", fmt.Errorf("a state cannot have a value of type %s", t)
}

func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int:
		return binary.AppendVarint(b, v.Int())
	case reflect.Float32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v.Float())))
	case reflect.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case reflect.String:
		return append(binary.AppendUvarint(b, uint64(v.Len())), v.String()...)
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(v.Len())+1)
		if x, ok := v.Interface().([]float32); ok { // images and weights
			b = slices.Grow(b, 4*len(x))
			for _, f := range x {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
			}
			return b
		}
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
	case reflect.Map:
		if v.IsNil() {
			return append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(v.Len())+1)
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int {
			if x.CanInt() {
				return cmp.Compare(x.Int(), y.Int())
			}
			return cmp.Compare(x.String(), y.String())
		})
		for _, k := range keys {
			b = appendValue(appendValue(b, k), v.MapIndex(k))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
	}
	return b
}

// A decoder reads an encoding. After an error it returns zeros.
type decoder struct {
	b   []byte
	err error
}

var errShort = errors.New("it ends too early")

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err, d.b = err, nil
	}
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail(errShort)
		return make([]byte, min(n, 8))
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) uvarint() uint64 {
	x, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return x
}

// length returns a number of things that have at least size bytes each.
func (d *decoder) length(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

// elements returns the number of elements of a slice or map, and false if it is nil. An
// element of an empty struct, which has no bytes, does not occur.
func (d *decoder) elements() (int, bool) {
	n := d.uvarint()
	if n == 0 {
		return 0, false
	}
	if n-1 > uint64(len(d.b)) {
		d.fail(errShort)
		return 0, false
	}
	return int(n - 1), true
}

func (d *decoder) floats(x []float32) {
	if 4*len(x) > len(d.b) {
		d.fail(errShort)
		return
	}
	b := d.take(4 * len(x))
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

func (d *decoder) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(d.take(1)[0] != 0)
	case reflect.Int:
		x, n := binary.Varint(d.b)
		if n <= 0 {
			d.fail(errShort)
			return
		}
		d.b = d.b[n:]
		v.SetInt(x)
	case reflect.Float32:
		v.SetFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(d.take(4)))))
	case reflect.Float64:
		v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(d.take(8))))
	case reflect.String:
		v.SetString(string(d.take(d.length(1))))
	case reflect.Pointer:
		if d.take(1)[0] != 0 {
			v.Set(reflect.New(v.Type().Elem()))
			d.value(v.Elem())
		}
	case reflect.Slice:
		if n, ok := d.elements(); ok {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			if x, ok := v.Interface().([]float32); ok {
				d.floats(x)
				return
			}
			for i := 0; i < n && d.err == nil; i++ {
				d.value(v.Index(i))
			}
		}
	case reflect.Map:
		if n, ok := d.elements(); ok {
			v.Set(reflect.MakeMap(v.Type()))
			for i := 0; i < n && d.err == nil; i++ {
				k, x := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				d.value(k)
				d.value(x)
				v.SetMapIndex(k, x)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			d.value(v.Field(i))
		}
	}
}
