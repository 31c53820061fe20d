package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/google/renameio/v2"

	"ablate/analysis/leftover"
)

var arrowType = map[Kind]arrow.DataType{
	String: arrow.BinaryTypes.String, Float: arrow.PrimitiveTypes.Float64, Int: arrow.PrimitiveTypes.Int64,
	Bool: arrow.FixedWidthTypes.Boolean, Time: arrow.FixedWidthTypes.Timestamp_us,
}

// schema returns the table's schema in Arrow.
func (t *Table) schema() *arrow.Schema {
	fields := make([]arrow.Field, len(t.Columns))
	for i, c := range t.Columns {
		var keys, values []string
		for _, m := range [][2]string{{"unit", c.Unit}, {"better", c.Better}, {"range", c.Range}, {"depends", c.Depends}, {"doc", c.Doc}} {
			if m[1] != "" {
				keys, values = append(keys, m[0]), append(values, m[1])
			}
		}
		fields[i] = arrow.Field{Name: c.Name, Type: arrowType[c.Kind], Nullable: true, Metadata: arrow.NewMetadata(keys, values)}
	}
	var keys, values []string
	for _, k := range slices.Sorted(maps.Keys(t.Meta)) {
		keys, values = append(keys, k), append(values, t.Meta[k])
	}
	meta := arrow.NewMetadata(keys, values)
	return arrow.NewSchema(fields, &meta)
}

// record returns the table as an Arrow record, which the caller releases.
func (t *Table) record(mem memory.Allocator) (arrow.Record, error) {
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	b := array.NewRecordBuilder(mem, t.schema())
	defer b.Release()
	for i, c := range t.Columns {
		switch f := b.Field(i).(type) {
		case *array.StringBuilder:
			f.AppendValues(c.Strings, c.Valid)
		case *array.Float64Builder:
			f.AppendValues(c.Floats, c.Valid)
		case *array.Int64Builder:
			f.AppendValues(c.Ints, c.Valid)
		case *array.BooleanBuilder:
			f.AppendValues(c.Bools, c.Valid)
		case *array.TimestampBuilder:
			v := make([]arrow.Timestamp, len(c.Times))
			for j, x := range c.Times {
				v[j] = arrow.Timestamp(x.UnixMicro())
			}
			f.AppendValues(v, c.Valid)
		}
	}
	return b.NewRecord(), nil
}

// Write writes a table as an Arrow IPC file with one record batch, or none for a table without
// rows.
func Write(w io.Writer, t *Table) error {
	mem := memory.NewGoAllocator()
	r, err := t.record(mem)
	if err != nil {
		return err
	}
	defer r.Release()
	f, err := ipc.NewFileWriter(&seeker{w: w}, ipc.WithSchema(r.Schema()), ipc.WithAllocator(mem))
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	if r.NumRows() > 0 {
		if err := f.Write(r); err != nil {
			return fmt.Errorf("table: %w", errors.Join(err, f.Close()))
		}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	return nil
}

// seeker is an io.WriteSeeker that only reports its position: Arrow's file writer needs no
// more.
type seeker struct {
	w  io.Writer
	at int64
}

func (s *seeker) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.at += int64(n)
	return n, err
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("table: the writer cannot go back")
	}
	return s.at, nil
}

// maxFile is the largest size of a file that ReadFile accepts, in bytes.
const maxFile = 4 << 30

// Read parses an Arrow IPC file whose columns are of this package's kinds, and returns all
// columns or only the named ones. Strings share the memory of b, which must not change. Bytes
// that are not such a file give an error, never a panic.
func Read(b []byte, columns ...string) (t *Table, err error) {
	defer func() { // arrow panics on wrong lengths
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("it is not an intact Arrow file (%v)", p)
		}
	}()
	if err := checkFooter(b); err != nil {
		return nil, fmt.Errorf("it is not an intact Arrow file: %w", err)
	}
	f, err := ipc.NewFileReader(bytes.NewReader(b), ipc.WithAllocator(newBudget(len(b))))
	if err != nil {
		return nil, fmt.Errorf("it is not an intact Arrow file: %w", err)
	}
	defer f.Close()
	t = &Table{Meta: map[string]string{}}
	meta := f.Schema().Metadata()
	for i, k := range meta.Keys() {
		t.Meta[k] = meta.Values()[i]
	}
	for _, field := range f.Schema().Fields() {
		c := &Column{Name: field.Name}
		known := false
		for kind, typ := range arrowType {
			if arrow.TypeEqual(field.Type, typ) {
				c.Kind, known = kind, true
			}
		}
		if !known {
			return nil, fmt.Errorf("column %q is of type %s, which no table of ablate has", field.Name, field.Type)
		}
		get := func(k string) string {
			if i := field.Metadata.FindKey(k); i >= 0 {
				return field.Metadata.Values()[i]
			}
			return ""
		}
		c.Unit, c.Better, c.Range, c.Depends, c.Doc = get("unit"), get("better"), get("range"), get("depends"), get("doc")
		t.Columns = append(t.Columns, c)
	}
	list, err := batches(b)
	if err != nil {
		return nil, fmt.Errorf("it is not an intact Arrow file: %w", err)
	}
	want := func(name string) bool { return len(columns) == 0 || slices.Contains(columns, name) }
	for i := range list {
		for _, c := range t.Columns {
			if err := c.take(&list[i], !want(c.Name)); err != nil {
				return nil, fmt.Errorf("it is not an intact Arrow file: %w", err)
			}
		}
	}
	t.Columns = slices.DeleteFunc(t.Columns, func(c *Column) bool { return !want(c.Name) })
	return t, t.Check()
}

// mapFrom is the size in bytes from which a file is mapped into memory instead of copied.
const mapFrom = 16 << 20

// ReadFile reads a table from a file, all of it or only the named columns. Errors name the
// file.
func ReadFile(path string, columns ...string) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // does not wait for the writer of a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: give the Arrow file that 'ablate run' wrote", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: it has %d bytes, which is more than any table of ablate: give the Arrow file that 'ablate run' wrote", path, info.Size())
	}
	var b []byte
	if info.Size() >= mapFrom {
		b, err = mapped(f, info.Size())
	} else {
		b, err = io.ReadAll(io.LimitReader(f, mapFrom)) // limited, because the file may grow meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := Read(b, columns...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: delete it, and run the study again", path, err)
	}
	return t, nil
}

// WriteFile writes a table atomically: the file is replaced by the complete table, or unchanged
// after an error.
func WriteFile(path string, t *Table) error {
	var b bytes.Buffer
	if err := Write(&b, t); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	dir := filepath.Dir(path)
	if err := leftover.Sweep(dir, "."+filepath.Base(path)); err != nil {
		return err
	}
	return renameio.WriteFile(path, b.Bytes(), 0o666, renameio.WithTempDir(dir))
}
