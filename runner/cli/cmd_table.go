package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/analysis/table"
	"ablate/reports/text"
	"ablate/runner/result"
)

type tableOptions struct {
	studyOptions
	json, csv, md, tex, parquet, all bool
	table                            string
}

func (o *tableOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print everything as JSON")
	f.BoolVar(&o.csv, "csv", false, "print everything as CSV, one line per estimate")
	f.BoolVar(&o.md, "md", false, "print the short tables as Markdown")
	f.BoolVar(&o.parquet, "parquet", false, "print everything as Parquet, one line per estimate")
	f.BoolVar(&o.all, "all", false, "print every metric, effects, the Pareto front and all notes")
	f.StringVar(&o.table, "table", "", "print another table of the study, `NAME`: trials, samples, curves, labels, reliability or runs")
	f.BoolVar(&o.tex, "tex", false, "print the short tables as LaTeX for \\input, which needs the package booktabs")
}

func newTable(g *globals) *cobra.Command {
	var o tableOptions
	cmd := &cobra.Command{
		Use:   "table STUDY",
		Short: "Print the answer and the ablation table of the results so far",
		Long: `Prints the answer to a study's question and its ablation table. A row of the table is an
arm, or a point of an arm that sweeps parameters. The table shows the study's primary
metrics and their differences from the reference arm; --all adds the other metrics,
effects, the Pareto front and all notes. Nothing is run: a result that does not exist
yet is shown as missing.

Intervals are 95% confidence intervals. With three seeds or more they are over seeds,
and also over prompts if compare.prompts is "sampled". With one or two seeds they are
over images, and hold for these seeds only. The intervals in the answer are corrected
for multiple comparisons; those in the table are not. * marks a difference that is
significant at 5% after Holm's correction over rows and primary metrics. ≈ marks an
equivalent one: smaller than the size that compare.detect declares to matter.
docs/statistics.md explains the statistics.

--csv and --parquet print everything, one line per estimate; the column kind is level,
difference, contrast, effect, front, collapse or stopped. --json prints everything as one object.
--md and --tex print the short tables. docs/data.md describes all columns and fields.

--table prints another table of the study instead: trials (a row for each arm, point and
seed), samples (per evaluation image), curves (training and probes),
labels (of the images that rewards learn from), reliability (of each learned reward) or
runs (per attempt to run a stage). 'ablate run' writes these tables as Arrow files into
the study's folder of results; this command writes no files.

If a result is damaged in the store, the table leaves it out, a warning names it, and
the exit code is 1.
` + exitHelp,
		Example: "  ablate table experiments/quickstart --md\n  ablate table experiments/quickstart --table samples --parquet > samples.parquet",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runTable(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runTable(ctx context.Context, g *globals, o tableOptions, path string) error {
	if err := o.check(g.stdout); err != nil {
		return err
	}
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	if err := g.printTable(r, o); err != nil {
		return err
	}
	return r.Damage()
}

// check returns an error if the flags contradict each other, or do not suit the output w.
func (o tableOptions) check(w *output) error {
	formats := 0
	for _, on := range []bool{o.json, o.csv, o.md, o.tex, o.parquet} {
		if on {
			formats++
		}
	}
	_, tty := terminal(w)
	switch {
	case formats > 1:
		return usagef("table: --json, --csv, --md, --tex and --parquet exclude each other: give one of them")
	case o.table != "" && !slices.Contains(result.Names, o.table):
		return usagef("table: --table is %q; must be one of %s", o.table, strings.Join(result.Names, ", "))
	case o.table != "" && (o.md || o.tex):
		return usagef("table: --md and --tex print the ablation table only: with --table use --csv, --json or --parquet")
	case o.parquet && tty:
		return usagef("table: --parquet writes binary data, which a terminal cannot show: write it to a file with > FILE")
	}
	return nil
}

// printTable prints the ablation table, or the table that --table names, in the format of
// the options.
func (g *globals) printTable(r *result.Result, o tableOptions) error {
	if o.table != "" {
		t := r.Named(o.table)
		switch {
		case o.json:
			return table.JSON(g.stdout, t)
		case o.parquet:
			return table.Parquet(g.stdout.raw, t)
		}
		return table.CSV(g.stdout, t)
	}
	switch {
	case o.parquet:
		return table.Parquet(g.stdout.raw, text.Long(r.Ablation))
	case o.json:
		return printJSON(g.stdout, text.NewDocument(r.Ablation))
	case o.csv:
		return table.CSV(g.stdout, text.Long(r.Ablation))
	case o.tex:
		return text.LaTeX(g.stdout, r.Ablation)
	case o.md:
		return text.Markdown(g.stdout, r.Ablation)
	}
	width, _ := terminal(g.stdout)
	if err := text.Head(g.stdout, r.Project.Study.Title, r.Project.Study.Question, width); err != nil {
		return err
	}
	if o.all {
		return text.Terminal(g.stdout, r.Ablation, width)
	}
	return text.Short(g.stdout, r.Ablation, width)
}
