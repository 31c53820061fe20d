package table

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// CSV writes a table as RFC 4180 describes, with a header. Missing values are empty.
func CSV(w io.Writer, t *Table) error {
	c := csv.NewWriter(w)
	row := make([]string, len(t.Columns))
	for i, col := range t.Columns {
		row[i] = col.Name
	}
	if err := c.Write(row); err != nil {
		return err
	}
	for i := range t.Rows() {
		for j, col := range t.Columns {
			switch v := col.Value(i).(type) {
			case nil:
				row[j] = ""
			case float64:
				row[j] = strconv.FormatFloat(v, 'g', -1, 64)
			case time.Time:
				row[j] = v.UTC().Format(time.RFC3339Nano)
			default:
				row[j] = fmt.Sprint(v)
			}
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// JSON writes a table as an array of objects with fields in the order of columns. Missing
// values and numbers that are not finite are null.
func JSON(w io.Writer, t *Table) error {
	var b []byte
	b = append(b, '[')
	for i := range t.Rows() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n  {"...)
		for j, col := range t.Columns {
			if j > 0 {
				b = append(b, ", "...)
			}
			v := col.Value(i)
			if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
				v = nil
			}
			name, err := json.Marshal(col.Name)
			if err != nil {
				return err
			}
			value, err := json.Marshal(v)
			if err != nil {
				return err
			}
			b = append(append(append(b, name...), ": "...), value...)
		}
		b = append(b, '}')
	}
	_, err := w.Write(append(b, "\n]\n"...))
	return err
}
