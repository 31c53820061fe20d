// Package device chooses the backend and the plugin that a run computes on, tries
// them in child processes, and describes them and the machine.
package device

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/rs/zerolog"

	"ablate/models/backend"
	"ablate/runner/launch"
)

// Names of backends. Every name but Auto is also a class of backend, which is part
// of an action's key.
const (
	Auto = backend.Auto
	CUDA = backend.CUDA
	CPU  = backend.CPU
	Go   = backend.Go
)

// Classes are the classes of backend, the likeliest first.
var Classes = []string{CPU, CUDA, Go}

// Named is the backend that ABLATE_BACKEND names, Auto if it is not set.
func Named() (string, error) { return backend.Named() }

// Likely is the class that a run would probably compute with here. It loads nothing,
// and only looks for files.
func Likely() (string, error) { return backend.Likely() }

// A Device is a backend that works here.
type Device struct {
	Class  string // of backend, as in keys
	Plugin string // path; empty for Go
	Digest string // SHA-256 of the plugin's file; empty for Go
	Name   string // what the plugin calls the device
}

// Environment variables that hand a child the backend that its parent chose.
const (
	envBackend = "ABLATE_WORKER_BACKEND"
	envPlugin  = "ABLATE_WORKER_PLUGIN"
)

// Environment is what a child that computes is started with: the backend, and
// settings that hold XLA to one thread. NPROC does for its thread pool; the flag keeps
// its matrix products from using a pool of their own.
func (d Device) Environment() []string {
	env := launch.Threads(1)
	if d.Class != CUDA {
		env = append(env, "XLA_FLAGS="+strings.TrimSpace(os.Getenv("XLA_FLAGS")+" --xla_cpu_multi_thread_eigen=false"))
	} else {
		env = append(env, "GOPJRT_CUDA_CHECKS=0")
	}
	return append(env, envBackend+"="+d.Class, envPlugin+"="+d.Plugin)
}

// inherited is the backend that this child's parent chose.
func inherited() backend.Choice {
	return backend.Choice{Name: os.Getenv(envBackend), Plugin: os.Getenv(envPlugin)}
}

// Inherited is the class of backend that this worker's parent chose.
func Inherited() string { return inherited().Name }

// OpenInherited opens, in a worker, the backend that its parent chose.
func OpenInherited() (backend.Backend, error) { return backend.Open(inherited()) }

// Workers is how many workers a run on a class of backend has by default: one for
// each core that this process may use, one on a GPU.
func Workers(class string) int {
	if class == CUDA {
		return 1
	}
	return launch.DefaultWorkers()
}

// Fetch fetches the XLA plugin for the CPU if it is missing, and returns its path.
// progress hears of the bytes of a download.
func Fetch(ctx context.Context, progress func(done, total int64)) (string, error) {
	return backend.Fetch(ctx, progress)
}

// Choose finds a backend of a name that works here. It tries each candidate in a
// child process, and fetches the CPU plugin where that is needed and missing.
func Choose(ctx context.Context, name string, progress func(done, total int64)) (Device, error) {
	return chooser{
		plugins: backend.CUDAPlugins, digest: backend.Digest, verify: backend.VerifyPlugin, probe: Probe,
		fetch: func(ctx context.Context) (string, error) { return Fetch(ctx, progress) },
	}.choose(ctx, name)
}

// A chooser is the machine as far as the choice depends on it.
type chooser struct {
	plugins func(named bool) []string // for CUDA
	fetch   func(ctx context.Context) (path string, err error)
	verify  func() (digest string, err error) // of the plugin for the CPU
	digest  func(path string) (string, error)
	probe   func(ctx context.Context, class, plugin string) (device string, err error)
}

func (c chooser) choose(ctx context.Context, name string) (Device, error) {
	if name == Go {
		return Device{Class: Go, Name: "cpu"}, nil
	}
	if name != CPU {
		d, reasons, err := c.cuda(ctx, name == CUDA)
		if err != nil || d.Class != "" {
			return d, err
		}
		if name == CUDA {
			if len(reasons) == 0 {
				reasons = []string{"no plugin was found (install the Python package jax-cuda13-pjrt, or name the plugin with ABLATE_PJRT_PLUGIN)"}
			}
			return Device{}, fmt.Errorf("backend xla:cuda: %s", strings.Join(reasons, "; "))
		}
		for _, r := range reasons {
			zerolog.Ctx(ctx).Warn().Str("backend", CUDA).Msg(r)
		}
	}
	path, err := c.fetch(ctx)
	if err != nil {
		return Device{}, err
	}
	// Before the plugin is loaded, for loading a library runs code of it.
	digest, err := c.verify()
	if err != nil {
		return Device{}, err
	}
	device, err := c.probe(ctx, CPU, path)
	if err != nil {
		return Device{}, fmt.Errorf("backend xla:cpu: %w\n'ablate doctor' lists what works here", err)
	}
	return Device{CPU, path, digest, device}, nil
}

// cuda returns the first CUDA plugin that works, or the reasons why none does. named
// is whether CUDA was asked for by name.
func (c chooser) cuda(ctx context.Context, named bool) (d Device, reasons []string, err error) {
	for _, p := range c.plugins(named) {
		device, err := c.probe(ctx, CUDA, p)
		if err == nil {
			digest, err := c.digest(p)
			return Device{CUDA, p, digest, device}, nil, err
		}
		reasons = append(reasons, err.Error())
	}
	return Device{}, reasons, nil
}
