// Package checkpoint reads and writes weights: safetensors files and folders
// in the layout of Hugging Face diffusers, a config.json and a safetensors
// file for each component. What it writes is the same bytes for the same
// values, and is complete or absent.
package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// A Tensor is one array of a safetensors file, its values little-endian.
type Tensor struct {
	DType string // F32, F16, BF16, F64, I64, I32, I16, I8, U8 or BOOL
	Shape []int
	Data  []byte
}

// width is the number of bytes of a value.
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
		return nil, fmt.Errorf("%d bytes are no %s values", len(t.Data), t.DType)
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
			return nil, fmt.Errorf("a tensor of type %s holds no floating-point numbers", t.DType)
		}
	}
	return x, nil
}

// half is an IEEE 754 binary16 number.
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

// size is the number of values of a shape; it refuses what overflows.
func size(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt/8/d {
			return 0, fmt.Errorf("shape %v is not possible", shape)
		}
		n *= d
	}
	return n, nil
}

// maxHeader bounds the header, as the reference implementation does.
const maxHeader = 100_000_000

// Decode reads a safetensors file. An error names the tensor it is about.
func Decode(b []byte) (map[string]Tensor, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%d bytes are no safetensors file: its first 8 give the header's length", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader || n > uint64(len(b)-8) {
		return nil, fmt.Errorf("the header says it has %d bytes, the file has %d: it is cut short or no safetensors file", n, len(b))
	}
	header, data := b[8:8+n], b[8+n:]
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets []int  `json:"data_offsets"`
	}
	entries, err := object[json.RawMessage](header)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	out := make(map[string]Tensor, len(entries))
	type span struct {
		from, to int
		name     string
	}
	var spans []span
	for name, raw := range entries {
		if name == "__metadata__" {
			continue
		}
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		w, ok := width[e.DType]
		if !ok {
			return nil, fmt.Errorf("tensor %q: type %q is not supported", name, e.DType)
		}
		count, err := size(e.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1] > len(data) {
			return nil, fmt.Errorf("tensor %q: its place %v is not within the %d bytes of data", name, e.Offsets, len(data))
		}
		if e.Offsets[1]-e.Offsets[0] != count*w {
			return nil, fmt.Errorf("tensor %q: shape %v of %s needs %d bytes, its place has %d", name, e.Shape, e.DType, count*w, e.Offsets[1]-e.Offsets[0])
		}
		out[name] = Tensor{DType: e.DType, Shape: e.Shape, Data: data[e.Offsets[0]:e.Offsets[1]]}
		spans = append(spans, span{e.Offsets[0], e.Offsets[1], name})
	}
	slices.SortFunc(spans, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return a.to - b.to
	})
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return nil, fmt.Errorf("tensors %q and %q overlap", spans[i-1].name, spans[i].name)
		}
	}
	return out, nil
}

// object decodes a JSON object and refuses a name that stands twice.
func object[V any](b []byte) (map[string]V, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	out := map[string]V{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%q stands twice", name)
		}
		var v V
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		out[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	return out, nil
}

// Encode writes tensors sorted by name, the header padded to 8 bytes.
func Encode(w io.Writer, tensors map[string]Tensor) error {
	names := make([]string, 0, len(tensors))
	for name := range tensors {
		names = append(names, name)
	}
	slices.Sort(names)
	header := []byte(`{"__metadata__":{"format":"pt"}`)
	at := 0
	for _, name := range names {
		t := tensors[name]
		n, err := size(t.Shape)
		if err != nil || n*width[t.DType] != len(t.Data) || width[t.DType] == 0 {
			return fmt.Errorf("tensor %q: %d bytes do not fit shape %v of %s", name, len(t.Data), t.Shape, t.DType)
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		e, err := json.Marshal(struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{t.DType, shape, [2]int{at, at + len(t.Data)}})
		if err != nil {
			return err
		}
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		header = append(append(append(append(header, ','), key...), ':'), e...)
		at += len(t.Data)
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := w.Write(tensors[name].Data); err != nil {
			return err
		}
	}
	return nil
}

// ReadFile reads a safetensors file.
func ReadFile(path string) (map[string]Tensor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// WriteFile writes a safetensors file, whole or not at all.
func WriteFile(path string, tensors map[string]Tensor) error {
	var b bytes.Buffer
	if err := Encode(&b, tensors); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replace(path, b.Bytes())
}

// replace puts b in the place of path's content at once.
func replace(path string, b []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	if _, err = f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Chmod(0o666); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
