package checkpoint

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// replace writes a file atomically: after an error or a crash, path has its old content. The
// file's mode follows the umask.
func replace(path string, write func(io.Writer) error) error {
	fail := func(err error) error { return fmt.Errorf("%s: %w", path, err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	// The temporary file is in path's folder, so that the rest of a killed process is removed
	// with that folder.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o666))
	if err != nil {
		return fail(err)
	}
	defer f.Cleanup()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return fail(err)
	}
	if err := w.Flush(); err != nil {
		return fail(err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fail(err)
	}
	return nil
}
