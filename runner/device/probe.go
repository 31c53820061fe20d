package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"ablate/models/backend"
	"ablate/runner/launch"
)

// ProbeCommand is the hidden command with which the program starts itself to try a
// backend. It calls [ServeProbe].
const ProbeCommand = "probe"

// probed precedes the device in a probe's answer.
const probed = "ablate probe: "

// probeTime bounds a probe: loading a plugin and compiling one small graph.
const probeTime = time.Minute

// Probe tries a class of backend with a plugin in a child process, which a plugin
// that cannot be loaded may kill, and returns the device's description.
func Probe(ctx context.Context, class, plugin string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("it did not answer within %s", probeTime))
	defer cancel()
	cmd, err := launch.Again(ctx, ProbeCommand)
	if err != nil {
		return "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.Env = append(os.Environ(), Device{Class: class, Plugin: plugin}.Environment()...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if err == nil {
		// A library may end the process itself, with success: only an answer counts.
		if _, device, ok := strings.Cut(out.String(), probed); ok {
			return strings.TrimSpace(device), nil
		}
		return "", fmt.Errorf("plugin %s cannot be used: the process that tried it ended before it had computed", plugin)
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return "", fmt.Errorf("plugin %s cannot be used: %s", plugin, launch.Reason(errs.String(), err))
}

// ServeProbe is the child's side of [Probe]: it computes on the backend that the
// parent chose, and writes the device's description to w.
func ServeProbe(ctx context.Context, w io.Writer) error {
	device, err := backend.Try(ctx, inherited())
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(first)
	}
	_, err = fmt.Fprintln(w, probed+device)
	return err
}
