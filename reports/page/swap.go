package page

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"ablate/analysis/leftover"
)

// replaceFolder calls fill to write a new folder beside dir, and then puts it in the
// place of dir. A reader of dir sees either the old or the new folder. If several
// processes write at the same time, the last one wins and none fails. If dir is a link,
// the link is replaced, and its target does not change.
func replaceFolder(dir string, fill func(fresh string) error) error {
	return replaceFolderBy(exchange, dir, fill)
}

func replaceFolderBy(exchange func(a, b string) error, dir string, fill func(fresh string) error) error {
	parent, name := filepath.Split(filepath.Clean(dir))
	if err := os.MkdirAll(filepath.Clean(parent), 0o777); err != nil {
		return err
	}
	if err := leftover.Sweep(filepath.Clean(parent), "."+name+"-"); err != nil {
		return err
	}
	fresh := filepath.Join(parent, "."+name+"-"+rand.Text())
	if err := os.Mkdir(fresh, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := fill(fresh); err != nil {
		return err
	}
	for range 100 { // again if another writer was faster
		err := exchange(fresh, dir) // now fresh is the old folder
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(fresh, dir)
		}
		if !taken(err) {
			return err
		}
	}
	return &fs.PathError{Op: "replace", Path: dir, Err: errors.New("others write it all the time")}
}

// taken reports whether a rename failed because its target exists.
func taken(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR)
}

// exchangeSlowly exchanges two paths by renames, for systems without an atomic exchange.
// For a moment the path b does not exist.
func exchangeSlowly(a, b string) error {
	old := a + "-old"
	if err := os.Rename(b, old); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		if taken(err) { // another writer has put a newer folder there
			return errors.Join(err, os.RemoveAll(old))
		}
		return errors.Join(err, os.Rename(old, b))
	}
	return os.RemoveAll(old)
}
