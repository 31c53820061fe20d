//go:build unix

package table

import (
	"os"
	"syscall"
)

// mapped maps a file into memory, so that only the pages that are used are read. The file stays
// mapped until the program ends, because strings share its memory. That is safe because tables
// are replaced by renaming, never written in place.
func mapped(f *os.File, size int64) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_PRIVATE)
}
