package result

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/imported"
	"ablate/runner/lookup"
	"ablate/runner/project"
	"ablate/runner/stage"
)

// ImportOptions returns the options with which the files of an imported study are read.
func ImportOptions(in *language.Imported) imported.Options {
	o := imported.Options{Format: imported.Format(in.Format), Columns: in.Columns, Axes: in.Axes, Metrics: in.Only, Ignore: in.Ignore, Arms: in.Arms,
		Unfinished: in.Unfinished, File: in.File, Describe: map[string]imported.Description{}}
	if in.Pattern != "" {
		o.Pattern = regexp.MustCompile(in.Pattern) // package language has checked that it compiles
	}
	for name, m := range in.Metrics {
		o.Describe[name] = imported.Description{Range: imported.Range(m.Range), Better: m.Better, Unit: m.Unit, Doc: m.Doc}
	}
	return o
}

// Import reads the results of an imported study and makes its ablation table. The second
// result has the warnings, and is not nil if the files could be read.
func Import(ctx context.Context, p project.Project) (*Result, *imported.Results, error) {
	s := p.Study
	in, err := imported.Read(ctx, s.Imported.Files, ImportOptions(s.Imported))
	if err != nil {
		return nil, nil, fmt.Errorf("study %s: %w", s.Name, err)
	}
	trials, prompts, err := in.Tables(s.Name)
	if err != nil {
		return nil, in, fmt.Errorf("study %s: %w", s.Name, err)
	}
	names := make([]string, len(in.Metrics))
	guessed := []string{}
	for i, m := range in.Metrics {
		names[i] = m.Name
		trials.Column(m.Name).Range = map[imported.Range]string{imported.Share: table.Share, imported.Positive: table.Positive}[m.Range]
		if m.GuessedRange || m.GuessedBetter {
			guessed = append(guessed, guess(m))
		}
	}
	for name := range s.Imported.Metrics {
		if !slices.Contains(names, name) {
			return nil, in, fmt.Errorf("study %s: metrics.%s: the results have no such metric; they have %v", s.Name, name, names)
		}
	}
	asked := slices.Concat(s.Primary, slices.Sorted(maps.Keys(s.Detect)))
	for _, g := range s.Gate {
		asked = append(asked, g.Metric)
	}
	for _, name := range asked {
		if !slices.Contains(names, name) {
			return nil, in, fmt.Errorf("study %s: compare or gate: the results have no metric %q; they have %v", s.Name, name, names)
		}
	}
	r := &Result{Project: p, Found: lookup.None(), Runs: Runs(nil), Tables: Bare(s.Name), Imported: in}
	r.Tables.Trials, r.Tables.Samples = trials, prompts
	o := compare.Options{Reference: s.Reference, Arms: in.Arms, Primary: s.Primary, Contrasts: s.Contrasts, Detect: s.Detect, Show: names, Sampled: s.Prompts != compare.Fixed && prompts.Rows() > 0}
	if len(o.Primary) == 0 {
		o.Primary = names
	}
	r.Options = o
	var samples compare.Samples
	if prompts.Rows() > 0 {
		if r.Sums, err = compare.NewSums(prompts); err != nil {
			return nil, in, fmt.Errorf("study %s: %w", s.Name, err)
		}
		samples = r.Sums
	}
	if r.Ablation, err = compare.Ablation(trials, samples, o); err != nil {
		return nil, in, fmt.Errorf("study %s: %w", s.Name, err)
	}
	files := make([]string, len(s.Imported.Files))
	for i, f := range s.Imported.Files {
		files[i] = filepath.Base(f)
	}
	r.Ablation.Notes = append(r.Ablation.Notes, compare.Note{Kind: compare.ImportedFrom, Names: files})
	if len(guessed) > 0 {
		r.Ablation.Notes = append(r.Ablation.Notes, compare.Note{Kind: compare.Guessed, Names: guessed})
	}
	if len(s.Gate) == 0 {
		guarded := *s
		for _, m := range in.Metrics {
			if m.Better != "" {
				guarded.Gate = append(guarded.Gate, language.Gate{Metric: m.Name, Seeds: 1})
			}
		}
		r.Project.Study = &guarded
	}
	return r, in, nil
}

// guess describes which properties of a metric were guessed.
func guess(m imported.Metric) string {
	s := m.Name
	if m.GuessedRange {
		s += " " + string(m.Range)
	}
	if m.GuessedBetter {
		s += " " + m.Better + " is better"
	}
	return s
}

// Picture is an image of an imported run.
type Picture struct {
	Trial            string
	Index            int // number among the trial's pictures
	Prompt, Category string
	Caption          string // values of the picture, as text
}

// Pictured returns a table of imported pictures with the columns of samples.arrow. They
// have no verdicts.
func Pictured(list []Picture) *table.Table {
	t := &table.Table{}
	s := newSamples(t, false, nil)
	for _, p := range list {
		s.row(p.Trial, Alignment, stage.Prompt{Index: p.Index, Prompt: p.Prompt, Category: p.Category, Split: stage.Seen}, "", p.Caption)
		score[float32](s.proxy, nil, 0)
		score[float32](s.embedder, nil, 0)
	}
	return t
}

// Bare returns the tables of a study without rows.
func Bare(study string) *Tables {
	meta := func() *table.Table { return &table.Table{Meta: map[string]string{"study": study, "schema": "1"}} }
	t := &Tables{Trials: meta(), Samples: meta(), Curves: meta(), Labels: meta(), Reliability: meta()}
	newSamples(t.Samples, false, nil)
	newCurves(t.Curves)
	newLabels(t.Labels)
	newReliability(t.Reliability)
	return t
}
