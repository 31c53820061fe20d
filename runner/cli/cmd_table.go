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
	f.BoolVar(&o.json, "json", false, "the whole table as JSON")
	f.BoolVar(&o.csv, "csv", false, "CSV, a line for each estimate")
	f.BoolVar(&o.md, "md", false, "Markdown, the short tables")
	f.BoolVar(&o.parquet, "parquet", false, "Parquet, a line for each estimate")
	f.BoolVar(&o.all, "all", false, "every metric, effects, the front and all notes")
	f.StringVar(&o.table, "table", "", "one of the study's tables: trials, samples, curves, labels, reliability or runs")
	f.BoolVar(&o.tex, "tex", false, "LaTeX, to \\input; needs booktabs")
}

func newTable(g *globals) *cobra.Command {
	var o tableOptions
	cmd := &cobra.Command{
		Use:   "table STUDY",
		Short: "Print the answer and the ablation table from the results so far",
		Long: `Prints the answer to a study's question and its ablation table: a line for each row,
with the study's primary metrics and their differences from its reference (--all has
the rest). It runs nothing; missing results are shown as missing.

Intervals are 95%: over seeds from three seeds on, and over prompts, too, where
compare.prompts is "sampled"; with one or two seeds over images, for these seeds only.
Those of the answer are corrected for multiple comparisons, those of the table are not.
* marks a difference that is significant at 5% after Holm's correction over rows and
primary metrics, ≈ one that is equivalent: smaller than compare.detect declares to
matter. docs/statistics.md explains the statistics.

--csv and --parquet have everything, a line for each estimate; their column kind is
level, difference, contrast, effect, front or collapse. --json has it as one object. --md and
--tex have the short tables. docs/data.md describes them all.

--table prints one of the study's tables instead: trials (a row for each arm, point and
seed), samples (a row for each evaluation image), curves, labels, reliability (of
each learned reward) or runs (a row for each attempt). 'ablate run' writes them as
Arrow files into the study's folder of results; this command writes nothing.

A result that is damaged in the store is left out, with a warning that names it, and
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

// check returns the mistake in the flags of a table that goes to w.
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
		return usagef("table: --json, --csv, --md, --tex and --parquet exclude each other")
	case o.table != "" && !slices.Contains(result.Names, o.table):
		return usagef("table: --table is %q; must be one of %s", o.table, strings.Join(result.Names, ", "))
	case o.table != "" && (o.md || o.tex):
		return usagef("table: --md and --tex are of the ablation table; with --table take --csv, --json or --parquet")
	case o.parquet && tty:
		return usagef("table: --parquet writes bytes that no terminal shows: send them to a file with > FILE")
	}
	return nil
}

// printTable prints the ablation table, or the one of the study's tables that is asked
// for, as the options say.
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
