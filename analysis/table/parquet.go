package table

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// groupRows is the number of rows of a row group. duckdb reads row groups in parallel.
const groupRows = 1 << 17

// Parquet writes a table as a Parquet file with the same types as the Arrow file. The table's
// metadata are the file's metadata; those of the fields are in the embedded Arrow schema, which
// pyarrow reads. Equal tables give equal bytes.
//
// It writes columns with the low-level API, because arrow's pqarrow brings gRPC with it, which
// makes the program 19 MB larger.
func Parquet(w io.Writer, t *Table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	var b bytes.Buffer // cannot fail: the library panics or ignores errors of its writer
	if err := t.parquet(&b); err != nil {
		return fmt.Errorf("table: parquet: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("table: parquet: %w", err)
	}
	return nil
}

func (t *Table) parquet(b *bytes.Buffer) error {
	mem := memory.NewGoAllocator()
	// A dictionary that exceeds its limit is replaced by plain values, and the file then lists
	// the two encodings in the random order of a map. So there is no limit.
	options := []parquet.WriterProperty{parquet.WithAllocator(mem), parquet.WithCreatedBy("ablate"),
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryDefault(false), parquet.WithDictionaryPageSizeLimit(math.MaxInt64)}
	fields := make(schema.FieldList, len(t.Columns))
	for i, c := range t.Columns {
		var err error
		if fields[i], err = c.node(); err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		options = append(options, parquet.WithDictionaryFor(c.Name, c.Kind == String))
	}
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, fields, -1)
	if err != nil {
		return err
	}
	arrowSchema := t.schema()
	meta, own := metadata.KeyValueMetadata{}, arrowSchema.Metadata()
	for i, k := range own.Keys() {
		if err := meta.Append(k, own.Values()[i]); err != nil {
			return err
		}
	}
	var s bytes.Buffer
	if err := ipc.NewWriter(&s, ipc.WithSchema(arrowSchema), ipc.WithAllocator(mem)).Close(); err != nil {
		return err
	}
	if err := meta.Append("ARROW:schema", base64.StdEncoding.EncodeToString(s.Bytes())); err != nil {
		return err
	}
	f := file.NewParquetWriter(b, root, file.WithWriterProps(parquet.NewWriterProperties(options...)), file.WithWriteMetadata(meta))
	for from := 0; from < t.Rows(); from += groupRows {
		g := f.AppendRowGroup()
		for _, c := range t.Columns {
			chunk, err := g.NextColumn()
			if err == nil {
				err = errors.Join(c.chunk(chunk, from, min(from+groupRows, t.Rows())), chunk.Close())
			}
			if err != nil {
				return fmt.Errorf("column %q: %w", c.Name, err)
			}
		}
		if err := g.Close(); err != nil {
			return err
		}
	}
	return errors.Join(f.FlushWithFooter(), f.Close()) // Close alone does not return the error
}

// node returns the Parquet type of a column. Every value may be missing, as in Arrow.
func (c *Column) node() (schema.Node, error) {
	logical, physical := schema.LogicalType(schema.NoLogicalType{}), parquet.Types.Undefined
	switch c.Kind {
	case String:
		logical, physical = schema.StringLogicalType{}, parquet.Types.ByteArray
	case Float:
		physical = parquet.Types.Double
	case Int:
		physical = parquet.Types.Int64
	case Bool:
		physical = parquet.Types.Boolean
	case Time:
		logical, physical = schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), parquet.Types.Int64
	}
	return schema.NewPrimitiveNodeLogical(c.Name, parquet.Repetitions.Optional, logical, physical, -1, -1)
}

// chunk writes the values [from, to) of a column.
func (c *Column) chunk(w file.ColumnChunkWriter, from, to int) error {
	levels := make([]int16, to-from) // definition levels: 0 where the value is missing
	for i := range levels {
		if c.Has(from + i) {
			levels[i] = 1
		}
	}
	var err error
	switch w := w.(type) {
	case *file.ByteArrayColumnChunkWriter:
		_, err = w.WriteBatch(present(c, c.Strings, from, to, func(s string) parquet.ByteArray { return parquet.ByteArray(s) }), levels, nil)
	case *file.Float64ColumnChunkWriter:
		_, err = w.WriteBatch(present(c, c.Floats, from, to, func(x float64) float64 { return x }), levels, nil)
	case *file.BooleanColumnChunkWriter:
		_, err = w.WriteBatch(present(c, c.Bools, from, to, func(x bool) bool { return x }), levels, nil)
	case *file.Int64ColumnChunkWriter:
		if c.Kind == Time {
			_, err = w.WriteBatch(present(c, c.Times, from, to, time.Time.UnixMicro), levels, nil)
		} else {
			_, err = w.WriteBatch(present(c, c.Ints, from, to, func(x int64) int64 { return x }), levels, nil)
		}
	}
	return err
}

// present returns the values [from, to) of a column that are not missing.
func present[T, U any](c *Column, values []T, from, to int, of func(T) U) []U {
	out := make([]U, 0, to-from)
	for i := from; i < to; i++ {
		if c.Has(i) {
			out = append(out, of(values[i]))
		}
	}
	return out
}
