package run

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/store"
)

// logFile returns the path of the log of a failed action.
func (r *runner) logFile(a *layout.Action, key store.Key) string {
	return filepath.Join(r.o.Logs, fmt.Sprintf("%s-%s.log", a.Kind, key.ID().Short()))
}

// logged writes everything that is known about a failure into a log, and returns the
// error with the path of the log. If the log cannot be written, it returns the error
// alone.
func (r *runner) logged(a *layout.Action, key store.Key, t launch.Task, cause error) error {
	if r.o.Logs == "" {
		return cause
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\nnow: %s\nneeded by: %s\nerror: %v\n\nkey:\n%s\nparameters:\n%s\n\ninputs:\n", a.Kind, key.ID(),
		r.o.Now().UTC().Format("2006-01-02T15:04:05Z"), a.Rows(), cause, key.Text(), t.Params)
	for role, dir := range t.Inputs {
		fmt.Fprintf(&b, "%s %s\n", role, dir)
	}
	fmt.Fprintf(&b, "\nenvironment:\n%s\nprogram: %s\n", r.o.Machine.Environment, r.o.Machine.Versions)
	d := launch.Diagnostics(cause)
	for _, part := range []struct{ name, text string }{{"stack", d.Stack}, {"output of the engine", d.Output}, {"standard error", d.Stderr}} {
		if part.text != "" {
			fmt.Fprintf(&b, "\n%s:\n%s\n", part.name, strings.TrimRight(part.text, "\n"))
		}
	}
	b.WriteString("\n")
	name := r.logFile(a, key)
	err := os.MkdirAll(r.o.Logs, 0o777)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666); err == nil {
			_, err = f.Write(b.Bytes())
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}
	}
	if err != nil {
		r.log.Warn().Str("file", name).Err(err).Msg("the log of a failure cannot be written")
		return cause
	}
	return &loggedError{cause, name}
}

// loggedError is an error with the path of its log.
type loggedError struct {
	error
	log string
}

func (e *loggedError) Error() string { return fmt.Sprintf("%v (log: %s)", e.error, e.log) }
func (e *loggedError) Unwrap() error { return e.error }

// forget removes the log of earlier failures when an action has succeeded.
func (r *runner) forget(a *layout.Action, key store.Key) {
	if r.o.Logs != "" {
		_ = os.Remove(r.logFile(a, key)) // there may be none
	}
}
