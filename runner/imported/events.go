package imported

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// An event file of TensorBoard has records in the framing of TFRecord, each of them
// an Event (tensorflow/core/util/event.proto) as a protobuf message.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is TFRecord's CRC: of data that has CRCs itself, a plain one is weak.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

var (
	errTruncated = errors.New("the file ends within a record")
	errLength    = errors.New("the checksum of the length of the record is wrong")
	errData      = errors.New("the checksum of the record is wrong")
)

// records calls f with each record and its number, from 1. It goes on after a record
// whose data are damaged, and ends where a length is. The memory that it takes
// follows what the file has, not what it states.
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
	wall  float64 // seconds since 1970
	value float64
}

// later reports whether s was written after o.
func (s scalar) later(o scalar) bool {
	return s.step > o.step || s.step == o.step && s.wall >= o.wall
}

// fields calls f with each field of a message. A field's value is its bytes, or its
// number where it has one.
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

// readEvent calls f with the scalars of an Event, and other with the tags of what is
// not one.
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

// readTensor is the value of a TensorProto of one number; false for another.
func readTensor(b []byte) (v float64, is bool, err error) {
	kind, elements := uint64(0), int64(1)
	var content []byte
	var own map[protowire.Number][]uint64
	err = fields(b, func(num protowire.Number, x uint64, data []byte) error {
		switch num {
		case 1:
			kind = x
		case 2:
			return fields(data, func(num protowire.Number, _ uint64, dim []byte) error {
				if num != 2 {
					return nil
				}
				size := int64(0)
				err := fields(dim, func(num protowire.Number, x uint64, _ []byte) error {
					if num == 1 {
						size = int64(x)
					}
					return nil
				})
				if size != 1 {
					elements = 0
				}
				return err
			})
		case 4:
			content = data
		case 5, 6, 7, 10, 11:
			if own == nil {
				own = map[protowire.Number][]uint64{}
			}
			if data == nil {
				own[num] = append(own[num], x)
				return nil
			}
			values, err := packed(num, data)
			own[num] = append(own[num], values...)
			return err
		}
		return nil
	})
	// The numbers of DataType, the field with its values, and what a value is.
	types := map[uint64]struct {
		field protowire.Number
		size  int
		value func(uint64) float64
	}{
		1:  {5, 4, func(x uint64) float64 { return float64(math.Float32frombits(uint32(x))) }},
		2:  {6, 8, math.Float64frombits},
		3:  {7, 4, func(x uint64) float64 { return float64(int32(x)) }},
		9:  {10, 8, func(x uint64) float64 { return float64(int64(x)) }},
		10: {11, 1, func(x uint64) float64 { return float64(x) }},
	}
	t, known := types[kind]
	switch {
	case err != nil || !known || elements != 1:
		return 0, false, err
	case len(content) == t.size:
		return t.value(littleEndian(content)), true, nil
	case len(content) == 0 && len(own[t.field]) == 1:
		return t.value(own[t.field][0]), true, nil
	}
	return 0, false, nil
}

// packed are the values of a packed field of a TensorProto: at most two, for more
// are not one.
func packed(num protowire.Number, b []byte) ([]uint64, error) {
	var out []uint64
	for len(b) > 0 && len(out) < 2 {
		n := map[protowire.Number]int{5: 4, 6: 8}[num]
		x := uint64(0)
		if n == 0 {
			if x, n = protowire.ConsumeVarint(b); n < 0 {
				return nil, protowire.ParseError(n)
			}
		} else if len(b) < n {
			return nil, fmt.Errorf("a tensor has %d bytes for a value of %d", len(b), n)
		} else {
			x = littleEndian(b[:n])
		}
		out, b = append(out, x), b[n:]
	}
	return out, nil
}

func littleEndian(b []byte) uint64 {
	var all [8]byte
	copy(all[:], b)
	return binary.LittleEndian.Uint64(all[:])
}
