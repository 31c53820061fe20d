// Package backend finds and opens what graphs run on, fetches XLA's plugin for
// the CPU, and wraps gomlx's compiled functions. Importing gomlx's XLA backend
// needs cgo: without it the package builds, with the pure-Go backend only.
package backend

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
)

// Names of backends, as ABLATE_BACKEND has them. A name is also the class of
// backend in an action's key.
const (
	Auto = "auto"
	CUDA = "xla:cuda"
	CPU  = "xla:cpu"
	Go   = "go"
)

var names = []string{Auto, CUDA, CPU, Go}

// Named reads ABLATE_BACKEND; empty means auto.
func Named() (string, error) {
	name := os.Getenv("ABLATE_BACKEND")
	if name == "" {
		return Auto, nil
	}
	if !slices.Contains(names, name) {
		return "", fmt.Errorf("ABLATE_BACKEND is %q: want one of %s", name, strings.Join(names, ", "))
	}
	return name, nil
}

// Likely is the class that a run would probably compute with here. It loads
// nothing: it looks for files alone.
func Likely() (string, error) {
	name, err := Named()
	if err != nil || name != Auto {
		return name, err
	}
	if len(CUDAPlugins(false)) > 0 {
		return CUDA, nil
	}
	return CPU, nil
}

// A Choice is a backend and the plugin that it needs; Plugin is empty for go.
type Choice struct{ Name, Plugin string }

// openGo opens gomlx's pure-Go backend, one operation after the other: its
// parallel mode deadlocks in training (operations wait for slots that their
// parents hold).
func openGo() (backends.Backend, error) {
	b, err := simplego.New("ops_sequential")
	if err != nil {
		return nil, fmt.Errorf("backend go: %w", err)
	}
	return b, nil
}

// GoRefuses is why the pure-Go backend cannot run graphs that train or do not, empty where
// it can: it has no gradient of a convolution, nor of a slice (Pad is missing).
func GoRefuses(trains bool) string {
	if trains {
		return "the pure-Go backend has no gradient of slices and convolutions and cannot train: use ABLATE_BACKEND=xla:cpu"
	}
	return ""
}
