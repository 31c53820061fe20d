//go:build unix

package table

import (
	"os"
	"syscall"
)

// mapped is a file as memory, to which the kernel brings only what is read. It
// stays mapped while the program runs, for strings share it: tables are replaced
// by renaming, never written in place.
func mapped(f *os.File, size int64) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_PRIVATE)
}
