// Package imported reads results that other tools computed: tables (CSV, JSONL,
// Parquet), exports of Weights & Biases, TensorBoard logs and Hydra multiruns. It
// makes of them the runs of a study, each with an arm, a seed, the values of its
// axes and its metrics, and from these the tables that the analysis reads.
//
//	paths ─formats─▶ readers ─rows, values─▶ collector ─finish─▶ Results ─▶ Tables
//
// A reader knows one format; it is a row of formats and a file of this package. All
// readers give what they find to one collector, which keeps the runs and a list of
// problems. Reading goes on after a problem, so that one import finds all of them.
// Equal results give equal tables, in whatever order their rows come: runs are
// sorted, and sums are exact.
//
// A study of a million images takes memory for its runs and prompts, not for its
// images. A Parquet file is the exception: it is read into memory as a whole.
package imported

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ablate/analysis/stats"
	"ablate/analysis/table"
)

// Options choose how files are read. With the zero value everything is guessed.
type Options struct {
	// Format is the format of every path; empty, it is recognised for each.
	Format Format
	// Columns name the columns of roles: {"arm": "method", "seed": "random_seed"}.
	// The roles are arm, seed, metric, value, n, prompt, category, image and axis.NAME. A
	// role that is not here has the column of its own name, upper or lower case.
	// A picture is a file, relative to the folder of the file that names it.
	// Hydra's roles arm and seed name keys of the configuration.
	Columns map[string]string
	// Axes are further columns, or keys of a configuration, that are axes.
	Axes []string
	// Metrics are the metrics to read; empty, all that are found.
	Metrics []string
	// Ignore are columns and metrics that are not read.
	Ignore []string
	// Arms are new names of arms, by their names in the files.
	Arms map[string]string
	// Unfinished uses W&B runs that crashed or still run, too.
	Unfinished bool
	// Pattern finds the arm and the seed of a TensorBoard run in its folder's path
	// below the folder that was given, or of a W&B run in its name, by the groups
	// arm and seed. Other groups are axes. Nil, it is …/ARM/seed_3, ARM_seed3 or ARM-s3.
	Pattern *regexp.Regexp
	// File is the name of the file with the metrics of a Hydra job; empty, the first
	// that the job has of metrics.json, results.json, eval.json, metrics.csv and
	// results.csv, else its event files.
	File string
	// Describe describes metrics by their names; what it leaves empty is guessed.
	Describe map[string]Description
}

// Results are the runs that were read, sorted by arm, axes and seed.
type Results struct {
	Axes       []Axis   // sorted by name
	Metrics    []Metric // sorted by name
	Runs       []Run
	Arms       []string          // in the order in which the files have them
	Categories map[string]string // of prompts, where they have one
	Problems   Problems
	Notes      []string // how the files were understood
}

// Run is one training with its evaluation.
type Run struct {
	Arm    string
	Seed   stats.Seed
	Axes   []any   // by Results.Axes: string, float64 or int64, nil where it has none
	Values []Value // by Results.Metrics
	// Pictures are sorted by prompt, one a prompt: the first by path, so that runs whose
	// files are named alike have corresponding ones.
	Pictures []Picture
}

// Picture is an image that a run drew for a prompt.
type Picture struct{ Prompt, Path string }

// Value is the value of a metric in a run.
type Value struct {
	Known   bool // false where the run has no finite value
	Value   float64
	N       int64       // samples behind the value, 0 where unknown
	Prompts []PromptSum // sorted by prompt, where the samples' prompts are known
}

// PromptSum is the sum over a run's samples of a prompt.
type PromptSum struct {
	Prompt string
	Sum    float64
	N      int64
}

// Axis is a parameter in which runs of an arm differ.
type Axis struct {
	Name string
	Kind table.Kind // String, Float or Int
}

// Read reads files and folders. Its error is about the options, or the context's
// cause. Problems of the files are in the results; Results.Err is an error where
// they stop the import.
func Read(ctx context.Context, paths []string, o Options) (*Results, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("no path is given; name files or folders with results")
	}
	c := newCollector(ctx, o)
	c.files[0] = list(paths)
	c.readAll(paths)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return c.finish(), nil
}

// Err is an error where problems stop the import.
func (r *Results) Err() error {
	n := r.Problems.Errors()
	if n == 0 {
		return nil
	}
	i := slices.IndexFunc(r.Problems.List, func(p Problem) bool { return !p.Kind.Warning() })
	first := r.Problems.List[i].String()
	if n == 1 {
		return fmt.Errorf("the results cannot be imported: %s", first)
	}
	return fmt.Errorf("the results cannot be imported, for %d reasons; the first: %s", n, first)
}

var roles = []string{"arm", "seed", "metric", "value", "n", "prompt", "category", "image"}

func (o *Options) check() error {
	if o.Format != "" && !slices.ContainsFunc(formats, func(f format) bool { return f.name == o.Format }) {
		return fmt.Errorf("format %q is unknown; allowed: %s", o.Format, formatNames())
	}
	for role, column := range o.Columns {
		if !slices.Contains(roles, role) && (!strings.HasPrefix(role, axisPrefix) || role == axisPrefix) {
			return fmt.Errorf("%s=%s: %q is not what a column can be; allowed: %s, %sNAME", role, column, role, strings.Join(roles, ", "), axisPrefix)
		}
		if column == "" {
			return fmt.Errorf("%s=: the name of the column is missing; write %s=COLUMN", role, role)
		}
	}
	if p := o.Pattern; p != nil && p.SubexpIndex("arm") < 0 {
		return fmt.Errorf("pattern %q has no group (?P<arm>…), by which it finds the arm of a run; add one, and (?P<seed>…) for its seed", p)
	}
	for name, d := range o.Describe {
		if err := d.check(); err != nil {
			return fmt.Errorf("metric %q: %w", name, err)
		}
	}
	return nil
}
