package table

import (
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// Parquet writes a table as a Parquet file, compressed with zstd, that duckdb and
// others read directly. Field metadata are kept in the Arrow schema that the
// file carries. Equal tables give equal bytes.
func Parquet(w io.Writer, t *Table) error {
	r, err := t.record(memory.NewGoAllocator())
	if err != nil {
		return err
	}
	defer r.Release()
	at := array.NewTableFromRecords(r.Schema(), []arrow.Record{r})
	defer at.Release()
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("ablate"))
	// The writer closes what can be closed, and w is the caller's.
	if err := pqarrow.WriteTable(at, struct{ io.Writer }{w}, max(r.NumRows(), 1), props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema())); err != nil {
		return fmt.Errorf("table: parquet: %w", err)
	}
	return nil
}
