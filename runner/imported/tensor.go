package imported

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// readTensor returns the value of a TensorProto that has exactly one number. is is false
// for any other tensor.
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
	// types describes values of the enum DataType: the field of TensorProto that has the
	// values, and how to decode one.
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

// packed returns the values of a packed field of a TensorProto, at most two: the caller
// only has to know whether there is exactly one.
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
