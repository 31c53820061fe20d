package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unsafe"
)

// Arrow's Go reader copies every buffer of a record batch, and a table of a million samples has
// 200 MB of them. So batches are decoded here, directly from the file's bytes, which strings
// share. A damaged length causes a panic on a slice bound, which Read recovers.

// batch is a record batch whose columns are decoded one after the other.
type batch struct {
	body    []byte
	nodes   []byte // structs {length, nulls int64}
	buffers []byte // structs {offset, length int64}
	rows    int
}

// batches returns the record batches in a file's footer. Numbers of fields are those of Arrow's
// File.fbs and Message.fbs.
func batches(file []byte) ([]batch, error) {
	size := int(binary.LittleEndian.Uint32(file[len(file)-10:]))
	f := flat{b: file[len(file)-10-size : len(file)-10]}
	f.at = f.u32(0)
	from, n := f.list(3, 24)
	out := make([]batch, 0, n)
	for i := range n {
		block := f.b[from+24*i:]
		at, meta, body := i64(block), int(int32(binary.LittleEndian.Uint32(block[8:]))), i64(block[16:])
		if at < 0 || meta < 8 || body < 0 || at > len(file) || meta > len(file)-at || body > len(file)-at-meta {
			return nil, errors.New("a record batch lies outside the file")
		}
		m := flat{b: file[at+8 : at+meta]} // after the continuation marker and the length
		m.at = m.u32(0)
		kind := m.slot(1)
		header, ok := m.table(2)
		if !ok || kind == 0 || m.b[kind] != 3 {
			return nil, errors.New("a block is not a record batch")
		}
		if _, compressed := header.table(3); compressed {
			return nil, errors.New("its record batches are compressed, which no table of ablate is: write it without compression")
		}
		b := batch{body: file[at+meta : at+meta+body]}
		if rows := header.slot(0); rows != 0 {
			b.rows = i64(header.b[rows:])
		}
		if b.rows < 0 || b.rows > 8*len(b.body) {
			return nil, errors.New("it states more values than it holds")
		}
		nodes, count := header.list(1, 16)
		b.nodes = header.b[nodes : nodes+16*count]
		buffers, count := header.list(2, 16)
		b.buffers = header.b[buffers : buffers+16*count]
		out = append(out, b)
	}
	return out, nil
}

// i64 returns a length or an offset, or -1 where it is larger than any file.
func i64(b []byte) int {
	v := int64(binary.LittleEndian.Uint64(b))
	if v > maxFile {
		return -1
	}
	return int(v)
}

// next returns the next buffer, which must have at least n bytes.
func (b *batch) next(n int) ([]byte, error) {
	if len(b.buffers) < 16 {
		return nil, errors.New("it has fewer buffers than its columns need")
	}
	from, size := i64(b.buffers), i64(b.buffers[8:])
	b.buffers = b.buffers[16:]
	if from < 0 || size < 0 || from > len(b.body) || size > len(b.body)-from || size < n {
		return nil, errors.New("it states more values than it holds")
	}
	return b.body[from : from+size], nil
}

func bit(b []byte, i int) bool { return b[i/8]>>(i%8)&1 == 1 }

// take appends the next column of a batch to c, or skips it.
func (c *Column) take(b *batch, skip bool) error {
	if len(b.nodes) < 16 {
		return errors.New("it has fewer columns than its schema")
	}
	n, nulls := i64(b.nodes), i64(b.nodes[8:])
	b.nodes = b.nodes[16:]
	if n != b.rows || nulls < 0 {
		return fmt.Errorf("column %q has %d values of %d", c.Name, n, b.rows)
	}
	need := 0
	if nulls > 0 {
		need = (n + 7) / 8
	}
	valid, err := b.next(need)
	if err != nil {
		return err
	}
	width := map[Kind]int{String: 4 * (n + 1), Float: 8 * n, Int: 8 * n, Bool: (n + 7) / 8, Time: 8 * n}[c.Kind]
	if n == 0 {
		width = 0
	}
	values, err := b.next(width)
	if err != nil {
		return err
	}
	var text []byte
	if c.Kind == String {
		if text, err = b.next(0); err != nil {
			return err
		}
	}
	if skip {
		return nil
	}
	before := c.Len()
	switch c.Kind {
	case String:
		c.Strings = slices.Grow(c.Strings, n)
		for i := range n {
			from, to := binary.LittleEndian.Uint32(values[4*i:]), binary.LittleEndian.Uint32(values[4*i+4:])
			if from > to || int(to) > len(text) {
				return fmt.Errorf("column %q: value %d lies outside its text", c.Name, i)
			}
			s := ""
			if from < to {
				s = unsafe.String(&text[from], int(to-from)) // safe because the bytes of the file never change
			}
			c.Strings = append(c.Strings, s)
		}
	case Float:
		c.Floats = slices.Grow(c.Floats, n)
		for i := range n {
			c.Floats = append(c.Floats, math.Float64frombits(binary.LittleEndian.Uint64(values[8*i:])))
		}
	case Int:
		c.Ints = slices.Grow(c.Ints, n)
		for i := range n {
			c.Ints = append(c.Ints, int64(binary.LittleEndian.Uint64(values[8*i:])))
		}
	case Bool:
		c.Bools = slices.Grow(c.Bools, n)
		for i := range n {
			c.Bools = append(c.Bools, bit(values, i))
		}
	case Time:
		c.Times = slices.Grow(c.Times, n)
		for i := range n {
			c.Times = append(c.Times, time.UnixMicro(int64(binary.LittleEndian.Uint64(values[8*i:]))).UTC())
		}
	}
	if nulls == 0 && c.Valid == nil {
		return nil
	}
	if c.Valid == nil {
		c.Valid = make([]bool, before, before+n)
		for i := range c.Valid {
			c.Valid[i] = true
		}
	}
	c.Valid = slices.Grow(c.Valid, n)
	for i := range n {
		c.Valid = append(c.Valid, nulls == 0 || bit(valid, i))
	}
	return nil
}
