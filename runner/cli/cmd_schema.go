package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"ablate/experiments/language"
)

func newSchema(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "schema [FIELD]",
		Short: "Print the reference of the study language",
		Long: `Prints every field of a study and of a trial with its type, default, unit,
meaning and source, as Markdown. It is generated from the comments of the CUE
schema that this program holds.

FIELD is a path, as in finetune.beta, a group, as in finetune.mix, or a part of the
language, as in arm: the fields that it names are explained alone.
` + exitHelp,
		Example: "  ablate schema | less\n  ablate schema finetune.beta\n  ablate schema --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			sections, err := language.Reference()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				fields, hint := language.Find(sections, args[0])
				if hint != "" {
					return usagef("schema: the study language has no field %q: %s", args[0], hint)
				}
				if asJSON {
					return writeJSON(g.stdout, fields)
				}
				for i, f := range fields {
					if i > 0 {
						fmt.Fprintln(g.stdout)
					}
					fmt.Fprint(g.stdout, f)
				}
				return nil
			}
			if asJSON {
				return writeJSON(g.stdout, sections)
			}
			page, err := language.Markdown(sections)
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
