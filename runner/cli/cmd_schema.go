package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/docs"
	"ablate/experiments/language"
)

type schemaOptions struct {
	json     bool
	document string
}

func (o *schemaOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print the reference as JSON")
	f.StringVar(&o.document, "json-schema", "", "print the JSON schema of what the command `NAME` prints with --json, of 'table --table NAME --json', or of a file of engines such as engine-request")
}

const (
	schemaFormat = "ablate.schema/1"
	fieldFormat  = "ablate.field/1"
)

// schemaDocument is what schema prints as JSON.
type schemaDocument struct {
	head
	Sections []language.Section `json:"sections"`
}

// fieldDocument is what schema FIELD prints as JSON.
type fieldDocument struct {
	head
	Fields []language.Parameter `json:"fields"`
}

func newSchema(g *globals) *cobra.Command {
	var o schemaOptions
	cmd := &cobra.Command{
		Use:   "schema [FIELD]",
		Short: "Print the reference of the language in which studies are written",
		Long: `Prints every field of a study and of a trial with its type, default, unit, meaning and
source, as Markdown. The text comes from the comments of the CUE schema in this program.

FIELD selects fields: a path such as finetune.beta, a group such as finetune.mix, or a
part of the language such as arm.

--json-schema prints a JSON schema (draft 2020-12) of what a command prints with --json.
The field "format" of such an object names the schema and its version. Within a version,
fields may be added, but no field changes its meaning. engine-description, engine-request,
engine-result and the like are the files of the protocol of engines (docs/engines.md).
` + exitHelp,
		Example: "  ablate schema | less\n  ablate schema finetune.beta\n  ablate schema --json\n  ablate schema --json-schema table",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return runSchema(g, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// runSchema prints the reference of the language, or its part on some fields, or a JSON
// schema.
func runSchema(g *globals, o schemaOptions, names []string) error {
	if o.document != "" {
		return printSchema(g, o, names)
	}
	sections, err := language.Reference()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return printField(g, o, sections, names[0])
	}
	if o.json {
		return printJSON(g.stdout, schemaDocument{head{schemaFormat}, sections})
	}
	page, err := language.Markdown(sections)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(g.stdout, page)
	return err
}

// printSchema prints the JSON schema that --json-schema names.
func printSchema(g *globals, o schemaOptions, names []string) error {
	if len(names) > 0 || o.json {
		return usagef("schema: --json-schema prints a JSON schema: leave out FIELD and --json")
	}
	b, ok := docs.Schema(o.document)
	if !ok {
		return usagef("schema: --json-schema is %q; must be one of %s", o.document, strings.Join(docs.Schemas(), ", "))
	}
	_, err := g.stdout.Write(b)
	return err
}

// printField prints the reference of the fields that name selects.
func printField(g *globals, o schemaOptions, sections []language.Section, name string) error {
	fields, hint := language.Find(sections, name)
	if hint != "" {
		return usagef("schema: the study language has no field %q: %s", name, hint)
	}
	if o.json {
		return printJSON(g.stdout, fieldDocument{head{fieldFormat}, fields})
	}
	for i, f := range fields {
		if i > 0 {
			fmt.Fprintln(g.stdout)
		}
		fmt.Fprint(g.stdout, f)
	}
	return nil
}
