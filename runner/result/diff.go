package result

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/plan"
)

// Diff compares the results with those of name: a baseline, a folder of results, or a
// study, which load reads.
func (r *Result) Diff(name string, load func(study string) (*Result, error)) (*compare.Diff, error) {
	b, other, err := readSide(name, load)
	if err != nil {
		return nil, err
	}
	a := r.side()
	if a.Name == b.Name {
		a.Name, b.Name = a.Name+" (A)", b.Name+" (B)"
	}
	d, err := compare.NewDiff(a, b, r.Options)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(d.Rows, func(row compare.DiffRow) bool { return len(row.Values) > 0 }) {
		return nil, fmt.Errorf("no row has a result in both %s and %s: run 'ablate run' first", a.Name, b.Name)
	}
	if other != nil && r.Project.Graph != nil && other.Project.Graph != nil {
		d.Actions = actions(d, r, other)
	}
	return d, nil
}

// side returns the results as one side of a comparison.
func (r *Result) side() compare.Side {
	s := compare.Side{Name: r.Project.Study.Name, Trials: r.Tables.Trials, Samples: r.Tables.Samples}
	if r.Project.Study.Imported == nil {
		s.Parameters = parameters(r.Project.Study.Axes())
	}
	return s
}

// parameters returns the names of the columns of trials.arrow that are parameters.
func parameters(axes []language.Axis) (names []string) {
	for _, a := range axes {
		names = append(names, a.Path)
	}
	return names
}

// readSide reads the side of a comparison that name stands for. For a study it also
// returns its results.
func readSide(name string, load func(study string) (*Result, error)) (compare.Side, *Result, error) {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() && strings.HasSuffix(name, ".json") {
		b, err := ReadBaseline(name)
		if err != nil {
			return compare.Side{}, nil, err
		}
		return compare.Side{Name: "baseline of " + b.Study, Trials: b.Trials()}, nil, nil
	}
	if _, err := os.Stat(filepath.Join(name, "trials.arrow")); err == nil {
		s, err := folder(name)
		return s, nil, err
	}
	r, err := load(name)
	if err != nil {
		return compare.Side{}, nil, err
	}
	return r.side(), r, nil
}

// folder reads the tables that a run wrote into a folder of results.
func folder(dir string) (compare.Side, error) {
	var in [2]*table.Table
	for i, file := range []string{"trials.arrow", "samples.arrow"} {
		var err error
		if in[i], err = table.ReadFile(filepath.Join(dir, file)); err != nil {
			return compare.Side{}, err
		}
	}
	return compare.Side{Name: in[0].Meta["study"] + " in " + filepath.Base(dir), Trials: in[0], Samples: in[1], Parameters: parameters(language.Axes())}, nil
}

// actions returns the stages in whose keys the rows of a comparison differ. Stages with
// the same differences are merged.
func actions(d *compare.Diff, a, b *Result) []compare.Action {
	first := func(r *Result) map[string]language.View {
		out := map[string]language.View{}
		for _, v := range r.Project.Study.Views {
			if _, ok := out[v.Row()]; !ok {
				out[v.Row()] = v
			}
		}
		return out
	}
	viewsA, viewsB := first(a), first(b)
	out := []compare.Action{}
	index := map[string]int{}
	for _, row := range d.Rows {
		mine, theirs := a.Project.Graph.Chains[viewsA[row.Row].Trial.ID()], b.Project.Graph.Chains[viewsB[row.Row].Trial.ID()]
		type pair struct {
			stage string
			a, b  *layout.Action
		}
		var pairs []pair
		for _, role := range layout.Roles() {
			pairs = append(pairs, pair{role.String(), mine.Action(role), theirs.Action(role)})
		}
		judgesA, judgesB := judgements(a.Project.Study, mine), judgements(b.Project.Study, theirs)
		for _, j := range slices.Concat(a.Project.Study.Judges, b.Project.Study.Judges) {
			p := pair{j.Metric(), judgesA[j.Name], judgesB[j.Name]}
			if !slices.Contains(pairs, p) {
				pairs = append(pairs, p)
			}
		}
		for _, of := range pairs {
			x := compare.Action{Stage: of.stage, Rows: []string{row.Row}}
			switch p, q := of.a, of.b; {
			case p == nil && q == nil, p != nil && q != nil && p.Name == q.Name:
				continue
			case q == nil:
				x.Only = d.A
			case p == nil:
				x.Only = d.B
			default:
				for _, l := range plan.Between(q, p) {
					x.Settings = append(x.Settings, compare.Setting{Path: l.Path(), A: l.New, B: l.Old})
				}
				if len(x.Settings) == 0 && viewsA[row.Row].Trial.Seed != viewsB[row.Row].Trial.Seed {
					continue // only the seeds differ
				}
			}
			key := fmt.Sprint(x.Stage, x.Only, x.Settings)
			i, ok := index[key]
			if !ok {
				index[key] = len(out)
				out = append(out, x)
				continue
			}
			out[i].Rows = append(out[i].Rows, row.Row)
		}
	}
	return out
}

// judgements returns the actions of a trial that a study's judges have, by the judge's name.
func judgements(s *language.Study, c layout.Chain) map[string]*layout.Action {
	out := map[string]*layout.Action{}
	for k, a := range c.All(layout.Judgements) {
		out[s.Judges[k].Name] = a
	}
	return out
}
