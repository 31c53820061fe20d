package imported

import (
	"regexp"
	"strconv"

	"ablate/analysis/table"
)

// axisPrefix begins the name of a column that is an axis.
const axisPrefix = "axis."

// axisName is the pattern of an axis' name, which a view has before "=".
var axisName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/-]*$`)

// axisKind is the kind of a column that has the canonical texts of an axis' values.
func axisKind(texts []string) table.Kind {
	kind := table.Int
	for _, s := range texts {
		if _, err := strconv.ParseInt(s, 10, 64); err == nil {
			continue
		}
		if !numeral.MatchString(s) {
			return table.String
		}
		if x, err := strconv.ParseFloat(s, 64); err != nil || !finite(x) {
			return table.String
		}
		kind = table.Float
	}
	return kind
}

// axisOf is the value of an axis, nil where the text is empty.
func axisOf(kind table.Kind, text string) any {
	if text == "" {
		return nil
	}
	return table.Parse(kind, text)
}
