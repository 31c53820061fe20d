//go:build cgo

package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomlx/go-xla/pkg/pjrt"
	"github.com/gomlx/gomlx/backends/xla"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// HasXLA reports whether this build can load XLA plugins.
const HasXLA = true

// Open opens a backend in this process. A plugin that cannot be loaded may end
// the process (C++ aborts): probe it in a child first.
func Open(c Choice) (Backend, error) {
	if c.Name == Go {
		return openGo()
	}
	path, err := filepath.Abs(c.Plugin)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", c.Plugin, err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	// By default gomlx first looks for plugins on the network, even if one is present.
	xla.EnableAutoInstall(false)
	// NPROC is not enough: the number of virtual devices is a lower bound of XLA's thread
	// pools, and this plugin's default is 4. Only with 1 does NPROC=1 mean one
	// thread (TestOneThread).
	config, options := path+",shared_buffers", pjrt.NamedValuesMap{"cpu_device_count": int64(max(1, c.Devices))}
	if c.Name == CUDA {
		config = path
		share := float32(0.9) // the rest is for what XLA does not count
		if c.Share > 0 {
			share *= float32(c.Share)
		}
		options = pjrt.NamedValuesMap{"preallocate": false, "memory_fraction": share}
	}
	b, err := xla.NewWithOptions(config, options)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", path, err)
	}
	return b, nil
}

// Try opens a backend, computes with it and returns the device's description. A probe calls
// it in a child process.
func Try(_ context.Context, c Choice) (string, error) {
	b, err := Open(c)
	if err != nil {
		return "", err
	}
	fn, err := NewFn(b, "probe", 0, func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.ReduceAllSum(graph.Mul(in[0], in[0]))}
	})
	if err != nil {
		return "", err
	}
	out, err := fn.Call(tensors.FromFlatDataAndDimensions([]float32{1, 2, 3}, 3))
	if err != nil {
		return "", err
	}
	if got := tensors.ToScalar[float32](out[0]); got != 14 {
		return "", fmt.Errorf("backend %s computes 1² + 2² + 3² as %v, which must be 14", c.Name, got)
	}
	return b.DeviceDescription(0), nil
}
