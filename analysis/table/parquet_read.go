package table

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// ReadParquet parses a Parquet file of any program: its columns of strings, integers,
// floating-point numbers, booleans and timestamps, dictionary encoded or not, with their nulls.
// A field of a struct becomes the column STRUCT.FIELD. With names of columns, it reads only
// those, and of a file's bytes only theirs. left has the names of all others, and of columns
// that a table cannot have: lists, maps, decimals, dates and others. Bytes that are not an
// intact Parquet file give an error, never a panic.
func ReadParquet(b []byte, columns ...string) (t *Table, left []string, err error) {
	defer func() { // the library panics on wrong lengths and codes
		if p := recover(); p != nil {
			t, left, err = nil, nil, fmt.Errorf("it is not an intact Parquet file (%v)", p)
		}
	}()
	if err := checkParquetFooter(b); err != nil {
		return nil, nil, fmt.Errorf("it is not an intact Parquet file: %w", err)
	}
	// A value takes at most 16 bytes in memory, and a run of equal values a few bytes in the
	// file. The constant is the memory that a small file may take.
	mem := &budget{left: 128<<20 + 256*len(b)}
	f, err := file.NewParquetReader(bytes.NewReader(b), file.WithReadProps(parquet.NewReaderProperties(mem)))
	if err != nil {
		return nil, nil, fmt.Errorf("it is not an intact Parquet file: %w", err)
	}
	t = &Table{Meta: map[string]string{}}
	at := map[int]*Column{} // by index of the column in the file
	for i := range f.MetaData().Schema.NumColumns() {
		d := f.MetaData().Schema.Column(i)
		kind, ok := parquetKind(d)
		if !ok || len(columns) > 0 && !slices.Contains(columns, d.Path()) {
			left = append(left, d.Path())
			continue
		}
		at[i] = &Column{Name: d.Path(), Kind: kind}
		t.Columns = append(t.Columns, at[i])
	}
	for g := range f.NumRowGroups() {
		group := f.RowGroup(g)
		for i := range f.MetaData().Schema.NumColumns() {
			c := at[i]
			if c == nil {
				continue
			}
			meta, err := group.MetaData().ColumnChunk(i)
			if err != nil {
				return nil, nil, fmt.Errorf("it is not an intact Parquet file: column %q: %w", c.Name, err)
			}
			pages, err := checkPages(b, meta, f.MetaData().Schema.Column(i).MaxDefinitionLevel(), mem)
			if err != nil {
				return nil, nil, fmt.Errorf("it is not an intact Parquet file: column %q: %w", c.Name, err)
			}
			chunk := file.NewColumnReader(f.MetaData().Schema.Column(i), pages, mem, f.BufferPool())
			if err := c.takeChunk(chunk, group.NumRows(), mem); err != nil {
				return nil, nil, fmt.Errorf("it is not an intact Parquet file: column %q: %w", c.Name, err)
			}
		}
	}
	return t, left, t.Check()
}

// ReadParquetFile is ReadParquet of a file. It maps the file, so that columns that are not read,
// such as images, take no memory.
func ReadParquetFile(path string, columns ...string) (*Table, []string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() == 0 {
		return ReadParquet(nil) // an empty file cannot be mapped
	}
	b, err := mapped(f, info.Size())
	if err != nil {
		return nil, nil, err
	}
	// A file that becomes shorter meanwhile is a fault of memory, which ReadParquet recovers.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return ReadParquet(b, columns...)
}

// parquetKind returns the kind of a column of a Parquet file, and false where a table cannot
// have it.
func parquetKind(d *schema.Column) (Kind, bool) {
	if d.MaxRepetitionLevel() > 0 {
		return 0, false
	}
	logical := d.LogicalType()
	switch d.PhysicalType() {
	case parquet.Types.Boolean:
		return Bool, true
	case parquet.Types.Float, parquet.Types.Double:
		return Float, true
	case parquet.Types.ByteArray:
		_, decimal := logical.(*schema.DecimalLogicalType)
		_, bson := logical.(schema.BSONLogicalType)
		return String, !decimal && !bson
	case parquet.Types.Int32, parquet.Types.Int64:
		switch logical.(type) {
		case *schema.TimestampLogicalType:
			return Time, true
		case *schema.IntLogicalType, schema.NoLogicalType, schema.NullLogicalType, schema.UnknownLogicalType, nil:
			return Int, true
		}
	}
	return 0, false
}

// takeChunk appends the values of a chunk, a column's part of a row group.
func (c *Column) takeChunk(chunk file.ColumnChunkReader, rows int64, mem *budget) error {
	if rows < 0 || rows > math.MaxInt32 {
		return fmt.Errorf("a row group declares %d rows, which is not a valid number", rows)
	}
	d := chunk.Descriptor()
	unsigned := false
	if l, ok := d.LogicalType().(*schema.IntLogicalType); ok {
		unsigned = !l.IsSigned()
	}
	t := taker{c: c, rows: int(rows), present: d.MaxDefinitionLevel(), mem: mem}
	switch r := chunk.(type) {
	case *file.BooleanColumnChunkReader:
		return take(t, r, &c.Bools, func(x bool) (bool, error) { return x, nil })
	case *file.Float32ColumnChunkReader:
		return take(t, r, &c.Floats, func(x float32) (float64, error) { return float64(x), nil })
	case *file.Float64ColumnChunkReader:
		return take(t, r, &c.Floats, func(x float64) (float64, error) { return x, nil })
	case *file.ByteArrayColumnChunkReader:
		same := map[string]string{} // shares equal texts; they are copied because pages reuse their memory
		return take(t, r, &c.Strings, func(x parquet.ByteArray) (string, error) {
			s, ok := same[string(x)]
			if !ok {
				mem.take(len(x))
				s = string(x)
				same[s] = s
			}
			return s, nil
		})
	case *file.Int32ColumnChunkReader:
		return take(t, r, &c.Ints, func(x int32) (int64, error) {
			if unsigned {
				return int64(uint32(x)), nil
			}
			return int64(x), nil
		})
	case *file.Int64ColumnChunkReader:
		if c.Kind == Time {
			return take(t, r, &c.Times, timeOf(d.LogicalType().(*schema.TimestampLogicalType).TimeUnit()))
		}
		return take(t, r, &c.Ints, func(x int64) (int64, error) {
			if unsigned && x < 0 {
				return 0, fmt.Errorf("the number %d is above %d, the largest whole number of a table", uint64(x), math.MaxInt64)
			}
			return x, nil
		})
	}
	return fmt.Errorf("its type %s is not supported", d.PhysicalType())
}

// timeOf returns a function that converts a number of units since 1970 to a time in UTC.
func timeOf(unit schema.TimeUnitType) func(int64) (time.Time, error) {
	return func(x int64) (time.Time, error) {
		switch unit {
		case schema.TimeUnitMillis:
			return time.UnixMilli(x).UTC(), nil
		case schema.TimeUnitNanos:
			return time.Unix(0, x).UTC(), nil
		}
		return time.UnixMicro(x).UTC(), nil
	}
}

// taker is the chunk that take reads. Values that are not missing have the definition level
// present.
type taker struct {
	c       *Column
	rows    int
	present int16
	mem     *budget
}

// take appends the values of a chunk, with zeros for missing ones. It does not trust the
// declared number of rows: it allocates memory for values that it has read.
func take[T, V any](t taker, r interface {
	ReadBatch(int64, []T, []int16, []int16) (int64, int, error)
}, values *[]V, convert func(T) (V, error)) error {
	const most = 4096
	batch, levels := make([]T, most), make([]int16, most)
	for done := 0; done < t.rows; {
		n, read, err := r.ReadBatch(int64(min(most, t.rows-done)), batch, levels, nil)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("a row group has %d values of the %d that it states", done, t.rows)
		}
		t.mem.take(16 * int(n))
		next := 0
		for i := range int(n) {
			var v V
			there := t.present == 0 || levels[i] == t.present
			if there {
				if next == read {
					return errors.New("it states more values than it has")
				}
				if v, err = convert(batch[next]); err != nil {
					return err
				}
				next++
			}
			if !there && t.c.Valid == nil {
				t.c.Valid = make([]bool, len(*values))
				for j := range t.c.Valid {
					t.c.Valid[j] = true
				}
			}
			*values = append(*values, v)
			if t.c.Valid != nil {
				t.c.Valid = append(t.c.Valid, there)
			}
		}
		done += int(n)
	}
	return nil
}
