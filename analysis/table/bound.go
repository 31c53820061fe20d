package table

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Arrow trusts every length in a file: one damaged byte makes it allocate terabytes, which ends
// the process without a panic that could be recovered. So its buffers come from a budget that
// the size of the file sets, and the lengths in the footer are checked before Arrow reads them.

// budget is an allocator that has at most left bytes allocated, and panics with an error, which
// Read recovers, when more are requested.
type budget struct {
	memory.GoAllocator
	left int
}

// newBudget returns the budget for a file of n bytes without compression: each buffer is read
// once and copied once, in pieces rounded up to 64 bytes.
func newBudget(n int) *budget { return &budget{left: 4*n + 1<<20} }

func (b *budget) take(size int) {
	if size < 0 || size > b.left {
		panic(errors.New("it states more values than it holds"))
	}
	b.left -= size
}

// Allocate implements memory.Allocator.
func (b *budget) Allocate(size int) []byte {
	b.take(size)
	return b.GoAllocator.Allocate(size)
}

// Reallocate implements memory.Allocator.
func (b *budget) Reallocate(size int, old []byte) []byte {
	b.take(size - min(size, len(old)))
	return b.GoAllocator.Reallocate(size, old)
}

// Free implements memory.Allocator; freed bytes can be allocated again.
func (b *budget) Free(p []byte) { b.left += len(p) }

// flat is a FlatBuffers table inside the footer. Reading past the footer panics, which Read
// recovers.
type flat struct {
	b  []byte
	at int
}

func (f flat) u32(at int) int { return int(binary.LittleEndian.Uint32(f.b[at:])) }

// slot returns the offset of field i of the table, 0 where the table lacks it.
func (f flat) slot(i int) int {
	vtable := f.at - int(int32(f.u32(f.at)))
	if 4+2*i >= int(binary.LittleEndian.Uint16(f.b[vtable:])) {
		return 0
	}
	if o := int(binary.LittleEndian.Uint16(f.b[vtable+4+2*i:])); o != 0 {
		return f.at + o
	}
	return 0
}

// table returns the table in field i, and false where the field is absent.
func (f flat) table(i int) (flat, bool) {
	at := f.slot(i)
	if at == 0 {
		return flat{}, false
	}
	return flat{f.b, at + f.u32(at)}, true
}

// list returns the offset and number of elements of the vector in field i, whose elements have
// the given size.
func (f flat) list(i, size int) (from, n int) {
	at := f.slot(i)
	if at == 0 {
		return 0, 0
	}
	at += f.u32(at)
	n = f.u32(at)
	if n > (len(f.b)-at-4)/size {
		panic(errors.New("it states more columns than it holds"))
	}
	return at + 4, n
}

// checkFooter checks the lengths in the footer of an Arrow IPC file. Numbers of fields are
// those of Arrow's File.fbs and Schema.fbs. Damage for which Arrow itself returns an error is
// left to Arrow.
func checkFooter(file []byte) error {
	const tail = 4 + 6 // length of the footer, "ARROW1"
	if len(file) < tail {
		return fmt.Errorf("it has only %d bytes", len(file))
	}
	size := int(binary.LittleEndian.Uint32(file[len(file)-tail:]))
	if size < 4 || size > len(file)-tail {
		return errors.New("its end is missing")
	}
	f := flat{b: file[len(file)-tail-size : len(file)-tail]}
	f.at = f.u32(0)
	schema, ok := f.table(1)
	if !ok {
		return errors.New("it has no schema")
	}
	if _, n := f.list(2, 24); n > 0 {
		return errors.New("it has dictionaries, which no table of ablate has")
	}
	f.list(3, 24)     // record batches
	schema.list(2, 4) // metadata
	from, n := schema.list(1, 4)
	for i := range n {
		at := from + 4*i
		field := flat{f.b, at + f.u32(at)}
		if _, children := field.list(5, 4); children > 0 {
			return errors.New("it has nested columns, which no table of ablate has")
		}
		field.list(6, 4) // metadata
	}
	return nil
}
