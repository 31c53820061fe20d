package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/docs"
	"ablate/experiments/language"
	"ablate/runner/sandbox"
)

type schemaOptions struct {
	json, cue        bool
	document, engine string
}

func (o *schemaOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print the reference as JSON")
	f.StringVar(&o.engine, "engine", "", "print the parameters of the engine `NAME` of a study, whose path is then the argument")
	f.BoolVar(&o.cue, "cue", false, "with --engine: print CUE definitions, with which 'cue vet' finds mistakes too")
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
		Use:   "schema [FIELD|STUDY]",
		Short: "Print the reference of the language in which studies are written",
		Long: `Prints every field of a study and of a trial with its type, default, unit, meaning and
source, as Markdown. The text comes from the comments of the CUE schema in this program.

FIELD selects fields: a path such as finetune.beta, a group such as finetune.mix, or a
part of the language such as arm.

--engine asks an engine of a study what its parameters are. Each is a field of a trial, such
as finetune.params.learning_rate, and may be set and swept like any other. --cue prints them
as CUE definitions; the comment at their head says how to use them.

--json-schema prints a JSON schema (draft 2020-12) of what a command prints with --json.
The field "format" of such an object names the schema and its version. Within a version,
fields may be added, but no field changes its meaning. engine-description, engine-request,
engine-result and the like are the files of the protocol of engines (docs/engines.md).
` + exitHelp,
		Example: "  ablate schema | less\n  ablate schema finetune.beta\n  ablate schema --json\n  ablate schema --json-schema table\n  ablate schema --engine diffusers mystudy",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runSchema(cmd.Context(), g, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// runSchema prints the reference of the language, or its part on some fields, or a JSON
// schema.
func runSchema(ctx context.Context, g *globals, o schemaOptions, names []string) error {
	if o.engine != "" || o.cue {
		return printEngine(ctx, g, o, names)
	}
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

// printEngine prints the parameters of an engine of a study.
func printEngine(ctx context.Context, g *globals, o schemaOptions, names []string) error {
	if o.engine == "" || len(names) != 1 || o.document != "" || o.cue && o.json {
		return usagef("schema: --engine needs a study, as in 'ablate schema --engine NAME STUDY', and either --cue or --json")
	}
	s, err := sandbox.Load(ctx, names[0], nil)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Engines, func(e language.Engine) bool { return e.Name == o.engine }) {
		var known []string
		for _, e := range s.Engines {
			known = append(known, e.Name)
		}
		return usagef("schema: study %s has no engine %q; it has %q", s.Name, o.engine, known)
	}
	if o.cue {
		text, err := s.EngineSchema(o.engine)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(g.stdout, text)
		return err
	}
	sections, err := s.EngineReference(o.engine)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(g.stdout, schemaDocument{head{schemaFormat}, sections})
	}
	for i, section := range sections {
		if i > 0 {
			fmt.Fprintln(g.stdout)
		}
		fmt.Fprintf(g.stdout, "## %s\n\n%s\n", section.Name, section.Doc)
		for _, f := range section.Fields {
			fmt.Fprintf(g.stdout, "\n%s", f)
		}
	}
	return nil
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
