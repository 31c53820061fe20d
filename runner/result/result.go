// Package result gathers what the store has of a study: its tables, its ablation
// table, and how that compares with a baseline.
package result

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"ablate/analysis/compare"
	"ablate/analysis/stats"
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/imported"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/phrase"
	"ablate/runner/project"
	"ablate/runner/store"
)

// Result is everything that the store has of a study on one class of backend.
type Result struct {
	Project  project.Project
	Class    string // of backend
	Found    *lookup.Found
	Attempts []store.Attempt // at the study's actions, from its journal
	Computed []store.Attempt // that Found is from, whichever study's and checkout's journal has them
	Tables   *Tables
	Runs     *table.Table    // of Attempts
	Options  compare.Options // of Ablation
	Ablation *compare.Table
	Images   *compare.Images   // the judged images of Tables.Samples; nil where other tools computed the results
	Sums     *compare.Sums     // values by prompt that other tools computed; nil where there are none
	Imported *imported.Results // of other tools, in the order of Tables.Trials; nil where the store has the results
}

// Gather reads what the store has of a study that is laid out. It runs nothing.
func Gather(ctx context.Context, p project.Project, class string) (*Result, error) {
	r := &Result{Project: p, Class: class}
	var err error
	if r.Found, err = Find(ctx, p.Store, p.Graph, class); err != nil {
		return nil, err
	}
	if r.Tables, err = NewTables(p.Study, p.Graph, r.Found); err != nil {
		return nil, err
	}
	events, _, err := store.ReadJournal(p.Dir) // ignoring a line that a dying process left half-written
	if err != nil {
		return nil, err
	}
	r.Attempts = store.Attempts(events)
	r.Runs = Runs(r.Attempts)
	if r.Computed, err = computed(p.Store, r.Found); err != nil {
		return nil, err
	}
	return r, r.Compare()
}

// Compare makes the ablation table of the tables of a study whose runs are its own.
func (r *Result) Compare() error {
	s := r.Project.Study
	o := compare.Options{Reference: s.Reference, Primary: s.Primary, Contrasts: s.Contrasts, Detect: s.Detect, Show: s.Show, Damaged: r.damagedViews(), Looks: s.Looks}
	// The shapes world's prompts are all that there are.
	o.Sampled = s.Prompts == compare.Sampled
	for _, a := range s.Arms {
		if a.Pick != nil {
			o.Picks = append(o.Picks, compare.Pick{Arm: a.Name, By: a.Pick.By, On: seeds(a.Pick.On), Report: seeds(a.Pick.Report)})
			o.Also = append(o.Also, a.Pick.By)
		}
	}
	for _, t := range s.Gate {
		o.Also = append(o.Also, t.Metric)
	}
	r.Options = o
	var err error
	if r.Images, err = compare.NewImages(r.Tables.Samples); err != nil {
		return err
	}
	if r.Ablation, err = compare.Ablation(r.Tables.Trials, r.Images, o); err != nil {
		return err
	}
	r.Ablation.OverOptimization = compare.OverOptimized(r.Ablation, compare.Courses(r.Ablation, r.Tables.Trials, r.Tables.Curves))
	if list := s.Confounded; len(list) > 0 {
		n := compare.Note{Kind: compare.Confounded}
		for _, c := range list {
			n.Names = append(n.Names, c.String())
		}
		r.Ablation.Notes = append(r.Ablation.Notes, n)
	}
	r.Ablation.Notes = append(r.Ablation.Notes, compare.Note{Kind: compare.SameParser})
	return nil
}

// Find looks some actions up in a store, and compares with their digests the files
// that tables are made from: what is damaged then counts as missing, and a run
// computes it again.
func Find(ctx context.Context, s *store.Store, g *layout.Graph, class string) (*lookup.Found, error) {
	found, err := lookup.Collect(g, s, class)
	if err != nil {
		return nil, err
	}
	return found, found.Check(ctx, g, s)
}

// damagedViews are the views that lack values because an artifact is damaged.
func (r *Result) damagedViews() map[string]bool {
	out := map[string]bool{}
	if r.Found == nil { // the tables are from elsewhere than a store
		return out
	}
	for _, v := range r.Project.Study.Views {
		c := r.Project.Graph.Chains[v.Trial.ID()]
		for _, role := range layout.Results() {
			if a := c.Action(role); a != nil && r.Found.Unreadable(a) {
				out[v.String()] = true
			}
		}
	}
	return out
}

// Complete reports whether there is everything that a trial's row of the table is made
// from.
func (r *Result) Complete(c layout.Chain) bool {
	for _, role := range layout.Results() {
		a := c.Action(role)
		if _, ok := r.Found.Dir(a); a != nil && !ok {
			return false
		}
	}
	return true
}

// Damage is the error of a study of which the store has damaged artifacts, nil if it
// has none.
func (r *Result) Damage() error {
	if len(r.Found.Damaged) == 0 {
		return nil
	}
	return fmt.Errorf("study %s: %s damaged in the store (the warnings name them); 'ablate run %s' computes again what is missing",
		r.Project.Study.Name, phrase.Are(len(r.Found.Damaged), "artifact"), phrase.Shell(r.Project.Study.Path))
}

// Lost is the error of a run some of whose outputs are not in the store any more when
// its results are gathered, nil if all are there.
func (r *Result) Lost(outputs map[string]lookup.Output) error {
	for _, a := range r.Project.Graph.Actions {
		if o, ran := outputs[a.Name]; ran {
			if have, ok := r.Found.Outputs[a.Name]; !ok || have.ID != o.ID || r.Found.Unreadable(a) {
				return fmt.Errorf("study %s: the result of %s (%s) is no longer in the store: something removed it from %s while this ran; run again",
					r.Project.Study.Name, a.Label(), o.ID.Short(), r.Project.Store.Dir())
			}
		}
	}
	return nil
}

// Names are those of a study's tables.
var Names = []string{"trials", "samples", "curves", "labels", "reliability", "runs"}

// Named is the table of one of Names.
func (r *Result) Named(name string) *table.Table {
	return map[string]*table.Table{
		"trials": r.Tables.Trials, "samples": r.Tables.Samples, "curves": r.Tables.Curves, "labels": r.Tables.Labels, "reliability": r.Tables.Reliability, "runs": r.Runs,
	}[name]
}

// WriteTables writes the tables into the study's folder. Only a run does: a command
// that reads may see less than there is.
func (r *Result) WriteTables() error {
	for _, name := range Names {
		if err := table.WriteFile(filepath.Join(r.Project.Dir, name+".arrow"), r.Named(name)); err != nil {
			return r.Project.Store.Diagnose(err)
		}
	}
	return nil
}

// computed are the attempts that outputs are from.
func computed(s *store.Store, found *lookup.Found) ([]store.Attempt, error) {
	made := map[store.ActionID]string{}
	for _, out := range found.Outputs {
		made[out.Action] = out.ID.String()
	}
	all, err := s.Attempts()
	return slices.DeleteFunc(all, func(a store.Attempt) bool {
		return a.Outcome != store.OutcomeOK || a.Output != made[a.Action]
	}), err
}

// Distinct lists what some attempts have in a field, each value once, without the empty
// one.
func Distinct(attempts []store.Attempt, field func(store.Attempt) string) []string {
	list := []string{}
	for _, a := range attempts {
		if v := field(a); v != "" {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func seeds(list []language.Seed) []stats.Seed {
	var out []stats.Seed
	for _, s := range list {
		out = append(out, stats.Seed(s))
	}
	return out
}
