package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"ablate/experiments/schema"
	"ablate/models/backend"
)

// buildID names the running program down to its bytes: the SHA-256 of its file, 64
// hexadecimal digits; empty where that cannot be read. On Linux it is that of the
// file that runs, even after another was put in its place.
var buildID = sync.OnceValue(func() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		name, err := os.Executable()
		if err != nil {
			return ""
		}
		if f, err = os.Open(name); err != nil {
			return ""
		}
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
})

// commit is the commit that the program was built from, with -dirty where the tree
// had changes; empty where the build has none: 'go run' stamps none.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

// programVersion names the program: its commit, or, where it has none, its version
// and the beginning of its build id, so that two programs have two names.
func programVersion() string {
	if c := commit(); c != "" {
		return c
	}
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = strings.Trim(info.Main.Version, "()")
	}
	return version + "+" + buildID()[:min(12, len(buildID()))]
}

func newVersion(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print which program this is, and with what it computes",
		Long:    "Prints the program's commit and build, the versions of the libraries that compute\nfor it, and the version of the schema of studies. Reports of mistakes need it.\n",
		Example: "  ablate version\n  ablate version --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Version  string            `json:"version"`
				Commit   string            `json:"commit"`
				Build    string            `json:"build"`
				Go       string            `json:"go"`
				Platform string            `json:"platform"`
				Schema   int               `json:"schema"`
				Plugin   string            `json:"plugin"`
				Modules  map[string]string `json:"modules"`
			}{programVersion(), commit(), buildID(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, schema.Version,
				backend.PluginPackage + " " + backend.PluginVersion, modules()}
			if asJSON {
				return writeJSON(g.stdout, v)
			}
			fmt.Fprintf(g.stdout, "ablate %s\nbuild    %s\ngo       %s %s\nschema   %d\nplugin   %s\n", v.Version, v.Build, v.Go, v.Platform, v.Schema, v.Plugin)
			for _, name := range []string{"gomlx", "go-xla"} {
				fmt.Fprintf(g.stdout, "%-8s %s\n", name, v.Modules[name])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// modules are the versions of the libraries that compute.
func modules() map[string]string {
	list := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/gomlx/gomlx" || d.Path == "github.com/gomlx/go-xla" {
				list[d.Path[strings.LastIndexByte(d.Path, '/')+1:]] = d.Version
			}
		}
	}
	return list
}
