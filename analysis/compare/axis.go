package compare

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ablate/analysis/table"
)

// axesKey is the key in the metadata of trials.arrow whose value has the axes of each arm.
const axesKey = "axes"

// SetAxes writes the swept axes of each arm, as names of columns, into the metadata of
// trials.arrow: a JSON object with an array of strings for each arm.
func SetAxes(trials *table.Table, axes map[string][]string) {
	if len(axes) > 0 {
		b, _ := json.Marshal(axes) // of strings, which always can be encoded
		trials.Meta[axesKey] = string(b)
	}
}

// Axes returns the swept axes of each arm that SetAxes wrote; nil where the table has none.
func Axes(trials *table.Table) (map[string][]string, error) {
	text, ok := trials.Meta[axesKey]
	if !ok {
		return nil, nil
	}
	var axes map[string][]string
	if err := json.Unmarshal([]byte(text), &axes); err != nil {
		return nil, fmt.Errorf("trials: the metadata %q must be a JSON object with an array of strings for each arm: %w", axesKey, err)
	}
	return axes, nil
}

// point returns the values of a row on the axes of its arm, without axes that the row does not
// use.
func (b *builder) point(r *grouped) []Value {
	var out []Value
	for _, axis := range b.axes[r.arm] {
		if c := b.columns[axis]; c != nil && c.Has(r.views[0]) {
			out = append(out, Value{axis, valueText(c.Value(r.views[0]))})
		}
	}
	return out
}

// without returns a name of the row from its arm and its values on all axes but one.
func (r Row) without(axis string) string {
	var parts []string
	for _, v := range r.Point {
		if v.Axis != axis {
			parts = append(parts, v.Axis+"="+v.Value)
		}
	}
	name := Row{Label: r.Arm, Control: r.Control}
	if parts != nil {
		name.Label += "[" + strings.Join(parts, ",") + "]"
	}
	return name.Name()
}

// valueText formats a value; a number as the shortest decimal that parses to the same number.
func valueText(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}
