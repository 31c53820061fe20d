//go:build !unix

package table

import (
	"io"
	"os"
)

// mapped returns the content of a file. On this platform it is read, not mapped.
func mapped(f *os.File, size int64) ([]byte, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return b, err
}
