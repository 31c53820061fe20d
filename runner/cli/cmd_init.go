package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/module"
)

type initOptions struct {
	module string
}

func (o *initOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.module, "module", "example.com/studies", "`PATH` of the new module: a domain and a path below it")
}

func newInit(g *globals) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CUE module with the schema and an example study",
		Long: `Makes a CUE module in DIR. cue.mod contains a copy of the schema, where 'cue vet' and
editors find it. first/study.cue is a commented study that is ready to run.

If DIR is a module already, only its copy of the schema is updated.
` + exitHelp,
		Example: "  ablate init studies && cd studies && ablate run first",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return runInit(g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runInit(g *globals, o initOptions, dir string) error {
	if !module.ValidPath(o.module) {
		return usagef("init: --module %q is not a path of a CUE module: write a domain and a path, as in example.com/studies", o.module)
	}
	example, err := module.Make(dir, o.module)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if example == "" {
		fmt.Fprintf(g.stdout, "%s: its copy of the schema is up to date\n", dir)
		return nil
	}
	fmt.Fprintf(g.stdout, "%s\n\nnext:\n  cd %s\n  ablate plan first\n  ablate run first\n", example, dir)
	return nil
}
