// Package table is the format of a study's results: typed columns of equal length with missing
// values, written and read as Arrow IPC files, which pyarrow, pandas and polars read unchanged.
// It also exports tables as Parquet, CSV and JSON, and reads the Parquet files of other
// programs. The metadata of a field are the unit, direction, range, dependence and description
// of its column. Equal tables give equal bytes.
package table

import (
	"fmt"
	"strconv"
	"time"
)

// Kind is the type of a column's values.
type Kind int

// The kinds. The values of each are in a separate slice of Column.
const (
	String Kind = iota
	Float
	Int
	Bool
	Time
)

// Within01 reports whether a range of values lies within [0, 1].
func Within01(of string) bool { return of == Share || of == Mean || of == Unit }

// The ranges of a metric's values. They decide on which scale these are averaged and compared.
const (
	Share    = "share"    // a share of n samples, in [0, 1]; n is in the column NAME.n
	Mean     = "mean"     // a mean of n numbers in [0, 1]; n is in the column NAME.n
	Unit     = "unit"     // in [0, 1], without a number of samples
	Positive = "positive" // above 0
)

// Column is a column of a table. The slice of its Kind has its values.
type Column struct {
	Name   string
	Kind   Kind
	Unit   string // unit of the values, such as "share"
	Better string // "higher", "lower" or empty
	Range  string // Share, Mean, Unit or Positive; empty: any number
	// Depends is "n" where values depend on their number of samples, in the column NAME.n, so
	// that values of different numbers of samples are not compared; else empty.
	Depends string
	Doc     string // description of the column

	Strings []string
	Floats  []float64
	Ints    []int64
	Bools   []bool
	Times   []time.Time
	Valid   []bool // false where a value is missing; nil: none is missing
}

// Parse returns a text as a value of a kind: int64 for Int, float64 for Float, else the text
// itself. A text that is not such a number gives the result of strconv without its error.
func Parse(kind Kind, text string) any {
	switch kind {
	case Int:
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	case Float:
		x, _ := strconv.ParseFloat(text, 64)
		return x
	}
	return text
}

// Len returns the number of values, missing ones included.
func (c *Column) Len() int {
	switch c.Kind {
	case String:
		return len(c.Strings)
	case Float:
		return len(c.Floats)
	case Int:
		return len(c.Ints)
	case Bool:
		return len(c.Bools)
	}
	return len(c.Times)
}

// Has reports whether value i is not missing.
func (c *Column) Has(i int) bool { return c.Valid == nil || c.Valid[i] }

// Codes numbers the distinct values of a String column in the order of their first rows, and
// returns each row's number and the values by number. Grouping by numbers is much faster than
// by strings.
func (c *Column) Codes() (codes []int32, values []string) {
	codes = make([]int32, len(c.Strings))
	number := map[string]int32{}
	last, at := "", int32(-1)
	for i, s := range c.Strings {
		if at < 0 || s != last { // equal values are mostly adjacent
			var ok bool
			if at, ok = number[s]; !ok {
				at = int32(len(values))
				number[s], values = at, append(values, s)
			}
			last = s
		}
		codes[i] = at
	}
	return codes, values
}

// Value returns value i as string, float64, int64, bool or time.Time, or nil where it is
// missing.
func (c *Column) Value(i int) any {
	if !c.Has(i) {
		return nil
	}
	switch c.Kind {
	case String:
		return c.Strings[i]
	case Float:
		return c.Floats[i]
	case Int:
		return c.Ints[i]
	case Bool:
		return c.Bools[i]
	}
	return c.Times[i]
}

// Table is a list of named columns of equal length, with metadata.
type Table struct {
	Meta    map[string]string
	Columns []*Column
}

// Rows returns the number of rows.
func (t *Table) Rows() int {
	if len(t.Columns) == 0 {
		return 0
	}
	return t.Columns[0].Len()
}

// Column returns the column with a name, or nil if there is none.
func (t *Table) Column(name string) *Column {
	for _, c := range t.Columns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Check returns an error for a column of an unknown kind, with a repeated name, or of another
// length than the first column.
func (t *Table) Check() error {
	seen := map[string]bool{}
	for _, c := range t.Columns {
		switch {
		case c.Kind < String || c.Kind > Time:
			return fmt.Errorf("column %q has the unknown kind %d", c.Name, c.Kind)
		case seen[c.Name]:
			return fmt.Errorf("column %q is repeated: names of columns must differ", c.Name)
		case c.Len() != t.Rows():
			return fmt.Errorf("column %q has %d values, and the table %d rows: these must be equal", c.Name, c.Len(), t.Rows())
		case c.Valid != nil && len(c.Valid) != c.Len():
			return fmt.Errorf("column %q has validity bits for %d of its %d values", c.Name, len(c.Valid), c.Len())
		}
		seen[c.Name] = true
	}
	return nil
}
