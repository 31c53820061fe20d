package report

import (
	"slices"

	"ablate/analysis/compare"
	"ablate/reports/format"
	"ablate/reports/page"
	"ablate/runner/result"
)

// engines adds the engines of a study, each with the notes on it, and its gold.
func engines(rep *page.Report, r *result.Result) {
	used, err := r.EnginesUsed()
	if err != nil {
		return // Compare has reported it
	}
	for _, e := range used {
		p := page.Engine{Name: e.Name, Program: e.Program, Verbs: e.Verbs, Sources: e.Sources, Environment: e.Environment, Packages: e.Packages}
		for _, n := range r.Ablation.Notes {
			if about := []compare.Kind{compare.Unprobed, compare.Refuted, compare.Mixed}; slices.Contains(about, n.Kind) && n.Names[0] == e.Name {
				p.Notes = append(p.Notes, format.Note(n))
			}
		}
		rep.Engines = append(rep.Engines, p)
	}
	for _, n := range r.Ablation.Notes {
		if (n.Kind == compare.Judged || n.Kind == compare.Graded) && rep.Judge == "" {
			rep.Judge = "column " + n.Names[1] + " of engine " + n.Names[0]
		}
	}
}
