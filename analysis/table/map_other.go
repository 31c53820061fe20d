//go:build !unix

package table

import (
	"io"
	"os"
)

// mapped is a file as memory.
func mapped(f *os.File, size int64) ([]byte, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return b, err
}
