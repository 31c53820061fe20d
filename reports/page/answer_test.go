package page

import (
	"strings"
	"testing"

	"ablate/analysis/compare"
)

// TestBase: the base is the row of the pretrained model.
func TestBase(t *testing.T) {
	v := view{Report: Report{Table: &compare.Table{Rows: []compare.Row{{Label: "best of 4"}, {Label: "pretrained"}}, Pretrained: "pretrained"}}}
	if b := v.Base(); b == nil || b.Label != "pretrained" {
		t.Errorf("the base is %v, want pretrained", b)
	}
	v.Table.Pretrained = ""
	if b := v.Base(); b != nil {
		t.Errorf("%s is the base of a study without a pretrained model", b.Label)
	}
}

// TestGeneral: a note on one value is not a note on the whole study.
func TestGeneral(t *testing.T) {
	v := view{Report: Report{Table: &compare.Table{Notes: []compare.Note{{Kind: compare.Control}, {Kind: compare.SameParser}},
		Rows: []compare.Row{{Cells: map[string]compare.Cell{"alignment": {Notes: []int{0}}}}}}}}
	if got := v.General(); len(got) != 1 || !strings.Contains(got[0], "One program (the parser) labels") {
		t.Errorf("the study has the notes %q", got)
	}
}
