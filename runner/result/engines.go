package result

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ablate/analysis/compare"
	"ablate/experiments/language"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// marks returns notes on the values of views, by name: what is special about a trial.
func (r *Result) marks() map[string][]compare.Note {
	out := map[string][]compare.Note{}
	for _, v := range r.Project.Study.Views {
		add := func(n compare.Note) { out[v.String()] = append(out[v.String()], n) }
		if o, ok := r.Project.Overlaps[v.Trial.ID()]; ok {
			add(compare.Note{Kind: compare.Overlapping, N: o.N, Of: o.Of})
		}
		for _, j := range r.Project.Study.Judges {
			if r.Project.Study.Rewards(j, v.Trial.Content) {
				add(compare.Note{Kind: compare.Rewarding, Names: []string{j.Name}})
			}
		}
		if name := r.sharedWeights(v); name != "" {
			add(compare.Note{Kind: compare.SameWeights, Names: []string{name}})
		}
		r.madeBy(v, func(engine, made string) {
			for _, verb := range stage.MadeOf(made, stage.MadeUnseeded) {
				add(compare.Note{Kind: compare.Unseeded, Names: []string{engine, verb}})
			}
			if stage.MadeOf(made, stage.MadeResumed) != nil {
				add(compare.Note{Kind: compare.Resumed, Names: []string{engine}})
			}
			for _, what := range stage.MadeOf(made, stage.MadeMoved) {
				add(compare.Note{Kind: compare.Moved, Names: []string{engine, what}})
			}
		})
	}
	return out
}

// madeBy calls f with each result of a view that an engine has made, and with how it was made.
func (r *Result) madeBy(v language.View, f func(engine, made string)) {
	if len(r.Project.Study.Engines) == 0 {
		return
	}
	for _, a := range r.Project.Graph.Chains[v.Trial.ID()].Actions() {
		if name := stage.EngineOf(a.Params); name != "" {
			f(name, r.madeOf(a))
		}
	}
}

// mixtures returns notes on engines whose results were made by several versions of a program, with
// several sets of packages, or on several kinds of hardware, where the study wants to be warned of it.
func (r *Result) mixtures() (notes []compare.Note) {
	type of struct{ engine, what string }
	values := map[of]map[string]bool{}
	for _, v := range r.Project.Study.Views {
		r.madeBy(v, func(engine, made string) {
			for _, what := range []string{stage.MadeSource, stage.MadePackages, stage.MadeHardware} {
				for _, x := range stage.MadeOf(made, what) {
					k := of{engine, what}
					if values[k] == nil {
						values[k] = map[string]bool{}
					}
					values[k][x] = true
				}
			}
		})
	}
	for _, e := range r.Project.Study.Engines {
		for _, x := range []struct{ what, policy string }{
			{stage.MadeSource, e.Identity.Source}, {stage.MadePackages, e.Identity.Environment}, {stage.MadeHardware, e.Identity.Hardware},
		} {
			if n := len(values[of{e.Name, x.what}]); n > 1 && x.policy == "warn" {
				notes = append(notes, compare.Note{Kind: compare.Mixed, N: n, Names: []string{e.Name, x.what}})
			}
		}
	}
	return notes
}

// aboutEngines returns notes on what probes found of the study's engines, and on images that do not begin
// with the same noise.
func (r *Result) aboutEngines() (notes []compare.Note, err error) {
	if len(r.Project.Study.Engines) == 0 || r.Found == nil {
		return nil, nil
	}
	ctx := context.Background() // descriptions are cached
	states, err := r.Project.EngineStates(ctx)
	if err != nil {
		return nil, err
	}
	noise := map[string]string{}
	for _, s := range states {
		noise[s.Name] = s.Noise
		if s.Probed == project.Never {
			notes = append(notes, compare.Note{Kind: compare.Unprobed, Names: []string{s.Name, s.Promises}})
		}
		if len(s.Refuted) > 0 {
			notes = append(notes, compare.Note{Kind: compare.Refuted, Names: append([]string{s.Name}, s.Refuted...)})
		}
	}
	var models []string // engines that draw the images of rows
	for _, v := range r.Project.Study.Views {
		if name := v.Trial.Content.Name("model.program.engine"); name != "" && !slices.Contains(models, name) {
			models = append(models, name)
		}
	}
	if slices.ContainsFunc(models, func(m string) bool { return noise[m] == "" || noise[m] != noise[models[0]] }) {
		notes = append(notes, compare.Note{Kind: compare.ByPrompt, Names: models})
	}
	return notes, nil
}

// Features returns the engines on whose features a study computes fidelity, with the parameters of
// their verb embed, such as "clip (network=ViT-L-14, resize=bicubic)"; nil where none does.
func Features(s *language.Study) (list []string) {
	for _, v := range s.Views {
		c := v.Trial.Content
		name := c.Name("evaluate.features.engine")
		if name == "" || c.Name("evaluate.reference") == "" {
			continue
		}
		var params []string
		for _, p := range c.Params("evaluate.features.params") {
			params = append(params, fmt.Sprintf("%s=%v", p.Path, p.Value))
		}
		if params != nil {
			name += " (" + strings.Join(params, ", ") + ")"
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
