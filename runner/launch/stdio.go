//go:build unix

package launch

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ServeStdio is Serve over the standard input and output of this process. It first moves
// both to other descriptors: descriptor 0 becomes empty and descriptor 1 becomes the
// standard error, so that output of a library does not disturb the protocol.
func ServeStdio(ctx context.Context, h Handler, o ServeOptions) error {
	in, out, err := takeStdio()
	if err != nil {
		return fmt.Errorf("worker: standard streams: %w", err)
	}
	defer in.Close()
	defer out.Close()
	return Serve(ctx, in, out, h, o)
}

// takeStdio moves the standard input and output to new descriptors.
func takeStdio() (in, out *os.File, err error) {
	files := [2]*os.File{}
	for fd := range files {
		// The new descriptor is close-on-exec, because a process that a library starts
		// must not keep the pipe open.
		private, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, nil, err
		}
		files[fd] = os.NewFile(uintptr(private), [2]string{"stdin", "stdout"}[fd])
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	if err := dup2(int(null.Fd()), 0); err != nil {
		return nil, nil, err
	}
	if err := dup2(2, 1); err != nil {
		return nil, nil, err
	}
	return files[0], files[1], nil
}
