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

// replaceFolder has fill write a folder beside dir and puts it in dir's place when
// it is complete. Whoever reads dir sees the old one or the new one; of several
// writers at once the last wins, and none fails. A link in dir's place is replaced,
// and what it leads to is left alone.
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
	for range 100 { // each time after another writer was faster
		err := exchange(fresh, dir) // fresh is then the old one
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(fresh, dir)
		}
		if !taken(err) {
			return err
		}
	}
	return &fs.PathError{Op: "replace", Path: dir, Err: errors.New("others write it all the time")}
}

// taken reports that the target of a rename was there.
func taken(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR)
}

// exchangeSlowly is exchange by renames, for where the system has none: for a
// moment nothing has the name b.
func exchangeSlowly(a, b string) error {
	old := a + "-old"
	if err := os.Rename(b, old); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		if taken(err) { // another writer's folder is newer than the old one
			return errors.Join(err, os.RemoveAll(old))
		}
		return errors.Join(err, os.Rename(old, b))
	}
	return os.RemoveAll(old)
}
