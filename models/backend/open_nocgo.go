//go:build !cgo

package backend

import (
	"context"
	"errors"
)

// HasXLA reports whether this build can load XLA plugins.
const HasXLA = false

var errNoCgo = errors.New("this program was built without cgo and cannot load XLA: build it with CGO_ENABLED=1 and a C compiler, or name ABLATE_BACKEND=go, which cannot train")

// Open opens a backend in this process.
func Open(c Choice) (Backend, error) {
	if c.Name == Go {
		return openGo()
	}
	return nil, errNoCgo
}

// Try opens a backend and returns the device's description.
func Try(_ context.Context, c Choice) (string, error) {
	if c.Name == Go {
		return "pure Go, one operation at a time", nil
	}
	return "", errNoCgo
}

// Fetch always fails in this build.
func Fetch(context.Context, func(done, total int64)) (string, error) { return "", errNoCgo }
