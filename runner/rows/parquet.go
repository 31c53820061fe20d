package rows

import (
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"ablate/analysis/table"
	"ablate/runner/phrase"
)

// mostParquet is the largest size of a Parquet file in bytes.
const mostParquet = 2 << 30

// Parquet reads the rows of a Parquet file. The line of a row is its number, from 1.
type Parquet struct {
	Left  []string // names of columns that are not read, or whose type is not supported
	t     *table.Table
	names []string
	cells []string
	row   int
}

// OpenParquet reads a file, only the named columns where any are named.
func OpenParquet(path string, columns ...string) (*Parquet, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > mostParquet {
		return nil, &Wrong{"it has " + phrase.Bytes(info.Size()), "Parquet files up to " + phrase.Bytes(mostParquet), "write several files"}
	}
	return newParquet(table.ReadParquetFile(path, columns...))
}

// NewParquet reads the bytes of a file.
func NewParquet(b []byte, columns ...string) (*Parquet, error) {
	return newParquet(table.ReadParquet(b, columns...))
}

func newParquet(t *table.Table, left []string, err error) (*Parquet, error) {
	if err != nil {
		return nil, &Wrong{err.Error(), "a Parquet file of flat columns", "write it again"}
	}
	p := &Parquet{t: t, Left: left, cells: make([]string, len(t.Columns))}
	for _, c := range t.Columns {
		p.names = append(p.names, c.Name)
	}
	return p, nil
}

// Header implements Reader.
func (p *Parquet) Header() []string { return p.names }

// Next implements Reader.
func (p *Parquet) Next() ([]string, int, error) {
	if p.row == p.t.Rows() {
		return nil, p.row, io.EOF
	}
	for i, c := range p.t.Columns {
		p.cells[i] = Text(c, p.row)
	}
	p.row++
	return p.cells, p.row, nil
}

// Text returns a value as a CSV file would have it.
func Text(c *table.Column, row int) string {
	if !c.Has(row) {
		return ""
	}
	switch c.Kind {
	case table.String:
		return c.Strings[row]
	case table.Float:
		x := c.Floats[row]
		if x == math.Trunc(x) && math.Abs(x) < 1<<53 { // pandas stores whole numbers as floats if one of them is missing
			return strconv.FormatInt(int64(x), 10)
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	case table.Int:
		return strconv.FormatInt(c.Ints[row], 10)
	case table.Bool:
		return strconv.FormatBool(c.Bools[row])
	}
	return c.Times[row].Format(time.RFC3339Nano)
}
