package failure

import (
	"errors"
	"syscall"

	"ablate/models/train"
	"ablate/runner/launch"
)

// errnos are the errors of the file system for which the store has advice. A worker sends
// them to its parent as classes of these names.
var errnos = map[string]syscall.Errno{
	"ENOSPC": syscall.ENOSPC, "EDQUOT": syscall.EDQUOT, "EROFS": syscall.EROFS, "EACCES": syscall.EACCES,
	"EIO": syscall.EIO, "ESTALE": syscall.ESTALE,
}

// Classify is called in a worker. If the cause of a stage's error is one of errnos, or that
// a training diverged, it adds the class to the error.
func Classify(err error) error {
	if errors.As(err, new(*train.DivergedError)) {
		return launch.WithClass(string(Diverged), err)
	}
	for name, errno := range errnos {
		if errors.Is(err, errno) {
			return launch.WithClass(name, err)
		}
	}
	return err
}

// Declassify is called in the parent. It turns the class that Classify added back into an
// error of the file system.
func Declassify(err error) error {
	if errno, ok := errnos[launch.Class(err)]; ok {
		return &fileSystemError{err, errno}
	}
	return err
}

type fileSystemError struct {
	error
	errno syscall.Errno
}

func (e *fileSystemError) Unwrap() []error { return []error{e.error, e.errno} }
