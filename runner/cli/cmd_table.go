package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/text"
	"ablate/runner/store"
	"ablate/runner/study"
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

--of takes one of the study's tables instead: trials (a row a view), samples (a row
an evaluation image), curves, labels, or runs (a row an attempt). They lie as
Arrow files in the study's folder of results too.
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
			l, err := g.load(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			class, err := backendClass()
			if err != nil {
				return err
			}
			r, err := l.results(class)
			if err != nil {
				return err
			}
			if err := r.write(); err != nil {
				return err
			}
			return g.printTable(r, tf)
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

// named is one of the study's tables.
func (r *results) named(name string) *table.Table {
	return map[string]*table.Table{
		"trials": r.tables.Trials, "samples": r.tables.Samples, "curves": r.tables.Curves, "labels": r.tables.Labels, "reliability": r.tables.Reliability, "runs": r.runs,
	}[name]
}

// results are a study's tables and its ablation table.
type results struct {
	l        *loaded
	found    map[string]study.Output
	tables   *study.Tables
	runs     *table.Table
	ablation *compare.Table
}

// results gathers what the store has of a study.
func (l *loaded) results(class string) (*results, error) {
	found, err := study.Collect(l.Graph, l.Store, class)
	if err != nil {
		return nil, err
	}
	r := &results{l: l, found: found}
	if r.tables, err = study.NewTables(l.Study, l.Graph, func(a *study.Action) (string, string, bool) {
		if a == nil {
			return "", "", false
		}
		o, ok := found[a.Name]
		return o.Dir, o.ID.String(), ok
	}); err != nil {
		return nil, err
	}
	events, unread, err := store.ReadJournal(l.Dir)
	if err != nil {
		return nil, err
	}
	_ = unread // a line that a dying process tore says nothing
	r.runs = study.Runs(store.Attempts(events))
	o := compare.Options{Reference: l.Reference, Detect: l.Detect, Show: l.Show}
	for _, t := range l.Gate {
		o.Also = append(o.Also, t.Metric)
	}
	r.ablation, err = compare.Ablation(r.tables.Trials, r.tables.Samples, o)
	return r, err
}

// write writes the tables into the study's folder.
func (r *results) write() error {
	for _, name := range tableNames {
		if err := table.WriteFile(filepath.Join(r.l.Dir, name+".arrow"), r.named(name)); err != nil {
			return r.l.Store.Diagnose(err)
		}
	}
	return nil
}

func (g *globals) printTable(r *results, f tableFlags) error {
	if f.of != "" {
		t := r.named(f.of)
		switch {
		case f.json:
			return table.JSON(g.stdout, t)
		case f.parquet:
			return table.Parquet(g.stdout, t)
		}
		return table.CSV(g.stdout, t)
	}
	switch {
	case f.parquet:
		return table.Parquet(g.stdout, text.Long(r.ablation))
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
