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
	f, err := pending(path, write)
	if err != nil {
		return err
	}
	return publish(path, f)
}

// pending writes a file beside path, to be published there or cleaned up. After an error there
// is none.
func pending(path string, write func(io.Writer) error) (*renameio.PendingFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	// The temporary file is in path's folder, so that the rest of a killed process is removed
	// with that folder.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o666))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		_ = f.Cleanup()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// publish syncs a pending file and gives it the name path.
func publish(path string, f *renameio.PendingFile) error {
	if err := f.CloseAtomicallyReplace(); err != nil {
		_ = f.Cleanup()
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
