package report

import (
	_ "embed"
	"strings"
)

//go:embed methods.txt
var methodsText string

// methods are the paragraphs about the shapes world that every report has.
func methods() []string {
	var out []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(methodsText), "\n\n") {
		out = append(out, strings.ReplaceAll(paragraph, "\n", " "))
	}
	return out
}
