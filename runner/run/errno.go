package run

import (
	"errors"
	"syscall"

	"ablate/runner/launch"
)

// errnos are the errors of the file system that the store has advice for. They
// cross from a worker as classes, by their names.
var errnos = map[string]syscall.Errno{
	"ENOSPC": syscall.ENOSPC, "EDQUOT": syscall.EDQUOT, "EROFS": syscall.EROFS, "EACCES": syscall.EACCES,
}

// Classify gives a stage's error, in a worker, the class of its cause in the
// file system, if it has one.
func Classify(err error) error {
	for name, errno := range errnos {
		if errors.Is(err, errno) {
			return launch.WithClass(name, err)
		}
	}
	return err
}

// declassify makes the class that Classify gave an error again.
func declassify(err error) error {
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
