package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type baselineOptions struct {
	studyOptions
	output string
}

func (o *baselineOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringVarP(&o.output, "output", "o", "", "write to `FILE` instead of stdout")
}

func newBaseline(g *globals) *cobra.Command {
	var o baselineOptions
	cmd := &cobra.Command{
		Use:   "baseline STUDY [-o FILE]",
		Short: "Write the baseline that 'ablate check' compares with",
		Long: `Writes the guarded metrics of a study's rows as JSON, one value per line: the mean, the
number of seeds, the value of every seed, the ids of the trials, and the versions of the
programs that computed them. The study's field gate names the guarded metrics. Commit
the file beside the study, and review its diff when it changes.
` + exitHelp,
		Example: "  ablate baseline experiments/quickstart -o baseline.json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runBaseline(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runBaseline(ctx context.Context, g *globals, o baselineOptions, path string) error {
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	if err := r.Damage(); err != nil {
		return err
	}
	if missing := r.Incomplete(); len(missing) > 0 {
		return fmt.Errorf("baseline: study %s has no results of %s: run 'ablate run %s' first", r.Project.Study.Name, strings.Join(missing, ", "), path)
	}
	b, err := r.Baseline()
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	if o.output == "" {
		return b.Write(g.stdout)
	}
	return writeFile(o.output, b.Write)
}
