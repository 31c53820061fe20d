package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/experiments/language"
)

type schemaOptions struct {
	json bool
}

func (o *schemaOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "as JSON")
}

func newSchema(g *globals) *cobra.Command {
	var o schemaOptions
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
		RunE:    func(_ *cobra.Command, args []string) error { return runSchema(g, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// runSchema prints the reference of the language, or what it has of one field.
func runSchema(g *globals, o schemaOptions, names []string) error {
	sections, err := language.Reference()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return printField(g, o, sections, names[0])
	}
	if o.json {
		return writeJSON(g.stdout, sections)
	}
	page, err := language.Markdown(sections)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(g.stdout, page)
	return err
}

// printField explains the fields that a name stands for.
func printField(g *globals, o schemaOptions, sections []language.Section, name string) error {
	fields, hint := language.Find(sections, name)
	if hint != "" {
		return usagef("schema: the study language has no field %q: %s", name, hint)
	}
	if o.json {
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
