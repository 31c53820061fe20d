// Package leftover removes what writers left that were killed. A file or folder is
// written under a name beside its own, and gets its own when it is complete.
package leftover

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// age is that from which nobody writes any more.
const age = 24 * time.Hour

// Sweep removes files and folders of dir whose names begin with prefix and that were
// not touched for a day.
func Sweep(dir, prefix string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > age {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process sweeps too
			return err
		}
	}
	return nil
}
