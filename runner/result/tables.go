package result

import (
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// Tables are the tables of a study's results. They depend on the study alone, and not on
// when and where it ran.
type Tables struct{ Trials, Samples, Curves, Labels, Reliability *table.Table }

// NewTables makes the tables from the results that were found. Missing results are null.
// The project must have its graph (project.LayOut).
func NewTables(p project.Project, found *lookup.Found) (*Tables, error) {
	s, g := p.Study, p.Graph
	t := &Tables{
		Trials:  &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
		Samples: &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}}, Curves: &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
		Labels:      &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
		Reliability: &table.Table{Meta: map[string]string{"study": s.Name, "schema": "1"}},
	}
	r := &reader{found: found, prompts: map[*layout.Action][]stage.Prompt{}}
	if err := t.trials(p, r); err != nil {
		return nil, err
	}
	seen := map[language.ID]bool{}
	numbers, _ := s.JudgedBy()
	samples, curves, labels := newSamples(t.Samples, numbers, s.Judges), newCurves(t.Curves), newLabels(t.Labels)
	reliability := newReliability(t.Reliability)
	written := map[*layout.Action]bool{} // actions whose labels are in the table already, because trials share them
	for _, v := range s.Views {
		id := v.Trial.ID()
		c, ok := g.Chains[id]
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		trial := id.String()
		if err := samples.add(trial, c, r); err != nil {
			return nil, err
		}
		if err := curves.add(trial, c, r); err != nil {
			return nil, err
		}
		if err := reliability.add(id, c, found); err != nil {
			return nil, err
		}
		if a := c.Action(layout.Labels); a != nil && !written[a] {
			written[a] = true
			if err := labels.add(v.Trial.Seed, c, found); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}
