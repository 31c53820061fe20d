// Package checkpoint reads and writes weights: safetensors files and folders
// in the layout of Hugging Face diffusers, which have a config.json and a safetensors
// file for each component. Equal values give equal bytes, and files are written atomically.
package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/renameio/v2"
)

// maxHeader bounds the header: 16 MiB name some 150,000 tensors. The reference
// implementation allows 100 MB, which take a gigabyte to decode.
const maxHeader = 16 << 20

// metadata is the only name in a header that is not that of a tensor.
const metadata = "__metadata__"

// Decode reads a safetensors file: a header in JSON, then the tensors without
// gaps, as the reference implementation requires. An error names the tensor.
// The tensors share b's memory.
func Decode(b []byte) (map[string]Tensor, error) {
	r := bytes.NewReader(b)
	f, err := decode(r, r, int64(len(b)))
	if err != nil {
		return nil, err
	}
	out := make(map[string]Tensor, len(f.entries))
	for name, e := range f.entries {
		out[name] = Tensor{DType: e.DType, Shape: e.Shape, Data: b[f.data+e.Offsets[0] : f.data+e.Offsets[1]]}
	}
	return out, nil
}

// A File is an open safetensors file whose header was read and checked.
type File struct {
	path    string
	at      io.ReaderAt
	data    int64 // where tensors begin
	entries map[string]entry
	about   map[string]string // __metadata__
	close   func() error
}

// entry is one tensor of a header; Offsets are relative to the header's end.
type entry struct {
	DType   string  `json:"dtype"`
	Shape   []int   `json:"shape"`
	Offsets []int64 `json:"data_offsets"`
}

// Open opens a safetensors file and checks its header against its size, without
// reading the tensors. A file that is not a regular file is an error.
func Open(path string) (*File, error) {
	r, size, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	f, err := decode(r, r, size)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.path, f.close = path, r.Close
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

// Shape returns the shape of a tensor; false if the file has no tensor of that name.
func (f *File) Shape(name string) ([]int, bool) {
	e, ok := f.entries[name]
	return e.Shape, ok
}

// About returns the metadata of the header, by key.
func (f *File) About() map[string]string { return f.about }

// Names returns the names of the tensors in order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.entries)) }

// Tensor reads one tensor.
func (f *File) Tensor(name string) (Tensor, error) {
	e, ok := f.entries[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: tensor %q is missing", f.path, name)
	}
	b := make([]byte, e.Offsets[1]-e.Offsets[0])
	if _, err := f.at.ReadAt(b, f.data+e.Offsets[0]); err != nil && len(b) > 0 {
		return Tensor{}, fmt.Errorf("%s: tensor %q: %w", f.path, name, err)
	}
	return Tensor{DType: e.DType, Shape: e.Shape, Data: b}, nil
}

// decode reads and checks the header of a file of the given size.
func decode(r io.Reader, at io.ReaderAt, total int64) (*File, error) {
	var first [8]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return nil, fmt.Errorf("%d bytes are not a safetensors file, which begins with 8 bytes of the header's length", total)
	}
	n := binary.LittleEndian.Uint64(first[:])
	if n > uint64(total-8) {
		return nil, fmt.Errorf("the header's length is given as %d bytes, and the file has %d: it is cut short, or it is not a safetensors file", n, total)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("the header has %d bytes; must be at most %d: write the tensors as several files", n, maxHeader)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	length := total - 8 - int64(n)
	raws, err := object[json.RawMessage](header)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	out := make(map[string]entry, len(raws))
	type span struct {
		from, to int64
		name     string
	}
	var spans []span
	about := map[string]string{}
	for name, raw := range raws {
		if name == metadata {
			if err := json.Unmarshal(raw, &about); err != nil {
				return nil, fmt.Errorf("%s: it is not an object of texts", metadata)
			}
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
		if len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1] > length {
			return nil, fmt.Errorf("tensor %q: data_offsets %v are not within the %d bytes of data", name, e.Offsets, length)
		}
		if e.Offsets[1]-e.Offsets[0] != int64(count*w) {
			return nil, fmt.Errorf("tensor %q: shape %v of %s needs %d bytes, its data_offsets have %d", name, e.Shape, e.DType, count*w, e.Offsets[1]-e.Offsets[0])
		}
		out[name] = e
		spans = append(spans, span{e.Offsets[0], e.Offsets[1], name})
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), strings.Compare(a.name, b.name))
	})
	var end int64
	for i, s := range spans {
		switch {
		case s.from < end:
			return nil, fmt.Errorf("tensors %q and %q overlap", spans[i-1].name, s.name)
		case s.from > end:
			return nil, fmt.Errorf("tensor %q: bytes %d to %d before it belong to no tensor", s.name, end, s.from)
		}
		end = s.to
	}
	if end != length {
		return nil, fmt.Errorf("the last %d bytes belong to no tensor", length-end)
	}
	return &File{at: at, data: 8 + int64(n), entries: out, about: about}, nil
}

// object decodes a JSON object. A duplicate name is an error.
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
			return nil, fmt.Errorf("%q appears twice", name)
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
		return nil, errors.New("unexpected data after the JSON object")
	}
	return out, nil
}

// Encode writes tensors sorted by name, the header padded to 8 bytes.
func Encode(w io.Writer, tensors map[string]Tensor) error {
	_, err := encode(w, nil, sources(tensors))
	return err
}

// encode writes tensors as Encode does, and returns where in the file each of them begins.
func encode(w io.Writer, about map[string]string, tensors map[string]Source) (map[string]int64, error) {
	names := slices.Sorted(maps.Keys(tensors))
	all := map[string]string{"format": "pt"}
	maps.Copy(all, about)
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	header := append([]byte(`{"`+metadata+`":`), text...)
	at, begins, sizes := 0, map[string]int64{}, map[string]int{}
	for _, name := range names {
		t := tensors[name]
		if name == metadata || !utf8.ValidString(name) {
			return nil, fmt.Errorf("a tensor cannot be named %q", name)
		}
		n, err := size(t.Shape)
		if err != nil || width[t.DType] == 0 {
			return nil, fmt.Errorf("tensor %q: shape %v of %s cannot be written", name, t.Shape, t.DType)
		}
		n *= width[t.DType]
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		e, err := json.Marshal(struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{t.DType, shape, [2]int{at, at + n}})
		if err != nil {
			return nil, err
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		header = append(append(append(append(header, ','), key...), ':'), e...)
		begins[name], sizes[name] = int64(at), n
		at += n
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
		return nil, err
	}
	if _, err := w.Write(header); err != nil {
		return nil, err
	}
	for _, name := range names {
		begins[name] += int64(8 + len(header))
		c := counter{w: w}
		if err := tensors[name].Write(&c); err != nil {
			return nil, err
		}
		if c.n != sizes[name] {
			return nil, fmt.Errorf("tensor %q: %d bytes do not fit shape %v of %s", name, c.n, tensors[name].Shape, tensors[name].DType)
		}
	}
	return begins, nil
}

// A counter counts the bytes that are written.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

// ReadFile reads a safetensors file.
func ReadFile(path string) (map[string]Tensor, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := make(map[string]Tensor, len(f.entries))
	for name := range f.entries {
		if out[name], err = f.Tensor(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// WriteFile writes a safetensors file atomically.
func WriteFile(path string, tensors map[string]Tensor) error {
	return WriteFileAbout(path, nil, tensors)
}

// WriteFileAbout is WriteFile with metadata in the header.
func WriteFileAbout(path string, about map[string]string, tensors map[string]Tensor) error {
	p, err := prepare(path, about, sources(tensors))
	if err != nil {
		return err
	}
	return p.Publish()
}

// A Pending is a safetensors file that is written and does not have its name yet. The caller
// must call Publish or Abort.
type Pending struct {
	path   string
	f      *renameio.PendingFile
	begins map[string]int64 // where each tensor begins
	shapes map[string]Source
}

// Prepare writes a safetensors file beside path. It calls the tensors' Write in the order of
// their names.
func Prepare(path string, tensors map[string]Source) (*Pending, error) {
	return prepare(path, nil, tensors)
}

func prepare(path string, about map[string]string, tensors map[string]Source) (*Pending, error) {
	p := &Pending{path: path, shapes: tensors}
	var err error
	p.f, err = pending(path, func(w io.Writer) (err error) {
		p.begins, err = encode(w, about, tensors)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Set replaces the bytes of a tensor, by as many others.
func (p *Pending) Set(name string, data []byte) error {
	at, ok := p.begins[name]
	t := p.shapes[name]
	if n, err := size(t.Shape); !ok || err != nil || n*width[t.DType] != len(data) {
		return fmt.Errorf("%s: tensor %q has other than %d bytes", p.path, name, len(data))
	}
	if _, err := p.f.WriteAt(data, at); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return nil
}

// Publish makes the file durable and then gives it its name, in the place of an earlier file.
// After an error or a crash, the earlier file is there.
func (p *Pending) Publish() error { return publish(p.path, p.f) }

// Abort removes the file.
func (p *Pending) Abort() error { return p.f.Cleanup() }
