package text

import (
	"fmt"

	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// Prompts returns what rows win and lose against the reference, with one line per row and
// prompt.
func Prompts(t *compare.Table, x *compare.Exchanges) *table.Table {
	out := &table.Table{Meta: map[string]string{"reference": x.Reference}}
	column := func(name string, kind table.Kind, doc string) *table.Column {
		c := &table.Column{Name: name, Kind: kind, Doc: doc}
		out.Columns = append(out.Columns, c)
		return c
	}
	row, prompt, category := column("row", table.String, "arm and point, as in the ablation table"), column("prompt", table.String, "text of the prompt"), column("category", table.String, "category of the prompt")
	seen := column("seen", table.Bool, "a training may have used the prompt")
	pairs := column("pairs", table.Int, "number of pairs of an image of the row and one of the reference, of the same seed, prompt and noise")
	wins := "number of pairs in which the gold calls only the %s's image good"
	if x.Numbers {
		wins = "number of pairs in which the gold gives the %s's image the higher number"
	}
	won, lost := column("won", table.Int, fmt.Sprintf(wins, "row")), column("lost", table.Int, fmt.Sprintf(wins, "reference"))
	better, worse := column("seeds.better", table.Int, "number of seeds in which the row wins more pairs than it loses"), column("seeds.worse", table.Int, "number of seeds in which the row loses more pairs than it wins")
	for _, e := range x.Rows {
		for i, c := range e.Counts {
			row.Strings, prompt.Strings = append(row.Strings, t.Rows[e.Row].Label), append(prompt.Strings, x.Prompts[i].Text)
			category.Strings, seen.Bools = append(category.Strings, x.Prompts[i].Category), append(seen.Bools, x.Prompts[i].Seen)
			for _, v := range []struct {
				column *table.Column
				n      int
			}{{pairs, c.Pairs}, {won, c.Won}, {lost, c.Lost}, {better, c.Better}, {worse, c.Worse}} {
				v.column.Ints = append(v.column.Ints, int64(v.n))
			}
		}
	}
	return out
}
