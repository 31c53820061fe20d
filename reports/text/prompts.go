package text

import (
	"ablate/analysis/compare"
	"ablate/analysis/table"
)

// Prompts is what rows win and lose against the reference, with one line a row and prompt.
func Prompts(t *compare.Table, x *compare.Exchanges) *table.Table {
	out := &table.Table{Meta: map[string]string{"reference": x.Reference}}
	column := func(name string, kind table.Kind, doc string) *table.Column {
		c := &table.Column{Name: name, Kind: kind, Doc: doc}
		out.Columns = append(out.Columns, c)
		return c
	}
	row, prompt, category := column("row", table.String, "arm and point"), column("prompt", table.String, "its text"), column("category", table.String, "of the prompt")
	seen := column("seen", table.Bool, "a training may have used the prompt")
	pairs := column("pairs", table.Int, "pairs of images of the same seed, prompt and noise: the row's and the reference's")
	won, lost := column("won", table.Int, "pairs of which the gold calls the row's image alone good"), column("lost", table.Int, "pairs of which it calls the reference's image alone good")
	better, worse := column("seeds.better", table.Int, "seeds in which the row wins more pairs than it loses"), column("seeds.worse", table.Int, "seeds in which it loses more")
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
