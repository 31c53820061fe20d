package imported

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/experiments/language"
)

// Row returns the row of the ablation table to which a run belongs, "ARM[axis=value,…]"
// or "ARM", in the form of language.View.
func (r *Results) Row(x Run) string {
	var axes []string
	for i, a := range r.Axes {
		if x.Axes[i] != nil {
			axes = append(axes, a.Name+"="+language.FormatValue(x.Axes[i]))
		}
	}
	if len(axes) == 0 {
		return x.Arm
	}
	return x.Arm + "[" + strings.Join(axes, ",") + "]"
}

// View returns the name of a run, "ARM[axis=value,…]@SEED".
func (r *Results) View(x Run) string { return r.Row(x) + "@" + compare.SeedName(x.Seed) }

// Tables returns the tables of the results. study is the study's name; it is part of the
// trial ids, so that two studies with equal arms and seeds have different trials. trials
// has one row per run, with the columns of trials.arrow. prompts has one row per run,
// metric and prompt, with the sum over the run's samples of the prompt and their number
// n. The error is r.Err() if problems stop the import.
func (r *Results) Tables(study string) (trials, prompts *table.Table, err error) {
	if err := r.Err(); err != nil {
		return nil, nil, err
	}
	n := len(r.Runs)
	trials = &table.Table{Meta: map[string]string{}}
	add := func(c table.Column) *table.Column {
		switch c.Kind {
		case table.String:
			c.Strings = make([]string, n)
		case table.Float:
			c.Floats = make([]float64, n)
		case table.Int:
			c.Ints = make([]int64, n)
		case table.Bool:
			c.Bools = make([]bool, n)
		}
		trials.Columns = append(trials.Columns, &c)
		return &c
	}
	arm := add(table.Column{Name: "arm", Kind: table.String, Doc: "row of the ablation table"})
	view := add(table.Column{Name: "view", Kind: table.String, Doc: "ARM[axis=value,…]@seed"})
	trial := add(table.Column{Name: "trial", Kind: table.String, Doc: "id; equal where views are equal"})
	add(table.Column{Name: "control", Kind: table.Bool})
	var axes, values, counts []*table.Column
	for _, a := range r.Axes {
		axes = append(axes, add(table.Column{Name: a.Name, Kind: a.Kind, Valid: make([]bool, n)}))
	}
	pretraining := add(table.Column{Name: "seed.pretraining", Kind: table.Int})
	feedback := add(table.Column{Name: "seed.feedback", Kind: table.Int})
	for _, m := range r.Metrics {
		values = append(values, add(table.Column{Name: m.Name, Kind: table.Float, Unit: m.Unit, Better: m.Better, Doc: m.Doc, Valid: make([]bool, n)}))
		counts = append(counts, add(table.Column{Name: m.Name + countSuffix, Kind: table.Int, Unit: "samples", Valid: make([]bool, n)}))
	}
	swept := map[string][]string{} // axes that an arm sweeps, by arm
	for _, x := range r.Runs {
		for k, c := range axes {
			if x.Axes[k] != nil && !slices.Contains(swept[x.Arm], c.Name) {
				swept[x.Arm] = append(swept[x.Arm], c.Name)
			}
		}
	}
	compare.SetAxes(trials, swept)
	sums := newPromptTable()
	for i, x := range r.Runs {
		arm.Strings[i], view.Strings[i] = x.Arm, r.View(x)
		id := sha256.Sum256([]byte(study + "\n" + view.Strings[i]))
		trial.Strings[i] = hex.EncodeToString(id[:])
		for k, c := range axes {
			c.Valid[i] = x.Axes[k] != nil
			switch v := x.Axes[k].(type) {
			case string:
				c.Strings[i] = v
			case float64:
				c.Floats[i] = v
			case int64:
				c.Ints[i] = v
			}
		}
		pretraining.Ints[i], feedback.Ints[i] = x.Seed.Pretraining, x.Seed.Feedback
		for k, v := range x.Values {
			if v.Known {
				values[k].Floats[i], values[k].Valid[i] = v.Value, true
				counts[k].Ints[i], counts[k].Valid[i] = v.N, v.N > 0
			}
			for _, p := range v.Prompts {
				sums.add(trial.Strings[i], r.Metrics[k].Name, p, r.Categories)
			}
		}
	}
	return trials, sums.table(), nil
}

// promptTable has the columns of the table prompts.
type promptTable struct{ trial, prompt, category, metric, sum, n *table.Column }

func newPromptTable() *promptTable {
	return &promptTable{
		trial:    &table.Column{Name: "trial", Kind: table.String},
		prompt:   &table.Column{Name: "prompt", Kind: table.String},
		category: &table.Column{Name: "category", Kind: table.String, Valid: []bool{}},
		metric:   &table.Column{Name: "metric", Kind: table.String},
		sum:      &table.Column{Name: "sum", Kind: table.Float, Doc: "over the run's samples of the prompt"},
		n:        &table.Column{Name: "n", Kind: table.Int, Unit: "samples"},
	}
}

func (t *promptTable) add(trial, metric string, p PromptSum, categories map[string]string) {
	category, has := categories[p.Prompt]
	t.trial.Strings, t.prompt.Strings = append(t.trial.Strings, trial), append(t.prompt.Strings, p.Prompt)
	t.category.Strings, t.category.Valid = append(t.category.Strings, category), append(t.category.Valid, has)
	t.metric.Strings = append(t.metric.Strings, metric)
	t.sum.Floats, t.n.Ints = append(t.sum.Floats, p.Sum), append(t.n.Ints, p.N)
}

func (t *promptTable) table() *table.Table {
	return &table.Table{Meta: map[string]string{}, Columns: []*table.Column{t.trial, t.prompt, t.category, t.metric, t.sum, t.n}}
}
