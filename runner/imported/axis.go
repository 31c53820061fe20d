package imported

import (
	"regexp"
	"strconv"

	"ablate/analysis/table"
)

// axisPrefix begins the name of a column with the values of an axis.
const axisPrefix = "axis."

// axisName matches valid names of axes. The name of a view has them before "=".
var axisName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/-]*$`)

// axisKind returns the kind of the column of an axis with these canonical values.
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

// axisOf converts the canonical text of an axis value to kind. It is nil if the text is
// empty.
func axisOf(kind table.Kind, text string) any {
	if text == "" {
		return nil
	}
	return table.Parse(kind, text)
}
