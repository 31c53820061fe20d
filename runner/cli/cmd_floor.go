package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/analysis/compare"
	"ablate/reports/text"
)

type floorOptions struct {
	studyOptions
	json bool
}

func (o *floorOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print the floors as JSON")
}

const floorFormat = "ablate.floor/1"

// floorDocument is what floor prints as JSON.
type floorDocument struct {
	head
	Reference string          `json:"reference"` // label of the reference row
	Family    int             `json:"family"`    // number of comparisons of the study, which are corrected together
	Floors    []compare.Floor `json:"floors"`    // one for each primary metric that has one
}

func newFloor(g *globals) *cobra.Command {
	var o floorOptions
	cmd := &cobra.Command{
		Use:   "floor STUDY",
		Short: "Print the noise of the reference arm and the smallest differences that seeds can find",
		Long: `Prints, for each primary metric, the noise of the reference arm, which is its standard
deviation over seeds; the standard deviation of a difference paired by seed (median over
rows); and the smallest difference that 3, 5, 8, 12 and 20 seeds find with 80% power,
for one comparison at 5% and corrected for all comparisons of the study. Nothing is run.
The study needs three seeds of the reference and of another row.
` + exitHelp,
		Example: "  ablate floor experiments/lee2023",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runFloor(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runFloor(ctx context.Context, g *globals, o floorOptions, path string) error {
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	floors := r.Ablation.Floors()
	if len(floors) == 0 {
		return fmt.Errorf("floor: study %s has no primary metric with three seeds of %q and of another row; run more seeds", r.Project.Study.Name, r.Ablation.Reference)
	}
	if o.json {
		return printJSON(g.stdout, floorDocument{head{floorFormat}, r.Ablation.Reference, r.Ablation.Family, floors})
	}
	width, _ := terminal(g.stdout)
	return text.Floors(g.stdout, r.Ablation, floors, width)
}
