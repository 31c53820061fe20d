package launch

import (
	"errors"
	"fmt"
)

// Classes of errors. A stage may have classes of its own.
const (
	ClassFailed   = "failed"   // the task returned an error
	ClassPanic    = "panic"    // the task panicked; the worker lives on
	ClassCrash    = "crash"    // the worker died, a CrashError; trying again may help
	ClassProtocol = "protocol" // the worker said something that it must not say
	ClassStart    = "start"    // the worker could not be started
	ClassSilent   = "silent"   // the worker said nothing for too long and was ended
)

// RemoteError is an error of a task, from the worker that ran it or about it.
type RemoteError struct {
	Class  string `json:"class"`
	Msg    string `json:"msg"`
	Stack  string `json:"stack,omitempty"` // of a panic, for a log
	Worker int    `json:"-"`               // filled in by the pool
	Stderr string `json:"-"`               // what the worker wrote to its standard error during the task, for a log
}

func (e *RemoteError) Error() string { return e.Msg }

// CrashError says that a worker died while it had a task, or was ended because it
// said nothing.
type CrashError struct {
	Worker int
	Msg    string // how it ended, during what, and the one line of Stderr that says why
	Stderr string // what it wrote to its standard error during the task, for a log

	silent bool
}

func (e *CrashError) Error() string { return e.Msg }

func (e *CrashError) class() string {
	if e.silent {
		return ClassSilent
	}
	return ClassCrash
}

// Diagnostics returns what is known of an error beside its message: the stack of a
// panic, and what the worker wrote to its standard error. A log wants both.
func Diagnostics(err error) (stack, stderr string) {
	var remote *RemoteError
	if errors.As(err, &remote) {
		return remote.Stack, remote.Stderr
	}
	var crash *CrashError
	if errors.As(err, &crash) {
		return "", crash.Stderr
	}
	return "", ""
}

// stackOf is the stack that an error carries, empty where it carries none.
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

// Class returns the class of err: that of the [*RemoteError] or [*CrashError] in
// it or of what [WithClass] made, else ClassFailed.
func Class(err error) string {
	var c interface{ class() string }
	if errors.As(err, &c) {
		return c.class()
	}
	return ClassFailed
}

func (e *RemoteError) class() string { return e.Class }

// WithClass gives err a class, which Serve sends along. It returns nil for nil.
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

// remotef makes an error of the pool about worker i.
func remotef(class string, i int, format string, args ...any) *RemoteError {
	return &RemoteError{Class: class, Worker: i, Msg: fmt.Sprintf("worker %d ", i) + fmt.Sprintf(format, args...)}
}
