// Package result reads a study's results from the store or from imported files. It makes
// the study's tables and its ablation table, and compares them with a baseline or another
// study.
package result

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

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

// Result has all results of a study that one class of backend computed.
type Result struct {
	Project  project.Project
	Class    string // class of backend
	Found    *lookup.Found
	Attempts []store.Attempt // attempts at the study's actions, from its journal
	Computed []store.Attempt // attempts that computed Found, from the journals of all studies in the store
	Tables   *Tables
	Runs     *table.Table    // table of Attempts
	Options  compare.Options // options that made Ablation
	Ablation *compare.Table
	Images   *compare.Images   // judged images of Tables.Samples; nil for imported results
	Sums     *compare.Sums     // values of imported results by prompt; nil if there are none
	Imported *imported.Results // imported results, in the order of Tables.Trials; nil if the results are from the store
}

// Gather reads the results of a study from the store. The project must have its graph
// (project.LayOut). Gather runs nothing.
func Gather(ctx context.Context, p project.Project, class string) (*Result, error) {
	r := &Result{Project: p, Class: class}
	var err error
	if r.Found, err = Find(ctx, p, p.Graph, class); err != nil {
		return nil, err
	}
	if r.Tables, err = NewTables(p, r.Found); err != nil {
		return nil, err
	}
	events, _, err := store.ReadJournal(p.Dir) // ignoring incomplete lines of processes that died
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

// Compare makes the ablation table of a study that is not imported.
func (r *Result) Compare() error {
	s := r.Project.Study
	o := compare.Options{Reference: s.Reference, Primary: s.Primary, Contrasts: s.Contrasts, Detect: s.Detect, Show: s.Show, Marks: r.marks(), Damaged: r.damagedViews(), Looks: s.Looks}
	// By default intervals are over prompts only if these are a user's list or drawn from a
	// grammar: the shapes world's prompts are all that exist.
	o.Sampled = s.Prompts == compare.Sampled || s.Prompts == "" && (s.Base.Name("prompts.evaluate") != "" || s.Base.Name("prompts.grammar") != "")
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
	about, err := r.aboutEngines()
	if err != nil {
		return err
	}
	r.Ablation.Notes = append(r.Ablation.Notes, append(r.mixtures(), about...)...)
	if len(s.Engines) == 0 {
		r.Ablation.Notes = append(r.Ablation.Notes, compare.Note{Kind: compare.SameParser})
		return nil
	}
	r.Ablation.Notes = append(r.Ablation.Notes, r.measuring()...)
	used, err := r.EnginesUsed()
	for _, e := range used {
		r.Ablation.Notes = append(r.Ablation.Notes, compare.Note{Kind: compare.Computed, Names: []string{e.Name, e.Program, strings.Join(e.Sources, ", "), e.Environment}})
	}
	return err
}

// Find finds the artifacts of actions in a store, and compares the files from which
// tables are made with their digests. A damaged artifact counts as missing, so that a run
// computes it again.
func Find(ctx context.Context, p project.Project, g *layout.Graph, class string) (*lookup.Found, error) {
	found, err := p.Find(g, class)
	if err != nil {
		return nil, err
	}
	return found, found.Check(ctx, g, p.Store)
}

// damagedViews returns the views that lack values because an artifact is damaged.
func (r *Result) damagedViews() map[string]bool {
	out := map[string]bool{}
	if r.Found == nil { // the results are not from a store
		return out
	}
	for _, v := range r.Project.Study.Views {
		c := r.Project.Graph.Chains[v.Trial.ID()]
		for _, a := range c.Results() {
			if r.Found.Unreadable(a) {
				out[v.String()] = true
			}
		}
	}
	return out
}

// Complete reports whether all artifacts from which a trial's row is made were found.
func (r *Result) Complete(c layout.Chain) bool {
	if c.Action(layout.AlignmentVerdicts) == nil { // its fine-tuning was cut
		return false
	}
	for _, a := range c.Results() {
		if _, ok := r.Found.Dir(a); !ok {
			return false
		}
	}
	return true
}

// Damage returns an error if artifacts of the study are damaged in the store.
func (r *Result) Damage() error {
	if len(r.Found.Damaged) == 0 {
		return nil
	}
	return fmt.Errorf("study %s: %s damaged in the store (the warnings name them); 'ablate run %s' computes again what is missing",
		r.Project.Study.Name, phrase.Are(len(r.Found.Damaged), "artifact"), phrase.Shell(r.Project.Study.Path))
}

// Lost returns an error if the store no longer has an output of the run when its results
// are read.
func (r *Result) Lost(outputs *lookup.Outputs) error {
	for _, a := range r.Project.Graph.Actions {
		if o, ran := outputs.Get(a); ran {
			if r.Found.ID(a) != o.ID || r.Found.Unreadable(a) {
				return fmt.Errorf("study %s: the result of %s (%s) is no longer in the store: something removed it from %s while this ran; run again",
					r.Project.Study.Name, a.Label(), o.ID.Short(), r.Project.Store.Dir())
			}
		}
	}
	return nil
}

// Names are the names of a study's tables.
var Names = []string{"trials", "samples", "curves", "labels", "reliability", "runs"}

// Named returns the table of one of Names.
func (r *Result) Named(name string) *table.Table {
	return map[string]*table.Table{
		"trials": r.Tables.Trials, "samples": r.Tables.Samples, "curves": r.Tables.Curves, "labels": r.Tables.Labels, "reliability": r.Tables.Reliability, "runs": r.Runs,
	}[name]
}

// WriteTables writes the tables into the study's folder of results. Only a run calls it,
// because a command that reads may find fewer results than the last run.
func (r *Result) WriteTables() error {
	for _, name := range Names {
		if err := table.WriteFile(filepath.Join(r.Project.Dir, name+".arrow"), r.Named(name)); err != nil {
			return r.Project.Store.Diagnose(err)
		}
	}
	return nil
}

// computed returns the attempts that computed the artifacts of found.
func computed(s *store.Store, found *lookup.Found) ([]store.Attempt, error) {
	made := map[store.ActionID]string{}
	for _, out := range found.All() {
		made[out.Action] = out.ID.String()
	}
	all, err := s.Attempts()
	return slices.DeleteFunc(all, func(a store.Attempt) bool {
		return a.Outcome != store.OutcomeOK || a.Output != made[a.Action]
	}), err
}

// Distinct returns the values of a field of attempts, each once, without the empty one.
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
