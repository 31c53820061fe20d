// Package device chooses the backend (XLA on a GPU, XLA on the CPU, or pure Go) and the
// XLA plugin that a run computes with. It tries them in child processes first, and
// describes them and the machine.
package device

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"ablate/models/backend"
	"ablate/runner/launch"
	"ablate/runner/resource"
)

// Names of backends. All but Auto are also classes of backends. The class is part of the
// key of an action.
const (
	Auto = backend.Auto
	CUDA = backend.CUDA
	CPU  = backend.CPU
	Go   = backend.Go
)

// Classes are the classes of backends, the most likely first.
var Classes = []string{CPU, CUDA, Go}

// Named returns the backend that ABLATE_BACKEND names, Auto if it is not set.
func Named() (string, error) { return backend.Named() }

// Likely returns the class that a run on this machine would probably use. It only looks
// for files, and does not load a plugin.
func Likely() (string, error) { return backend.Likely() }

// A Device is a backend that works on this machine.
type Device struct {
	Class  string // class of backend, as in keys
	Plugin string // path of the plugin; empty for Go
	Digest string // SHA-256 of the plugin's file; empty for Go
	Name   string // name of the device by the plugin
}

// Environment variables by which a parent passes its choice of backend to a child.
const (
	envBackend = "ABLATE_WORKER_BACKEND"
	envPlugin  = "ABLATE_WORKER_PLUGIN"
)

// Environment returns the environment variables of a child that computes: the backend, and
// settings that depend on it.
func (d Device) Environment() []string {
	env := []string{envBackend + "=" + d.Class, envPlugin + "=" + d.Plugin}
	if d.Class == CUDA {
		env = append(env, "GOPJRT_CUDA_CHECKS=0")
	}
	return env
}

// Threads returns the environment variables that limit a child to n threads of computation.
// NPROC limits XLA's thread pool. A flag prevents matrix products from using another pool,
// where there is one thread only.
func (d Device) Threads(n int) []string {
	env := launch.Threads(n)
	if d.Class != CUDA && n == 1 {
		env = append(env, "XLA_FLAGS="+strings.TrimSpace(os.Getenv("XLA_FLAGS")+" --xla_cpu_multi_thread_eigen=false"))
	}
	return env
}

// inherited returns the backend that the parent of this child chose.
func inherited() backend.Choice {
	share, _ := strconv.ParseFloat(os.Getenv(resource.ShareVariable), 64)
	return backend.Choice{Name: os.Getenv(envBackend), Plugin: os.Getenv(envPlugin), Share: share}
}

// Inherited returns the class of backend that the parent of this worker chose.
func Inherited() string { return inherited().Name }

// OpenInherited opens the backend that the parent of this worker chose.
func OpenInherited() (backend.Backend, error) { return backend.Open(inherited()) }

// Workers returns how many actions can run at a time on a class of backend that need one CPU,
// and on CUDA a GPU.
func Workers(ctx context.Context, class string) int {
	if class == CUDA {
		gpus, _ := resource.GPUs(ctx)
		return max(1, len(gpus))
	}
	return resource.CPUs()
}

// Fetch downloads the XLA plugin for the CPU if it is missing, and returns its path. It
// calls progress with the numbers of bytes.
func Fetch(ctx context.Context, progress func(done, total int64)) (string, error) {
	return backend.Fetch(ctx, progress)
}

// Choose finds a working backend of a name, which may be Auto. It tries each candidate in
// a child process, and downloads the CPU plugin if it is needed and missing.
func Choose(ctx context.Context, name string, progress func(done, total int64)) (Device, error) {
	return chooser{
		plugins: backend.CUDAPlugins, digest: backend.Digest, verify: backend.VerifyPlugin, probe: Probe,
		fetch: func(ctx context.Context) (string, error) { return Fetch(ctx, progress) },
	}.choose(ctx, name)
}

// A chooser has the functions by which the choice depends on the machine, so that tests
// can replace them.
type chooser struct {
	plugins func(named bool) []string // paths of CUDA plugins
	fetch   func(ctx context.Context) (path string, err error)
	verify  func() (digest string, err error) // checks the plugin for the CPU
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
	// This comes before the plugin is loaded, because loading a library runs its code.
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

// cuda returns the first CUDA plugin that works, or the reasons why none does. named says
// whether CUDA was asked for by name.
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
