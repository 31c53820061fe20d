package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"ablate/experiments/schema"
)

//go:embed template/study.cue
var firstStudy []byte

// modulePath is what CUE takes for a module's path, but for its version.
var modulePath = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$`)

func newInit(g *globals) *cobra.Command {
	var module string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CUE module with the schema and an example study",
		Long: `Makes a CUE module in DIR: cue.mod with a copy of the schema, where 'cue vet'
and editors find it, and first/study.cue, a commented study that runs.

In a module that is there already, the copy of the schema alone is renewed;
nothing else is touched.
` + exitHelp,
		Example: "  ablate init studies && cd studies && ablate run first",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !modulePath.MatchString(module) {
				return usagef("init: --module %q is no path of a CUE module: want a domain and a path, as in example.com/studies", module)
			}
			return runInit(g, args[0], module)
		},
	}
	cmd.Flags().StringVar(&module, "module", "example.com/studies", "`PATH` of the new module: a domain, and a path below it")
	return cmd
}

func runInit(g *globals, dir, module string) error {
	names, err := schema.Names()
	if err != nil {
		return err
	}
	vendored := filepath.Join(dir, "cue.mod", "pkg", filepath.FromSlash(schema.ImportPath))
	_, err = os.Stat(filepath.Join(dir, "cue.mod", "module.cue"))
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return fmt.Errorf("init: %w", err)
	}
	write := func(name string, data []byte) error {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return fmt.Errorf("init: %w", err)
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			return fmt.Errorf("init: %w", err)
		}
		return nil
	}
	first := filepath.Join(dir, "first", "study.cue")
	if fresh {
		if _, err := os.Stat(first); err == nil {
			return fmt.Errorf("init: %s is there already: name another folder", first)
		}
		if err := write(filepath.Join(dir, "cue.mod", "module.cue"), fmt.Appendf(nil, "module: %q\nlanguage: version: %q\n", module+"@v0", schema.Language)); err != nil {
			return err
		}
	}
	// Files of an older schema that this one no longer has would be part of it.
	if err := os.RemoveAll(vendored); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for _, name := range names {
		data, err := schema.Files.ReadFile(name)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(vendored, filepath.FromSlash(name)), data); err != nil {
			return err
		}
	}
	if !fresh {
		fmt.Fprintf(g.stdout, "%s: its copy of the schema is up to date\n", dir)
		return nil
	}
	if err := write(first, firstStudy); err != nil {
		return err
	}
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := write(ignore, []byte(".ablate/\n")); err != nil {
			return err
		}
	}
	fmt.Fprintf(g.stdout, "%s\n\nnext:\n  cd %s\n  ablate plan first\n  ablate run first\n", first, dir)
	return nil
}
