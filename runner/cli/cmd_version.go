package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/experiments/schema"
	"ablate/runner/device"
	"ablate/runner/program"
)

type versionOptions struct {
	json bool
}

func (o *versionOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "as JSON")
}

func newVersion(g *globals) *cobra.Command {
	var o versionOptions
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which program this is, and with what it computes",
		Long:    "Prints the program's commit and build, the versions of the libraries that compute\nfor it, and the version of the schema of studies. Reports of mistakes need it.\n",
		Example: "  ablate version\n  ablate version --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runVersion(g, o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runVersion(g *globals, o versionOptions) error {
	v := struct {
		Version  string            `json:"version"`
		Commit   string            `json:"commit"`
		Build    string            `json:"build"`
		Go       string            `json:"go"`
		Platform string            `json:"platform"`
		Schema   int               `json:"schema"`
		Plugin   string            `json:"plugin"`
		Modules  map[string]string `json:"modules"`
	}{program.Version(), program.Commit(), program.Build(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, schema.Version,
		device.Plugin(), program.Modules()}
	if o.json {
		return writeJSON(g.stdout, v)
	}
	fmt.Fprintf(g.stdout, "ablate %s\nbuild    %s\ngo       %s %s\nschema   %d\nplugin   %s\n", v.Version, v.Build, v.Go, v.Platform, v.Schema, v.Plugin)
	for _, name := range program.Libraries {
		fmt.Fprintf(g.stdout, "%-8s %s\n", name, v.Modules[name])
	}
	return nil
}
