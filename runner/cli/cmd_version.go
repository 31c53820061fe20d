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
	f.BoolVar(&o.json, "json", false, "print the versions as JSON")
}

const versionFormat = "ablate.version/1"

// versionDocument is what version prints as JSON.
type versionDocument struct {
	head
	Version  string            `json:"version"`  // commit, or module version and beginning of the build
	Commit   string            `json:"commit"`   // that the program was built from; empty if it is not known
	Build    string            `json:"build"`    // SHA-256 of the program's file
	Go       string            `json:"go"`       // version of Go
	Platform string            `json:"platform"` // operating system and processor
	Language int               `json:"schema"`   // version of the study language
	Plugin   string            `json:"plugin"`   // name and version of the XLA plugin for the CPU
	Modules  map[string]string `json:"modules"`  // versions of the libraries that the program computes with, by name
}

func newVersion(g *globals) *cobra.Command {
	var o versionOptions
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the program's commit, build and libraries",
		Long:    "Prints the program's commit and build, the versions of the libraries that it computes\nwith, and the version of the study language. Include the output in bug reports.\n",
		Example: "  ablate version\n  ablate version --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runVersion(g, o) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runVersion(g *globals, o versionOptions) error {
	v := versionDocument{head{versionFormat}, program.Version(), program.Commit(), program.Build(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, schema.Version,
		device.Plugin(), program.Modules()}
	if o.json {
		return printJSON(g.stdout, v)
	}
	fmt.Fprintf(g.stdout, "ablate %s\nbuild    %s\ngo       %s %s\nschema   %d\nplugin   %s\n", v.Version, v.Build, v.Go, v.Platform, v.Language, v.Plugin)
	for _, name := range program.Libraries {
		fmt.Fprintf(g.stdout, "%-8s %s\n", name, v.Modules[name])
	}
	return nil
}
