package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
)

// The Parquet library trusts the lengths of lists in a footer, for which it allocates memory,
// and the number of definition levels of a page, without which it loops forever. So both are
// checked before the library reads them. Its own stream over a chunk loops over damaged page
// headers; the stream here does not.

// checkParquetFooter parses the footer, a Thrift struct in the compact protocol, and checks
// that no list declares more elements than bytes follow, because the library would allocate
// them all.
func checkParquetFooter(file []byte) error {
	const tail = 4 + 4 // length of the footer, "PAR1"
	if len(file) < 4+tail || string(file[:4]) != "PAR1" {
		return errors.New("it does not begin with PAR1")
	}
	if string(file[len(file)-4:]) != "PAR1" {
		return errors.New("it does not end with PAR1, because its end is missing or it is encrypted")
	}
	size := int64(binary.LittleEndian.Uint32(file[len(file)-tail:]))
	if size > int64(len(file)-tail) {
		return errors.New("its footer is longer than the file")
	}
	w := thrift{b: file[len(file)-tail-int(size) : len(file)-tail]}
	w.skip(thriftStruct, 0)
	if w.broken {
		return errors.New("its footer states more than it has")
	}
	return nil
}

// thrift parses a value in Thrift's compact protocol.
type thrift struct {
	b      []byte
	broken bool
}

// Types of the compact protocol, numbered as in its specification; 1 and 2 are booleans, 4 to 6
// integers.
const (
	thriftByte, thriftDouble, thriftBinary = 3, 7, 8
	thriftList, thriftSet, thriftStruct    = 9, 10, 12
)

func (w *thrift) drop(n uint64) {
	if n > uint64(len(w.b)) {
		w.broken, w.b = true, nil
		return
	}
	w.b = w.b[n:]
}

func (w *thrift) byte() byte {
	if len(w.b) == 0 {
		w.broken = true
		return 0
	}
	x := w.b[0]
	w.b = w.b[1:]
	return x
}

func (w *thrift) varint() uint64 {
	x, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.broken, w.b = true, nil
		return 0
	}
	w.b = w.b[n:]
	return x
}

// skip skips a value. Parquet's metadata are nested a few levels deep.
func (w *thrift) skip(kind byte, depth int) {
	if w.broken || depth > 32 {
		w.broken = true
		return
	}
	switch kind {
	case thriftByte:
		w.byte()
	case 4, 5, 6:
		w.varint()
	case thriftDouble:
		w.drop(8)
	case thriftBinary:
		w.drop(w.varint())
	case thriftList, thriftSet:
		head := w.byte()
		n, elem := uint64(head>>4), head&15
		if n == 15 {
			n = w.varint()
		}
		if n > uint64(len(w.b)) {
			w.broken = true
			return
		}
		for i := uint64(0); i < n && !w.broken; i++ {
			if elem <= 2 { // in a list a boolean is a byte
				w.byte()
			} else {
				w.skip(elem, depth+1)
			}
		}
	case thriftStruct:
		for !w.broken {
			head := w.byte()
			if head == 0 {
				return
			}
			if head>>4 == 0 {
				w.varint() // number of the field
			}
			if k := head & 15; k > 2 { // the type of a boolean field is its value
				w.skip(k, depth+1)
			}
		}
	default: // an unknown type, or a map, which Parquet's metadata do not have
		w.broken = true
	}
}

// checkPages returns the pages of a chunk of a column whose definition levels are at most
// levels.
func checkPages(b []byte, c *metadata.ColumnChunkMetaData, levels int16, mem memory.Allocator) (*checkedPages, error) {
	if c.CryptoMetadata() != nil {
		return nil, errors.New("it is encrypted")
	}
	from := c.DataPageOffset()
	if d := c.DictionaryPageOffset(); c.HasDictionaryPage() && d > 0 && d < from {
		from = d
	}
	// Old writers left the dictionary's header out of the size. Reading 100 bytes more than
	// declared is harmless, because the number of values ends the chunk.
	size := c.TotalCompressedSize()
	if from < 0 || size < 0 || from > int64(len(b)) || size > int64(len(b)) {
		return nil, errors.New("its pages lie outside the file")
	}
	b = b[from:]
	b = b[:min(size+100, int64(len(b)))]
	pages, err := file.NewPageReader(&stream{b}, c.NumValues(), c.Compression(), mem, nil)
	return &checkedPages{PageReader: pages, levels: levels}, err
}

// stream is a parquet.BufferedReader over bytes.
type stream struct{ b []byte }

// Peek implements parquet.BufferedReader.
func (r *stream) Peek(n int) ([]byte, error) {
	if n > len(r.b) {
		return r.b, io.EOF
	}
	return r.b[:n], nil
}

// Discard implements parquet.BufferedReader.
func (r *stream) Discard(n int) (int, error) {
	n = min(n, len(r.b))
	r.b = r.b[n:]
	return n, nil
}

// Read implements io.Reader.
func (r *stream) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// checkedPages is a file.PageReader that checks that each page has as many definition levels as
// values. A level is at most levels.
type checkedPages struct {
	file.PageReader
	levels int16
	err    error
}

// Next implements file.PageReader.
func (p *checkedPages) Next() bool {
	if p.err != nil || !p.PageReader.Next() {
		return false
	}
	p.err = checkLevels(p.Page(), p.levels)
	return p.err == nil
}

// Err implements file.PageReader.
func (p *checkedPages) Err() error { return errors.Join(p.err, p.PageReader.Err()) }

// checkLevels returns an error if a page has fewer definition levels than values.
func checkLevels(page file.Page, most int16) error {
	if most == 0 {
		return nil
	}
	b := page.Data()
	switch page := page.(type) {
	case *file.DataPageV1:
		if page.DefinitionLevelEncoding() != parquet.Encodings.RLE {
			return fmt.Errorf("its definition levels have the obsolete encoding %s; must be RLE", page.DefinitionLevelEncoding())
		}
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return errors.New("its levels are longer than a page")
		}
		b = b[4 : 4+binary.LittleEndian.Uint32(b)]
	case *file.DataPageV2:
		if int(page.DefinitionLevelByteLen()) > len(b) {
			return errors.New("its levels are longer than a page")
		}
		b = b[:page.DefinitionLevelByteLen()]
	default: // a dictionary
		return nil
	}
	if n := uint64(page.NumValues()); countLevels(b, bits.Len16(uint16(most)), n) < n {
		return errors.New("a page states more values than it has")
	}
	return nil
}

// countLevels counts the definition levels, of width bits each, in Parquet's hybrid of
// run-length encoding and bit packing. It stops at enough.
func countLevels(b []byte, width int, enough uint64) (n uint64) {
	for len(b) > 0 && n < enough {
		head, size := binary.Uvarint(b)
		if size <= 0 {
			return n
		}
		b = b[size:]
		count, bytes := head>>1, uint64(width+7)/8
		if count > 1<<32 {
			return n
		}
		if head&1 == 1 { // bit-packed groups of eight
			bytes = count * uint64(width)
			count *= 8
		}
		if bytes > uint64(len(b)) {
			return n
		}
		b, n = b[bytes:], n+count
	}
	return n
}
