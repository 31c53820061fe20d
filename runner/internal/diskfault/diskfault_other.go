//go:build !linux || (!amd64 && !arm64)

package diskfault

import (
	"errors"
	"os/exec"
)

// Enter does nothing.
func Enter() error { return nil }

// Start returns an error: there is no such filter on this system.
func Start(*exec.Cmd, string, func(Op) Fault) (<-chan struct{}, error) {
	return nil, errors.ErrUnsupported
}
