package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/engine"
	"ablate/runner/module"
)

type initOptions struct {
	module, engine string
}

func (o *initOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.module, "module", "example.com/studies", "`PATH` of the new module: a domain and a path below it")
	f.StringVar(&o.engine, "engine", "", "write an engine of this `KIND` and no module: python is a small one to begin from, diffusers runs Stable Diffusion and flow transformers, clip embeds and scores, verdict judges colours; lora-script, simpletuner and flow-factory wrap trainers of others")
}

func newInit(g *globals) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CUE module with the schema and an example study",
		Long: `Makes a CUE module in DIR. cue.mod contains a copy of the schema, where 'cue vet' and
editors find it. first/study.cue is a commented study that is ready to run.

If DIR is a module already, only its copy of the schema is updated.

With --engine, DIR gets an engine instead: a program that loads, samples, trains, scores
and embeds in the place of ablate's own stages, and the kit that it is written with, one
file without dependencies (docs/engines.md).
` + exitHelp,
		Example: "  ablate init studies && cd studies && ablate run first\n  ablate init --engine python engines && ablate probe python3 engines/engine.py",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return runInit(g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runInit(g *globals, o initOptions, dir string) error {
	if o.engine != "" {
		return initEngine(g, o.engine, dir)
	}
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

// initEngine writes an engine into a folder.
func initEngine(g *globals, kind, dir string) error {
	program, err := engine.Write(dir, kind)
	if err != nil {
		return usagef("init: --engine: %v", err)
	}
	fmt.Fprintf(g.stdout, "%s\n\nnext:\n  ablate probe python3 %s\n", program, program)
	return nil
}
