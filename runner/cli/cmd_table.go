package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ablate/analysis/table"
	"ablate/reports/text"
)

type tableFlags struct {
	json, csv, md, tex, parquet bool
	of                          string
}

func newTable(g *globals) *cobra.Command {
	var f studyFlags
	var tf tableFlags
	cmd := &cobra.Command{
		Use:   "table STUDY",
		Short: "Print the ablation table of what there is",
		Long: `Prints a study's ablation table from what the store has, running nothing; what
is missing is shown as missing. Intervals are 95%: over seeds from three seeds
on; with fewer the seeds are points and the interval is over prompts, for these
seeds only. * marks a difference that is resolved, ≈ one that is equivalent.

--of prints one of the study's tables instead: trials (a row for each arm, point and
seed), samples (a row for each evaluation image), curves, labels, reliability (of
each learned reward) or runs (a row for each attempt). 'ablate run' writes them as
Arrow files into the study's folder of results; this command writes nothing.

A result that is damaged in the store is left out, with a warning that names it, and
the exit code is 1.
` + exitHelp,
		Example: "  ablate table experiments/quickstart --md\n  ablate table experiments/quickstart --of samples --parquet > samples.parquet",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := 0
			for _, on := range []bool{tf.json, tf.csv, tf.md, tf.tex, tf.parquet} {
				if on {
					n++
				}
			}
			if n > 1 {
				return usagef("table: --json, --csv, --md, --tex and --parquet exclude each other")
			}
			if tf.of != "" && !slices.Contains(tableNames, tf.of) {
				return usagef("table: --of is %q; must be one of %s", tf.of, strings.Join(tableNames, ", "))
			}
			if tf.of != "" && (tf.md || tf.tex) {
				return usagef("table: --md and --tex are of the ablation table; with --of take --csv, --json or --parquet")
			}
			if _, tty := terminal(g.stdout); tf.parquet && tty {
				return usagef("table: --parquet writes bytes that no terminal shows: send them to a file with > FILE")
			}
			r, err := g.results(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			if err := g.printTable(r, tf); err != nil {
				return err
			}
			return r.damage()
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&tf.json, "json", false, "the whole table as JSON")
	cmd.Flags().BoolVar(&tf.csv, "csv", false, "one line a row and metric")
	cmd.Flags().BoolVar(&tf.md, "md", false, "Markdown")
	cmd.Flags().BoolVar(&tf.parquet, "parquet", false, "Parquet, one line a row and metric")
	cmd.Flags().StringVar(&tf.of, "of", "", "one of the study's tables: trials, samples, curves, labels, reliability or runs")
	cmd.Flags().BoolVar(&tf.tex, "tex", false, "LaTeX, for booktabs; the best in bold only where the data single it out")
	return cmd
}

var tableNames = []string{"trials", "samples", "curves", "labels", "reliability", "runs"}

func (g *globals) printTable(r *results, f tableFlags) error {
	if f.of != "" {
		t := r.named(f.of)
		switch {
		case f.json:
			return table.JSON(g.stdout, t)
		case f.parquet:
			return table.Parquet(g.stdout.raw, t)
		}
		return table.CSV(g.stdout, t)
	}
	switch {
	case f.parquet:
		return table.Parquet(g.stdout.raw, text.Long(r.ablation))
	case f.json:
		return text.JSON(g.stdout, r.ablation)
	case f.csv:
		return table.CSV(g.stdout, text.Long(r.ablation))
	case f.tex:
		return text.LaTeX(g.stdout, r.ablation)
	case f.md:
		return text.Markdown(g.stdout, r.ablation)
	}
	width, _ := terminal(g.stdout)
	fmt.Fprintf(g.stdout, "%s\n\n", r.l.Title)
	return text.Terminal(g.stdout, r.ablation, width)
}
