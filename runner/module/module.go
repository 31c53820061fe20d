// Package module makes a CUE module with a copy of the schema and an example study.
package module

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"ablate/experiments/schema"
)

//go:embed template/study.cue
var firstStudy []byte

// pathPattern matches the paths of modules that CUE accepts, without version.
var pathPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$`)

// ValidPath reports whether CUE accepts a path for a module: a domain, and a path
// below it.
func ValidPath(path string) bool { return pathPattern.MatchString(path) }

// Make makes a module of the given path in dir, and returns the path of its example
// study. If dir is a module already, Make only updates its copy of the schema and returns
// "".
func Make(dir, path string) (example string, err error) {
	_, err = os.Stat(filepath.Join(dir, "cue.mod", "module.cue"))
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return "", err
	}
	if !fresh {
		return "", vendor(dir)
	}
	example = filepath.Join(dir, "first", "study.cue")
	if _, err := os.Stat(example); err == nil {
		return "", fmt.Errorf("%s is there already: give another folder", example)
	}
	if err := Bare(dir, path); err != nil {
		return "", err
	}
	if err := write(example, firstStudy); err != nil {
		return "", err
	}
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		return example, write(ignore, []byte(".ablate/\n"))
	}
	return example, nil
}

// Bare makes dir a module of the given path that contains only a copy of the schema.
func Bare(dir, path string) error {
	module := fmt.Appendf(nil, "module: %q\nlanguage: version: %q\n", path+"@v0", schema.Language)
	if err := write(filepath.Join(dir, "cue.mod", "module.cue"), module); err != nil {
		return err
	}
	return vendor(dir)
}

// vendor copies the schema into a module, where the cue command and editors find it.
func vendor(dir string) error {
	names, err := schema.Names()
	if err != nil {
		return err
	}
	copied := filepath.Join(dir, "cue.mod", "pkg", filepath.FromSlash(schema.ImportPath))
	// Files of an older schema that this one does not have must not stay.
	if err := os.RemoveAll(copied); err != nil {
		return err
	}
	for _, name := range names {
		data, err := schema.Files.ReadFile(name)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(copied, filepath.FromSlash(name)), data); err != nil {
			return err
		}
	}
	return nil
}

func write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o666)
}
