package text_test

import (
	"bytes"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/text"
)

// TestPrompts: one line a row and prompt, with the names of both.
func TestPrompts(t *testing.T) {
	var b bytes.Buffer
	err := table.CSV(&b, text.Prompts(&compare.Table{Rows: []compare.Row{{Label: "base"}, {Label: "more"}}}, &compare.Exchanges{Reference: "base",
		Prompts: []compare.Prompt{{Text: "one bar", Category: "count", Seen: true}, {Text: "red, round", Category: "colour"}},
		Rows:    []compare.Exchange{{Row: 1, Counts: []compare.Count{{Pairs: 6, Won: 3, Lost: 1, Better: 2, Worse: 1}, {Pairs: 4, Lost: 2, Worse: 1}}}}}))
	if err != nil {
		t.Fatal(err)
	}
	want := "row,prompt,category,seen,pairs,won,lost,seeds.better,seeds.worse\nmore,one bar,count,true,6,3,1,2,1\nmore,\"red, round\",colour,false,4,0,2,0,1\n"
	if b.String() != want {
		t.Errorf("it has\n%swant\n%s", b.String(), want)
	}
}
