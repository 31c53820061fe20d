package page

import (
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// TestBestOfAlone: the report of a study without fine-tunings does not mention them.
func TestBestOfAlone(t *testing.T) {
	cell := compare.Cell{Mean: .5, Seeds: []string{"1", "2", "3"}, Values: []float64{.4, .5, .6}, Images: 64}
	tab := &compare.Table{Rows: []compare.Row{{Arm: "best", Label: "best", Trials: []string{"x", "y", "z"}, Seeds: cell.Seeds, Cells: map[string]compare.Cell{"alignment": cell, "proxy": cell}}}}
	r := Report{Table: tab, Trials: &table.Table{Columns: []*table.Column{{Name: "trial", Kind: table.String, Strings: []string{"x", "y", "z"}},
		{Name: "finetune.method", Kind: table.String, Strings: []string{"none", "none", "none"}}, {Name: "evaluate.bestOf", Kind: table.Int, Ints: []int64{4, 4, 4}}}}}
	list := r.overOptimization()
	if len(list) != 1 {
		t.Fatalf("%d figures", len(list))
	}
	for said, want := range map[string]bool{"(3 seeds a point, 64 images a seed; a panel an arm)": true, "not to be compared with the distance of a fine-tuning": true, "probe": false, "significant": false} {
		if strings.Contains(list[0].Caption, said) != want {
			t.Errorf("%q in the caption: %v, want %v\n%s", said, !want, want, list[0].Caption)
		}
	}
	if (Report{Table: tab}).overOptimization() != nil {
		t.Error("a figure of nothing")
	}
}
