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

// ProbeCommand is the hidden command of the child process that tries a backend. It calls
// [ServeProbe].
const ProbeCommand = "try-backend"

// probed precedes the device's description in the answer of a probe.
const probed = "ablate probe: "

// probeTime is the time limit of a probe, which loads a plugin and compiles one small
// graph.
const probeTime = time.Minute

// Probe tries a class of backend with a plugin, and returns the device's description. It
// runs in a child process, because loading a faulty plugin may end the process.
func Probe(ctx context.Context, class, plugin string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("it did not answer within %s", probeTime))
	defer cancel()
	cmd, err := launch.Again(ctx, ProbeCommand)
	if err != nil {
		return "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := Device{Class: class, Plugin: plugin}
	cmd.Env = append(append(os.Environ(), d.Environment()...), d.Threads(1)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if err == nil {
		// A library may end the process with exit code 0, so only an answer counts as
		// success.
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

// ServeProbe is the child's side of [Probe]: it runs a small computation on the backend
// that the parent chose, and writes the device's description to w.
func ServeProbe(ctx context.Context, w io.Writer) error {
	device, err := backend.Try(ctx, inherited())
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(first)
	}
	_, err = fmt.Fprintln(w, probed+device)
	return err
}
