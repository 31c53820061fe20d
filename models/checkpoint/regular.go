package checkpoint

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxJSON bounds a JSON file.
const maxJSON = 64 << 20

// openRegular opens a regular file and returns its size. A pipe or device, of which
// reading may never end, is refused, and opening one does not wait.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readJSONBytes reads a JSON file whole.
func readJSONBytes(path string) ([]byte, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxJSON {
		return nil, fmt.Errorf("%s has %d bytes; a JSON file here has at most %d", path, size, maxJSON)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}
