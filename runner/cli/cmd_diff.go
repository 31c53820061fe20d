package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/analysis/compare"
	"ablate/reports/text"
	"ablate/runner/result"
)

type diffOptions struct {
	studyOptions
	json, all, exitCode bool
}

func (o *diffOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print the whole comparison as JSON")
	f.BoolVar(&o.all, "all", false, "print every metric, with seeds, p values and all notes")
	f.BoolVar(&o.exitCode, "exit-code", false, "exit with 3 if a difference is significant, with 4 if none is and some have no test")
}

func newDiff(g *globals) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff STUDY OTHER",
		Short: "Compare a study's results with another study's, row by row",
		Long: `Compares the rows that have the same name in two studies. It also lists the rows that
only one study has, and the parameters and stages in which rows of one name differ.
OTHER is a study, a baseline that 'ablate baseline' wrote, or a folder of results (with
trials.arrow and samples.arrow). Nothing is run. Flags apply to STUDY: 'ablate diff S S
--set P=V' compares study S with parameter P set to V against study S as it is.

Two trials of one seed are paired if they are identical or begin with the same
pretrained model. Without such pairs, rows are compared as independent samples (Welch's
test). Differences are STUDY − OTHER on the metric's scale, corrected by Holm over rows
and STUDY's primary metrics. Paired comparisons use moderated standard deviations, which
combine those of all rows. 'ablate report --against' shows the same comparison.

The exit code is 0 whether or not there are differences. With --exit-code it is 3 if a
difference in a primary metric is significant, and 4 if none is and some have too few
seeds for a test.
` + exitHelp,
		Example: "  ablate diff experiments/quickstart experiments/lee2023\n  ablate diff experiments/quickstart experiments/baselines/quickstart.json --all",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDiff(cmd.Context(), g, o, args[0], args[1])
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runDiff(ctx context.Context, g *globals, o diffOptions, path, other string) error {
	if o.json && o.all {
		return usagef("diff: --json prints everything: leave out --all")
	}
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	d, err := g.diff(ctx, r, other)
	if err != nil {
		return fmt.Errorf("diff: %w", err)
	}
	width, _ := terminal(g.stdout)
	switch {
	case o.json:
		err = printJSON(g.stdout, text.NewDiffDocument(d))
	case o.all:
		err = text.DiffAll(g.stdout, d, width)
	default:
		err = text.Diff(g.stdout, d, width)
	}
	if err = errors.Join(err, r.Damage()); err != nil || !o.exitCode {
		return err
	}
	return differs(d)
}

// diff compares results with those of other: a study, a baseline or a folder of results.
func (g *globals) diff(ctx context.Context, r *result.Result, other string) (*compare.Diff, error) {
	return r.Diff(other, func(study string) (*result.Result, error) { return g.results(ctx, study, studyOptions{}) })
}

// differs returns the error of --exit-code: a difference is significant, or none is and
// some have no test.
func differs(d *compare.Diff) error {
	primary := func(found func(*compare.Difference) bool) bool {
		return slices.ContainsFunc(d.Rows, func(r compare.DiffRow) bool {
			return slices.ContainsFunc(d.Metrics, func(m compare.Metric) bool {
				x := r.Values[m.Name].Difference
				return m.Primary && !r.Same && x != nil && found(x)
			})
		})
	}
	switch {
	case primary(func(d *compare.Difference) bool { return d.Significant }):
		return differenceError{fmt.Errorf("diff: %s and %s differ significantly", d.A, d.B)}
	case primary(func(d *compare.Difference) bool { return d.PCorrected == nil }):
		return inconclusiveError{errors.New("diff: no difference is significant, and some have too few seeds for a test")}
	}
	return nil
}
