// Package report collects the contents of a study's HTML report from its results:
// parameters, pictures, failures, and which programs ran on which machines. reports/page
// renders them.
package report

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"strings"

	"ablate/reports/page"
	"ablate/runner/layout"
	"ablate/runner/result"
	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/world"
)

// New returns the contents of the report of a study's results.
func New(ctx context.Context, r *result.Result) page.Report {
	s := r.Project.Study
	if s.Imported != nil {
		return ofImported(ctx, r)
	}
	rep := page.Report{
		Name: s.Name, Title: s.Title, Question: s.Question, Table: r.Ablation, Samples: r.Tables.Samples, Curves: r.Tables.Curves,
		Trials: r.Tables.Trials, Reliability: r.Tables.Reliability, ProbeImages: r.Project.Study.Base.Whole("finetune.probeImages"),
		Methods: methods(r), Failures: failures(r), Provenance: provenance(r), Parameters: parameters(r), Image: Pictures(ctx, r),
		Exchanges: r.Images.Exchanges(r.Ablation), Photographs: len(s.Engines) > 0, People: compared(ctx, r),
	}
	if rep.Photographs {
		engines(&rep, r)
	}
	for _, seed := range s.Seeds {
		rep.Seeds = append(rep.Seeds, seed.String())
	}
	return rep
}

// Write writes a report into the study's folder of results, and returns the path of its
// page.
func Write(r *result.Result, rep page.Report) (string, error) {
	path, err := page.Write(filepath.Join(r.Project.Dir, "report"), rep)
	return path, r.Project.Store.Diagnose(err)
}

// parameters returns, for each row of the table, its trials and their parameters.
func parameters(r *result.Result) []page.Parameters {
	var out []page.Parameters
	byRow := map[string]int{}
	for _, v := range r.Project.Study.Views {
		row := v.Row()
		i, ok := byRow[row]
		if !ok {
			i = len(out)
			byRow[row] = i
			out = append(out, page.Parameters{Label: row, Lines: v.Trial.Content.Lines()})
		}
		out[i].Trials = append(out[i].Trials, page.Trial{View: v.String(), ID: v.Trial.ID().String()})
	}
	return out
}

// Pictures returns a function that returns an image of a trial's model, and nil for one that the store does not have. The function
// reads each set of images only once.
func Pictures(ctx context.Context, r *result.Result) func(trial, set string, index int) (image.Image, error) {
	chains := map[string]layout.Chain{}
	for id, c := range r.Project.Graph.Chains {
		chains[id.String()] = c
	}
	type key struct{ trial, set string }
	type files struct {
		dir      string
		pictures []stage.Picture
	}
	read, drawn := map[key][]uint8{}, map[key]files{}
	return func(trial, set string, index int) (image.Image, error) {
		k := key{trial, set}
		if read[k] == nil && drawn[k].pictures == nil {
			role := layout.AlignmentImages
			if set == result.Fidelity {
				role = layout.FidelityImages
			}
			dir, err := r.Found.Verified(ctx, r.Project.Store, chains[trial].Action(role))
			if err != nil || dir == "" {
				return nil, err
			}
			if stage.HasPictures(dir) {
				set, err := stage.Only(stage.ReadPictures(dir))
				if err != nil {
					return nil, err
				}
				drawn[k] = files{dir, set.Pictures}
			} else {
				set, err := stage.Only(stage.ReadImages(dir))
				if err != nil {
					return nil, err
				}
				read[k] = set.Images
			}
		}
		if f := drawn[k]; f.pictures != nil {
			if index >= len(f.pictures) || f.pictures[index].File == "" {
				return nil, nil
			}
			return decode(filepath.Join(f.dir, filepath.FromSlash(f.pictures[index].File)))
		}
		return world.Picture(read[k], index), nil
	}
}

// provenance describes the programs and machines that ran: in attempts of this study, and
// in attempts of other studies whose results it uses.
func provenance(r *result.Result) page.Provenance {
	all := slices.Concat(r.Attempts, r.Computed)
	p := page.Provenance{Command: r.Project.Command(), Attempts: r.Runs.Rows(),
		Versions: result.Distinct(all, func(a store.Attempt) string { return a.Versions }),
		Devices:  result.Distinct(all, func(a store.Attempt) string { return a.Device }),
		CPUs:     result.Distinct(all, func(a store.Attempt) string { return a.CPU })}
	for _, s := range r.Runs.Column("seconds").Floats {
		p.Seconds += s
	}
	views := r.Tables.Trials.Column("view").Strings
	for _, c := range r.Tables.Trials.Columns {
		stage, ok := strings.CutPrefix(c.Name, "artifact.")
		if !ok {
			continue
		}
		for i, id := range c.Strings {
			if c.Has(i) {
				p.Artifacts = append(p.Artifacts, fmt.Sprintf("%s  %s  %s", views[i], stage, id))
			}
		}
	}
	slices.Sort(p.Artifacts)
	return p
}
