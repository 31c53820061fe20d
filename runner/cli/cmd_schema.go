package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"ablate/experiments/spec"
)

func newSchema(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the reference of the study language",
		Long: `Prints every field of a study and of a trial with its type, default, unit,
meaning and source, as Markdown. It is generated from the comments of the CUE
schema that this program holds.
` + exitHelp,
		Example: "  ablate schema | less\n  ablate schema --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			sections, err := spec.Reference()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(g.stdout, sections)
			}
			page, err := spec.Markdown(sections)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(g.stdout, page)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
