package result

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/stage"
)

// An EngineUsed is an engine that computed results of a study, for people.
type EngineUsed struct {
	Name        string
	Program     string   // the program's own name and version
	Verbs       []string // what it computed: "sample (revision 1)"
	Sources     []string // short digests of the files that made the results; "not known" without results
	Environment string   // "Python 3.11.7, 12 packages"
	Packages    []string // "NAME==VERSION"
}

// EnginesUsed returns the engines of the study that compute some of its actions.
func (r *Result) EnginesUsed() (used []EngineUsed, err error) {
	for _, declared := range r.Project.Study.Engines {
		e := EngineUsed{Name: declared.Name}
		environments := map[string]bool{}
		for _, a := range r.Project.Graph.Actions {
			if stage.EngineOf(a.Params) != e.Name {
				continue
			}
			if verb := a.Kind.Def().Verb; !slices.Contains(e.Verbs, verb) {
				e.Verbs = append(e.Verbs, verb)
			}
			made := r.madeOf(a)
			for _, d := range stage.MadeOf(made, stage.MadeSource) {
				if d = d[:min(12, len(d))]; !slices.Contains(e.Sources, d) {
					e.Sources = append(e.Sources, d)
				}
			}
			for _, d := range stage.MadeOf(made, stage.MadePackages) {
				environments[d] = true
			}
		}
		if e.Verbs == nil {
			continue
		}
		d, err := r.Project.Describe(context.Background(), e.Name) // descriptions are cached
		if err != nil {
			return nil, err
		}
		about := d.Description
		e.Program = strings.TrimSpace(about.Name + " " + about.Version)
		for i, verb := range e.Verbs {
			e.Verbs[i] = fmt.Sprintf("%s (revision %d)", verb, about.Verbs[verb].Revision)
		}
		slices.Sort(e.Verbs)
		slices.Sort(e.Sources)
		if e.Sources == nil {
			e.Sources = []string{"not known"}
		}
		e.Packages = about.Environment.Packages
		if e.Environment = phrase.Count(len(e.Packages), "package"); about.Environment.Python != "" {
			e.Environment = "Python " + about.Environment.Python + ", " + e.Environment
		}
		if delete(environments, about.Environment.Digest()); len(environments) > 0 {
			e.Environment += " as it is now; results were also made with others"
		}
		used = append(used, e)
	}
	return used, nil
}

// madeOf returns how an engine made the result of an action; empty without a result.
func (r *Result) madeOf(a *layout.Action) string {
	if r.Found == nil {
		return ""
	}
	out, _ := r.Found.Get(a)
	return out.Made
}

// measuring returns notes on what judges the images of a study on engines, and on what fidelity is
// measured.
func (r *Result) measuring() (notes []compare.Note) {
	add := func(n compare.Note) {
		same := func(o compare.Note) bool { return o.Kind == n.Kind && o.N == n.N && slices.Equal(o.Names, n.Names) }
		if !slices.ContainsFunc(notes, same) {
			notes = append(notes, n)
		}
	}
	for _, j := range r.Project.Study.Judges {
		add(compare.Note{Kind: compare.Beside, Names: []string{j.Name, j.Engine, j.Column}})
	}
	for _, v := range r.Project.Study.Views {
		t, c := v.Trial.Content, r.Project.Graph.Chains[v.Trial.ID()]
		if name := t.Name("evaluate.gold.engine"); name != "" {
			n := compare.Note{Kind: compare.Judged, Names: []string{name, t.Name("evaluate.gold.column")}}
			if r.Project.Study.GoldColumn(t).Kind == "real" {
				n.Kind = compare.Graded
			}
			add(n)
		}
		if c.Action(layout.Labels) != nil {
			add(compare.Note{Kind: compare.Labelled})
		}
		a := c.Action(layout.Fidelity)
		real := embeddings(a)
		if real == nil {
			continue
		}
		n := compare.Note{Kind: compare.Features, Names: []string{t.Name("evaluate.features.engine"), t.Name("evaluate.reference")}}
		about := map[string]string{}
		for _, in := range real {
			n.N += in.Params.(stage.EngineEmbedParams).Images
			for _, text := range stage.MadeOf(r.madeOf(in), stage.MadeFacts) {
				var facts map[string]any
				_ = json.Unmarshal([]byte(text), &facts) // facts that are no object are not shown
				for k, x := range facts {
					switch x.(type) {
					case string, float64, bool:
						about[k] = fmt.Sprint(x)
					}
				}
			}
		}
		for _, p := range t.Params("evaluate.features.params") {
			about[p.Path] = fmt.Sprint(p.Value)
		}
		for _, k := range slices.Sorted(maps.Keys(about)) {
			n.Names = append(n.Names, k+" "+about[k])
		}
		add(n)
	}
	slices.SortStableFunc(notes, func(a, b compare.Note) int { return cmp.Compare(a.Kind, b.Kind) })
	return notes
}

// embeddings returns the actions that computed the features of the real images with which an action
// compares, nil if no engine computed them.
func embeddings(a *layout.Action) (list []*layout.Action) {
	if a == nil || !slices.Contains(a.Reads, stage.ReferenceInput) {
		return nil
	}
	of := a.Inputs[slices.Index(a.Reads, stage.ReferenceInput)]
	for _, x := range append([]*layout.Action{of}, of.Inputs...) { // one for the whole list, or one for each part
		if _, ok := x.Params.(stage.EngineEmbedParams); ok {
			list = append(list, x)
		}
	}
	return list
}
