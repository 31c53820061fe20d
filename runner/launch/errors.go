package launch

import (
	"errors"
	"fmt"
)

// Classes of errors. Stages may define more.
const (
	ClassFailed   = "failed"   // the task returned an error
	ClassPanic    = "panic"    // the task panicked; the worker lives on
	ClassCrash    = "crash"    // the worker died, a CrashError; a retry may help
	ClassKilled   = "killed"   // the worker was killed by SIGKILL or SIGTERM, which somebody else sent
	ClassMemory   = "memory"   // the worker was killed by the kernel because memory was short
	ClassProtocol = "protocol" // the worker violated the protocol
	ClassStart    = "start"    // the worker could not be started
	ClassSilent   = "silent"   // the worker sent nothing for too long and was ended
)

// RemoteError is the error of a task, reported by its worker, or an error of the worker
// itself.
type RemoteError struct {
	Class  string `json:"class"`
	Msg    string `json:"msg"`
	Stack  string `json:"stack,omitempty"`  // stack of a panic, for a log
	Output string `json:"output,omitempty"` // output of a program that the task ran, for a log
	Worker int    `json:"-"`                // number of the worker, set by the pool
	Stderr string `json:"-"`                // standard error of the worker during the task, for a log
}

func (e *RemoteError) Error() string { return e.Msg }

// CrashError reports that a worker died during a task, or was ended because it sent
// nothing.
type CrashError struct {
	Worker int
	Msg    string // how it ended, the task, and the line of Stderr that gives the reason
	Stderr string // its standard error during the task, for a log

	cause string // ClassCrash, ClassKilled, ClassMemory or ClassSilent
}

func (e *CrashError) Error() string { return e.Msg }

func (e *CrashError) class() string { return e.cause }

// Details are details of an error for a log.
type Details struct {
	Stack  string // of a panic
	Output string // of a program that the task ran
	Stderr string // standard error of the worker
}

// Diagnostics returns the details of an error.
func Diagnostics(err error) Details {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return Details{remote.Stack, remote.Output, remote.Stderr}
	}
	var crash *CrashError
	if errors.As(err, &crash) {
		return Details{Stderr: crash.Stderr}
	}
	return Details{}
}

// outputOf returns the output of a program that an error has, "" if it has none.
func outputOf(err error) string {
	var o interface{ Output() string }
	if errors.As(err, &o) {
		return o.Output()
	}
	return ""
}

// stackOf returns the stack of an error, "" if it has none.
func stackOf(err error) string {
	var s interface{ Stack() string }
	if errors.As(err, &s) {
		return s.Stack()
	}
	return ""
}

// panicError is a panic of a handler.
type panicError struct{ value, stack string }

func (e *panicError) Error() string { return "internal error: " + e.value }
func (e *panicError) Stack() string { return e.stack }

// Class returns the class of err: that of a wrapped [*RemoteError], [*CrashError] or
// error of [WithClass], or else ClassFailed.
func Class(err error) string {
	var c interface{ class() string }
	if errors.As(err, &c) {
		return c.class()
	}
	return ClassFailed
}

func (e *RemoteError) class() string { return e.Class }

// WithClass adds a class to err, which Serve sends to the pool. It returns nil for nil.
func WithClass(class string, err error) error {
	if err == nil {
		return nil
	}
	return &classError{name: class, err: err}
}

type classError struct {
	name string
	err  error
}

func (e *classError) Error() string { return e.err.Error() }
func (e *classError) Unwrap() error { return e.err }
func (e *classError) class() string { return e.name }

// remotef returns an error of the pool about worker i.
func remotef(class string, i int, format string, args ...any) *RemoteError {
	return &RemoteError{Class: class, Worker: i, Msg: fmt.Sprintf("worker %d ", i) + fmt.Sprintf(format, args...)}
}
