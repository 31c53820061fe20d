// Package backend finds and opens the backend that computes graphs: XLA on the CPU or on
// CUDA, or gomlx's pure-Go backend, which cannot train. It also fetches XLA's CPU plugin,
// compiles and calls functions, and replaces gradients of gomlx that are slow. gomlx's XLA
// backend needs cgo; without cgo the package builds with the pure-Go backend only.
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

// Likely returns the class of backend that a run on this machine would probably use. It only
// looks for files, and loads nothing.
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
type Choice struct {
	Name, Plugin string
	Devices      int     // virtual devices of the CPU, by which tests have several; 0 means 1
	Share        float64 // part of a GPU's memory that this process may use, from 0 to 1; 0 means all of it
}

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

// GoRefuses returns the reason why the pure-Go backend cannot run graphs that train, or
// graphs that do not; it is empty where it can. The backend has no gradient of a convolution
// or of a slice (Pad is missing).
func GoRefuses(trains bool) string {
	if trains {
		return "the pure-Go backend has no gradient of slices and convolutions and cannot train: use ABLATE_BACKEND=xla:cpu"
	}
	return ""
}
