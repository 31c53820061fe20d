package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/reports/page"
	"ablate/runner/report"
	"ablate/runner/result"
)

type reportOptions struct {
	studyOptions
	single, figures, against string
	maxSize                  float64
	json                     bool
}

func (o *reportOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringVar(&o.single, "single", "", "write the report as one `FILE`")
	f.Float64Var(&o.maxSize, "max-size", 20, "largest size of the file of --single, in `MB`")
	f.StringVar(&o.figures, "figures", "", "write only the figures, into the folder `DIR`")
	f.StringVar(&o.against, "against", "", "compare with this `STUDY`, folder of results or baseline, as 'ablate diff' does")
	f.BoolVar(&o.json, "json", false, "print the paths as JSON")
}

const reportFormat = "ablate.report/1"

// reportDocument is what report prints as JSON.
type reportDocument struct {
	head
	Files []string `json:"files"` // paths of the files that were written
}

func newReport(g *globals) *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report STUDY",
		Short: "Write an HTML report of the results so far",
		Long: `Writes report/index.html into the study's folder of results, from the results in the
store, and prints its path. The report opens from disk, without a server or a network.

--single writes one file instead, for sending to somebody. If the file would be larger
than --max-size, it shows fewer pictures. --figures writes only the figures, as SVG, PNG
and PDF. --against adds a comparison with another study or with earlier results: a
STUDY, a folder with trials.arrow and samples.arrow, or a baseline. 'ablate diff' prints
the same comparison.
` + exitHelp,
		Example: "  ablate report experiments/quickstart\n  ablate report experiments/quickstart --single report.html\n  ablate report experiments/quickstart --against experiments/gate",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runReport(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runReport(ctx context.Context, g *globals, o reportOptions, path string) error {
	if o.single != "" && o.figures != "" {
		return usagef("report: --single and --figures exclude each other: give one of them")
	}
	if !(o.maxSize > 0 && o.maxSize <= 1e6) {
		return usagef("report: --max-size is %v; must be more than 0 megabytes, and 1,000,000 at most", o.maxSize)
	}
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	if r.Project.Study.Imported == nil && r.Found.Len() == 0 {
		return fmt.Errorf("report: study %s has no result yet: run 'ablate run %s' first", r.Project.Study.Name, path)
	}
	rep := report.New(ctx, r)
	if o.against != "" {
		if rep.Against, err = g.diff(ctx, r, o.against); err != nil {
			return fmt.Errorf("report: --against: %w", err)
		}
	}
	files, err := writeReport(r, rep, o)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(g.stdout, reportDocument{head{reportFormat}, files})
	}
	for _, name := range files {
		fmt.Fprintln(g.stdout, name)
	}
	return nil
}

// writeReport writes the report in the form that the flags ask for, and returns the paths
// of its files.
func writeReport(r *result.Result, rep page.Report, o reportOptions) ([]string, error) {
	switch {
	case o.single != "":
		html, err := page.Single(rep, int(o.maxSize*1e6))
		if err != nil {
			return nil, err
		}
		return []string{o.single}, writeFile(o.single, func(w io.Writer) error { _, err := w.Write(html); return err })
	case o.figures != "":
		names, err := page.Figures(o.figures, rep)
		for i := range names {
			names[i] = filepath.Join(o.figures, names[i])
		}
		return names, err
	}
	path, err := report.Write(r, rep)
	return []string{path}, err
}
