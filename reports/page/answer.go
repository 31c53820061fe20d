package page

import (
	"slices"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// answer returns the paragraphs of a study's answer.
func answer(t *compare.Table) []string {
	list := format.Answer(t)
	if t.Answer.Named != nil {
		list = append(list, format.Front(t))
		if o := t.OverOptimization; o != nil && o.Rows > 0 {
			list = append(list, format.OverOptimization(o))
		}
		list = append(list, format.Scope(t))
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}
