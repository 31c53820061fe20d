package cli

import (
	"errors"
	"io"
	"os"

	"github.com/google/renameio/v2"
)

// writeFile replaces a file atomically. A name that is not a regular file, such as
// /dev/stdout, is opened and written directly.
func writeFile(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	t, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer t.Cleanup()
	if err := write(t); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}
