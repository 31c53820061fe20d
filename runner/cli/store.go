package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ablate/runner/store"
)

// openStore opens the store of a command that takes no study: the one that --store names,
// or .ablate beside the cue.mod of the working folder.
func (g *globals) openStore() (*store.Store, error) {
	dir := g.store
	if dir == "" {
		here, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		module, err := moduleFolder(here)
		if err != nil {
			return nil, err
		}
		if module == "" {
			return nil, usagef("neither this folder nor one above it contains cue.mod, beside which the store is: name the store with --store or ABLATE_STORE")
		}
		dir = filepath.Join(module, ".ablate")
	}
	return store.Open(dir)
}

// isStore returns an error if a folder is not a store. advice says how to name another one.
func isStore(dir, advice string) error {
	for _, sub := range []string{"actions", "studies"} {
		if isFolder(filepath.Join(dir, sub)) {
			return nil
		}
	}
	if isFolder(filepath.Join(dir, ".ablate")) {
		advice = "give " + filepath.Join(dir, ".ablate")
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store %s: there is no such folder: %s", dir, advice)
	}
	return fmt.Errorf("store %s: the folder is not a store, which has folders actions and studies: %s", dir, advice)
}

// moduleFolder returns the folder that contains cue.mod, at or above dir, or "" if there is
// none.
func moduleFolder(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, "cue.mod")); err == nil && info.IsDir() {
			return at, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if at == filepath.Dir(at) {
			return "", nil
		}
	}
}
