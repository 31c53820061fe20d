// Package leftover removes incomplete files and folders that killed writers left. Writers write
// under a temporary name in the same folder, and rename the complete file or folder.
package leftover

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// age is the time after the last change from which a writer counts as killed.
const age = 24 * time.Hour

// Sweep removes files and folders of dir whose names begin with prefix and that were not
// changed for a day. It ignores files that another process removes at the same time.
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
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process may sweep too
			return err
		}
	}
	return nil
}
