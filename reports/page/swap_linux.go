package page

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange exchanges two paths atomically.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		return exchangeSlowly(a, b)
	}
	return err
}
