// Package checkpoint reads and writes weights: safetensors files and folders
// in the layout of Hugging Face diffusers, a config.json and a safetensors
// file for each component. What it writes is the same bytes for the same
// values, and is complete or absent.
package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxHeader bounds the header, as the reference implementation does.
const maxHeader = 100_000_000

// metadata is the one name in a header that is not a tensor's.
const metadata = "__metadata__"

// Decode reads a safetensors file: a header of JSON, then the tensors without
// gaps, as the reference implementation wants it. An error names the tensor it
// is about. The tensors share b's memory.
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
		if name == metadata {
			continue
		}
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if e.Shape == nil || e.Offsets == nil {
			return nil, fmt.Errorf("tensor %q: it has no shape or no data_offsets", name)
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
		return cmp.Or(a.from-b.from, a.to-b.to, strings.Compare(a.name, b.name))
	})
	at := 0
	for i, s := range spans {
		switch {
		case s.from < at:
			return nil, fmt.Errorf("tensors %q and %q overlap", spans[i-1].name, s.name)
		case s.from > at:
			return nil, fmt.Errorf("tensor %q: bytes %d to %d before it belong to no tensor", s.name, at, s.from)
		}
		at = s.to
	}
	if at != len(data) {
		return nil, fmt.Errorf("the last %d bytes belong to no tensor", len(data)-at)
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
	header := []byte(`{"` + metadata + `":{"format":"pt"}`)
	at := 0
	for _, name := range names {
		t := tensors[name]
		if name == metadata || !utf8.ValidString(name) {
			return fmt.Errorf("a tensor cannot be named %q", name)
		}
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
	return replace(path, func(w io.Writer) error { return Encode(w, tensors) })
}
