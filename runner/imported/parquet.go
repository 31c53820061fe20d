package imported

import (
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"ablate/analysis/table"
	"ablate/runner/phrase"
)

// mostParquet is the largest size of a Parquet file in bytes. The whole file is read into
// memory.
const mostParquet = 2 << 30

// parquetRows reads the rows of a Parquet file. The line of a row is its number, from 1.
type parquetRows struct {
	t     *table.Table
	left  []string // names of columns whose type is not supported
	names []string
	cells []string
	row   int
}

func openParquet(path string) (*parquetRows, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > mostParquet {
		return nil, &wrong{"it has " + phrase.Bytes(info.Size()), "Parquet files up to " + phrase.Bytes(mostParquet), "write several files"}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return newParquet(b)
}

func newParquet(b []byte) (*parquetRows, error) {
	t, left, err := table.ReadParquet(b)
	if err != nil {
		return nil, &wrong{err.Error(), "a Parquet file of flat columns", "write it again"}
	}
	p := &parquetRows{t: t, left: left, cells: make([]string, len(t.Columns))}
	for _, c := range t.Columns {
		p.names = append(p.names, c.Name)
	}
	return p, nil
}

func (p *parquetRows) header() []string { return p.names }

func (p *parquetRows) next() ([]string, int, error) {
	if p.row == p.t.Rows() {
		return nil, p.row, io.EOF
	}
	for i, c := range p.t.Columns {
		p.cells[i] = text(c, p.row)
	}
	p.row++
	return p.cells, p.row, nil
}

// text returns a value as a CSV file would have it.
func text(c *table.Column, row int) string {
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
