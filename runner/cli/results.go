package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/models/backend"
	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/study"
)

// results are a study's tables and its ablation table.
type results struct {
	l        *loaded
	class    string // of the backend that they were computed on
	found    *study.Found
	attempts []store.Attempt
	tables   *study.Tables
	runs     *table.Table
	ablation *compare.Table
}

// results loads a study and gathers what the store has of it.
func (g *globals) results(ctx context.Context, path string, f studyFlags) (*results, error) {
	l, err := g.load(ctx, path, f)
	if err != nil {
		return nil, err
	}
	class, err := l.class(f.backend)
	if err != nil {
		return nil, err
	}
	return l.results(ctx, class)
}

// classes are those of backends, the likeliest first.
var classes = []string{backend.CPU, backend.CUDA, backend.Go}

// class is the class of backend whose results a command reads: the one that is
// asked for, else that of the study's last run. A study that never ran may still
// find results that other studies left; it reads the class that has most of them.
// No device is asked: what a login node can compute says nothing about what a
// cluster has computed.
func (l *loaded) class(asked string) (string, error) {
	if asked != "" {
		if !slices.Contains(classes, asked) {
			return "", usagef("--backend is %q; must be %s, %s or %s", asked, backend.CUDA, backend.CPU, backend.Go)
		}
		return asked, nil
	}
	if l.Record.Backend != "" {
		return l.Record.Backend, nil
	}
	best, most := "", 0
	for _, class := range classes {
		found, err := study.Collect(l.Graph, l.Store, class)
		if err != nil {
			return "", err
		}
		if len(found.Outputs) > most {
			best, most = class, len(found.Outputs)
		}
	}
	if best != "" {
		return best, nil
	}
	return backend.Likely()
}

// results gathers what the store has of a study.
func (l *loaded) results(ctx context.Context, class string) (*results, error) {
	r := &results{l: l, class: class}
	var err error
	if r.found, err = study.Collect(l.Graph, l.Store, class); err != nil {
		return nil, err
	}
	if err := r.found.Check(ctx, l.Graph, l.Store, stage.Tabled); err != nil {
		return nil, err
	}
	for _, d := range r.found.Damaged {
		zerolog.Ctx(ctx).Warn().Str("stage", string(d.Action.Kind)).Str("action", d.Action.Name[:12]).Str("arm", d.Action.Rows()).Err(d.Err).Msg("damaged in the store")
	}
	if r.tables, err = study.NewTables(l.Study, l.Graph, r.found); err != nil {
		return nil, err
	}
	events, _, err := store.ReadJournal(l.Dir) // a line that a dying process tore is no event
	if err != nil {
		return nil, err
	}
	r.attempts = store.Attempts(events)
	r.runs = study.Runs(r.attempts)
	o := compare.Options{Reference: l.Reference, Detect: l.Detect, Show: l.Show, Damaged: r.lost()}
	for _, t := range l.Gate {
		o.Also = append(o.Also, t.Metric)
	}
	r.ablation, err = compare.Ablation(r.tables.Trials, r.tables.Samples, o)
	return r, err
}

// lost are the views of which values are damaged in the store.
func (r *results) lost() map[string]bool {
	out := map[string]bool{}
	for _, v := range r.l.Views {
		c := r.l.Graph.Chains[v.Trial.ID()]
		for _, a := range []*study.Action{c.Evaluate, c.Assess, c.Proxy} {
			if a != nil && r.found.Unreadable(a) {
				out[v.String()] = true
			}
		}
	}
	return out
}

// damage is the error of results of which the store has lost some.
func (r *results) damage() error {
	if len(r.found.Damaged) == 0 {
		return nil
	}
	return fmt.Errorf("study %s: %s damaged in the store (the warnings name them); 'ablate run %s' computes again what is missing",
		r.l.Name, are(len(r.found.Damaged), "artifact"), quoted(r.l.Study.Path))
}

// are counts things that are something.
func are(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return many(n, noun) + " are"
}

// write writes the tables into the study's folder. Only a run does: a command
// that reads may see less than there is.
func (r *results) write() error {
	for _, name := range tableNames {
		if err := table.WriteFile(filepath.Join(r.l.Dir, name+".arrow"), r.named(name)); err != nil {
			return r.l.Store.Diagnose(err)
		}
	}
	return nil
}

// named is one of the study's tables.
func (r *results) named(name string) *table.Table {
	return map[string]*table.Table{
		"trials": r.tables.Trials, "samples": r.tables.Samples, "curves": r.tables.Curves, "labels": r.tables.Labels, "reliability": r.tables.Reliability, "runs": r.runs,
	}[name]
}
