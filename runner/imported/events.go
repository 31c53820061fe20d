package imported

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// An event file of TensorBoard is a sequence of TFRecords. Each record is a protobuf
// message Event (tensorflow/core/util/event.proto).

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked returns the masked CRC-32C of a TFRecord. TFRecord masks it because a plain CRC
// of data that contains CRCs is weak.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

var (
	errTruncated = errors.New("the file ends within a record")
	errLength    = errors.New("the checksum of the length of the record is wrong")
	errData      = errors.New("the checksum of the record is wrong")
)

// records calls f with each record and its number, from 1. It continues after a record
// whose data are damaged, and ends if the length of a record is damaged. It allocates
// memory as it reads, and not by the stated length, which may be wrong.
func records(r io.Reader, f func(n int, data []byte, err error)) {
	var buf bytes.Buffer
	for n := 1; ; n++ {
		var head [12]byte
		switch _, err := io.ReadFull(r, head[:]); {
		case err == io.EOF:
			return
		case err == io.ErrUnexpectedEOF:
			f(n, nil, errTruncated)
			return
		case err != nil:
			f(n, nil, err)
			return
		}
		size := binary.LittleEndian.Uint64(head[:])
		if masked(head[:8]) != binary.LittleEndian.Uint32(head[8:]) || size > math.MaxInt64-4 {
			f(n, nil, errLength)
			return
		}
		buf.Reset()
		switch _, err := io.CopyN(&buf, r, int64(size)+4); {
		case err == io.EOF:
			f(n, nil, errTruncated)
			return
		case err != nil:
			f(n, nil, err)
			return
		}
		data, sum := buf.Bytes()[:size], buf.Bytes()[size:]
		if masked(data) != binary.LittleEndian.Uint32(sum) {
			f(n, nil, errData)
			continue
		}
		f(n, data, nil)
	}
}

// scalar is one value of a tag.
type scalar struct {
	step  int64
	wall  float64 // Unix time in seconds
	value float64
}

// later reports whether s was written after o.
func (s scalar) later(o scalar) bool {
	return s.step > o.step || s.step == o.step && s.wall >= o.wall
}

// fields calls f with each field of a protobuf message: its value as x if it is a number,
// else as data.
func fields(b []byte, f func(num protowire.Number, x uint64, data []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var x uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			x, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			x = uint64(v)
		case protowire.Fixed64Type:
			x, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := f(num, x, data); err != nil {
			return err
		}
	}
	return nil
}

// readEvent calls f with the scalars of an Event, and calls other with the tags of all
// other values.
func readEvent(b []byte, f func(tag string, s scalar), other func(tag string)) error {
	var s scalar
	var summary []byte
	err := fields(b, func(num protowire.Number, x uint64, data []byte) error {
		switch num {
		case 1:
			s.wall = math.Float64frombits(x)
		case 2:
			s.step = int64(x)
		case 5:
			summary = data
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fields(summary, func(num protowire.Number, _ uint64, data []byte) error {
		if num != 1 {
			return nil
		}
		tag, is := "", false
		err := fields(data, func(num protowire.Number, x uint64, data []byte) (err error) {
			switch num {
			case 1:
				tag = string(data)
			case 2:
				s.value, is = float64(math.Float32frombits(uint32(x))), true
			case 8:
				s.value, is, err = readTensor(data)
			}
			return err
		})
		switch {
		case err != nil:
			return err
		case is:
			f(tag, s)
		case tag != "":
			other(tag)
		}
		return nil
	})
}
