// Package imported reads results that other tools computed: tables (CSV, JSONL, Parquet),
// exports of Weights & Biases, TensorBoard logs and Hydra multiruns. It converts them to
// the runs of a study, each with an arm, a seed, values of its axes (swept parameters)
// and metrics. From the runs it makes the tables that the analysis reads.
//
//	paths ─formats─▶ readers ─rows, values─▶ collector ─finish─▶ Results ─▶ Tables
//
// Each format has a reader, which is an entry of the variable formats and a file of this
// package. All readers pass values to one collector, which keeps the runs and a list of
// problems. Reading continues after a problem, so that one import finds all problems. The
// tables do not depend on the order of the rows in the files: runs are sorted, and sums
// are exact.
//
// Memory grows with the number of runs and prompts, and not with the number of images.
// The exception is a Parquet file, which is read into memory as a whole.
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

// Options of reading files. The zero value guesses everything.
type Options struct {
	// Format is the format of all paths. If it is empty, the format of each path is
	// recognised.
	Format Format
	// Columns maps roles to columns: {"arm": "method", "seed": "random_seed"}. The roles
	// are arm, seed, metric, value, n, prompt, category, image and axis.NAME. A role that
	// Columns lacks is read from the column of its own name, in upper or lower case. The
	// column of the role image has paths, relative to the folder of the file. For Hydra,
	// the roles arm and seed name keys of the configuration.
	Columns map[string]string
	// Axes are further columns, or keys of a configuration, with the values of axes.
	Axes []string
	// Metrics are the metrics to read; empty means all.
	Metrics []string
	// Ignore are the columns and metrics to leave out.
	Ignore []string
	// Arms maps names of arms in the files to the names that they get.
	Arms map[string]string
	// Unfinished also reads W&B runs that crashed or are still running.
	Unfinished bool
	// Pattern finds the arm and the seed of a run by its groups arm and seed; its other
	// groups are axes. It is matched with the name of a W&B run, or with the path of a
	// TensorBoard run below the given folder. If it is nil, names such as …/ARM/seed_3,
	// ARM_seed3 and ARM-s3 are recognised.
	Pattern *regexp.Regexp
	// File is the name of the file with the metrics of a Hydra job. If it is empty, the
	// first of metrics.json, results.json, eval.json, metrics.csv and results.csv that
	// exists is read, or else the job's event files.
	File string
	// Describe has descriptions of metrics by name. Their empty fields are guessed.
	Describe map[string]Description
}

// Results are the runs that were read, sorted by arm, axes and seed.
type Results struct {
	Axes       []Axis   // sorted by name
	Metrics    []Metric // sorted by name
	Runs       []Run
	Arms       []string          // in the order of the files
	Categories map[string]string // by prompt, if it has one
	Problems   Problems
	Notes      []string // how the files were understood, as sentences
}

// Run is one training with its evaluation.
type Run struct {
	Arm    string
	Seed   stats.Seed
	Axes   []any   // in the order of Results.Axes: string, float64 or int64; nil if the run has no value
	Values []Value // in the order of Results.Metrics
	// Pictures has one picture per prompt, sorted by prompt. Of several pictures of a
	// prompt it has the first by path, so that runs with equal file names show
	// corresponding pictures.
	Pictures []Picture
}

// Picture is an image that a run generated for a prompt.
type Picture struct{ Prompt, Path string }

// Value is the value of a metric in a run.
type Value struct {
	Known   bool // false if the run has no finite value
	Value   float64
	N       int64       // number of samples behind the value, 0 if it is not known
	Prompts []PromptSum // sorted by prompt; nil if the prompts of the samples are not known
}

// PromptSum is the sum of a metric over the samples of one prompt.
type PromptSum struct {
	Prompt string
	Sum    float64
	N      int64
}

// Axis is a swept parameter, in which runs of an arm differ.
type Axis struct {
	Name string
	Kind table.Kind // String, Float or Int
}

// Read reads files and folders. It returns an error if the options are not valid, or the
// context's cause. Problems of the files are in the results; see Results.Err.
func Read(ctx context.Context, paths []string, o Options) (*Results, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("no path is given; give files or folders with results")
	}
	c := newCollector(ctx, o)
	c.files[0] = list(paths)
	c.readAll(paths)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return c.finish(), nil
}

// Err returns an error if problems stop the import, otherwise nil.
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
			return fmt.Errorf("%s=%s: unknown role %q; allowed: %s, %sNAME", role, column, role, strings.Join(roles, ", "), axisPrefix)
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
