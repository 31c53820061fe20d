// Package table holds a study's results as columns and reads and writes them
// as Arrow IPC files, which pyarrow, pandas and polars read unchanged. Field
// metadata carry unit, better, range, depends and doc. Equal tables give equal
// bytes.
package table

import (
	"fmt"
	"strconv"
	"time"
)

// Kind is the type of a column's values.
type Kind int

// The kinds; each has its own slice in Column.
const (
	String Kind = iota
	Float
	Int
	Bool
	Time
)

// The ranges of a metric. They decide on which scale it is averaged and compared.
const (
	Share    = "share"    // of n samples, from 0 to 1; n is in column NAME.n
	Unit     = "unit"     // from 0 to 1
	Positive = "positive" // above 0, without an upper bound
)

// Column is one column. Valid says which values are there; nil means all.
type Column struct {
	Name   string
	Kind   Kind
	Unit   string // of the values, "share"
	Better string // "higher", "lower" or empty
	Range  string // Share, Unit, Positive, or empty: any number
	// Depends is "n" where a value changes with the number of samples it stands
	// on, column NAME.n, so that values of different numbers are not compared;
	// else empty.
	Depends string
	Doc     string

	Strings []string
	Floats  []float64
	Ints    []int64
	Bools   []bool
	Times   []time.Time
	Valid   []bool
}

// Parse reads a value that a text is known to have: a number of kind Int or Float, else the
// text itself. A text that is no such number gives what strconv makes of it.
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

// Len is the number of values.
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

// Has reports whether value i is there.
func (c *Column) Has(i int) bool { return c.Valid == nil || c.Valid[i] }

// Codes numbers a String column's values in the order in which they come, and
// returns each row's number and the values by number. Grouping by numbers is
// much faster than by strings.
func (c *Column) Codes() (codes []int32, values []string) {
	codes = make([]int32, len(c.Strings))
	number := map[string]int32{}
	last, at := "", int32(-1)
	for i, s := range c.Strings {
		if at < 0 || s != last { // rows of a kind mostly stand together
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

// Value is value i as string, float64, int64, bool or time.Time, nil where it
// is not there.
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

// Table is named columns of equal length.
type Table struct {
	Meta    map[string]string
	Columns []*Column
}

// Rows is the number of rows.
func (t *Table) Rows() int {
	if len(t.Columns) == 0 {
		return 0
	}
	return t.Columns[0].Len()
}

// Column finds a column by its name; nil if there is none.
func (t *Table) Column(name string) *Column {
	for _, c := range t.Columns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Check reports columns that do not fit together.
func (t *Table) Check() error {
	seen := map[string]bool{}
	for _, c := range t.Columns {
		switch {
		case c.Kind < String || c.Kind > Time:
			return fmt.Errorf("column %q is of kind %d, which is none", c.Name, c.Kind)
		case seen[c.Name]:
			return fmt.Errorf("column %q is there twice", c.Name)
		case c.Len() != t.Rows():
			return fmt.Errorf("column %q has %d values, the table %d rows", c.Name, c.Len(), t.Rows())
		case c.Valid != nil && len(c.Valid) != c.Len():
			return fmt.Errorf("column %q has validity of %d of its %d values", c.Name, len(c.Valid), c.Len())
		}
		seen[c.Name] = true
	}
	return nil
}
