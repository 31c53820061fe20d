// Package rows reads files of rows, which are CSV, JSON, JSONL or Parquet, with the line of
// each row and limits on sizes.
package rows

import (
	"bytes"
	"fmt"
)

// Reader reads a file with a header and rows. Cells are texts; an empty cell is a missing
// value.
type Reader interface {
	Header() []string
	// Next returns the cells and the line of the next row. The cells are valid until the
	// next call. After an error of type *Wrong, reading continues with the next row.
	// io.EOF or any other error ends it.
	Next() (cells []string, line int, err error)
}

// Wrong is an error about a row or a file, with the allowed values and advice.
type Wrong struct{ What, Allowed, Do string }

func (w *Wrong) Error() string { return fmt.Sprintf("%s; allowed: %s; %s", w.What, w.Allowed, w.Do) }

// BOM is the byte order mark with which some spreadsheet programs begin a file.
var BOM = []byte("\ufeff")

// FirstLine returns the first line of b, without its end.
func FirstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line
}
