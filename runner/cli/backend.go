package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"ablate/models/backend"
	"ablate/runner/launch"
	"ablate/runner/study"
)

// Environment of a worker or a probe: the backend that the parent chose.
const (
	envWorkerBackend = "ABLATE_WORKER_BACKEND"
	envWorkerPlugin  = "ABLATE_WORKER_PLUGIN"
)

// chosen is the backend of a run.
type chosen struct {
	backend.Choice
	Class  string // as it stands in keys
	Device string
	Digest string // SHA-256 of the plugin's file; empty where there is none
}

// runBackend is the backend that a run of a study is to use: the one that is
// asked for, else that of its last run, else what ABLATE_BACKEND says. A run never
// goes over to another class by itself: it would compute everything again.
func (l *loaded) runBackend(ctx context.Context, asked string) (string, error) {
	name, err := backend.Named()
	if err != nil {
		return "", err
	}
	had := l.Record.Backend
	switch {
	case asked != "":
		if _, err := l.class(asked); err != nil {
			return "", err
		}
		if had != "" && had != asked {
			zerolog.Ctx(ctx).Warn().Str("before", had).Str("now", asked).Msg("results of another backend are kept apart: everything is computed again where the store has nothing of this one")
		}
		return asked, nil
	case had == "":
		return name, nil
	case name != backend.Auto && name != had:
		return "", usagef("study %s has its results from %s, and ABLATE_BACKEND names %s: give --backend %s to go on, or --backend %s to compute everything again",
			l.Name, had, name, had, name)
	}
	return had, nil
}

// choose finds a backend of a name that works here, fetching the CPU plugin if it
// is the one and missing. Each candidate is tried in a child process.
func (g *globals) choose(ctx context.Context, name string) (*chosen, error) {
	log := zerolog.Ctx(ctx)
	if name == backend.Go {
		return &chosen{Choice: backend.Choice{Name: name}, Class: name, Device: "cpu"}, nil
	}
	var reasons []string
	if name != backend.CPU {
		for _, p := range backend.CUDAPlugins(name == backend.CUDA) {
			device, err := probe(ctx, backend.Choice{Name: backend.CUDA, Plugin: p})
			if err == nil {
				digest, err := backend.Digest(p)
				return &chosen{backend.Choice{Name: backend.CUDA, Plugin: p}, backend.CUDA, device, digest}, err
			}
			reasons = append(reasons, err.Error())
		}
		if name == backend.CUDA {
			if len(reasons) == 0 {
				reasons = []string{"no plugin was found (install the Python package jax-cuda13-pjrt, or name the plugin with ABLATE_PJRT_PLUGIN)"}
			}
			return nil, fmt.Errorf("backend xla:cuda: %s", strings.Join(reasons, "; "))
		}
		for _, r := range reasons {
			log.Warn().Str("backend", backend.CUDA).Msg(r)
		}
	}
	path, err := backend.Fetch(ctx, g.bar("fetching the XLA plugin for the CPU, once"))
	if err != nil {
		return nil, err
	}
	// Before it is loaded: loading runs code of the library.
	digest, err := backend.VerifyPlugin()
	if err != nil {
		return nil, err
	}
	c := backend.Choice{Name: backend.CPU, Plugin: path}
	device, err := probe(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("backend xla:cpu: %w\n'ablate doctor' says what works here", err)
	}
	return &chosen{c, backend.CPU, device, digest}, nil
}

// environment is what a worker is started with. XLA is held to one thread by
// NPROC; the flag keeps its matrix products from a pool of their own.
func (c *chosen) environment() []string {
	env := launch.Threads(1)
	if c.Class != backend.CUDA {
		env = append(env, "XLA_FLAGS="+strings.TrimSpace(os.Getenv("XLA_FLAGS")+" --xla_cpu_multi_thread_eigen=false"))
	} else {
		env = append(env, "GOPJRT_CUDA_CHECKS=0")
	}
	return append(env, envWorkerBackend+"="+c.Name, envWorkerPlugin+"="+c.Plugin)
}

// workers is how many run at a time: one for each core that this process may use,
// one on a GPU.
func (c *chosen) workers() int {
	if c.Class == backend.CUDA {
		return 1
	}
	return launch.DefaultWorkers()
}

func (c *chosen) machine() study.Machine {
	return study.Machine{Device: c.Device, Backend: c.Class, Versions: versions(c), CPU: cpuName(), Environment: c.fingerprint(), Build: "ablate " + programVersion() + " " + buildID()}
}

// fingerprint are lines of what may change the last digits of a result on one
// class of backend: another plugin, GPU, driver, processor, or flags of XLA. A
// processor's model counts, for libraries choose their blocks by its caches.
func (c *chosen) fingerprint() string {
	lines := []string{"backend " + c.Class}
	if c.Digest != "" {
		lines = append(lines, "plugin sha256:"+c.Digest)
	}
	if c.Class == backend.CUDA {
		lines = append(lines, "device "+c.Device)
		if b, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
			first, _, _ := strings.Cut(string(b), "\n")
			lines = append(lines, "driver "+strings.Join(strings.Fields(first), " "))
		}
	}
	lines = append(lines, "cpu "+runtime.GOARCH+" "+cpuName())
	if f := strings.TrimSpace(os.Getenv("XLA_FLAGS")); f != "" {
		lines = append(lines, "flags "+f)
	}
	return strings.Join(lines, "\n") + "\n"
}

// versions names this program and what computes for it.
func versions(c *chosen) string {
	list := []string{"ablate " + programVersion()}
	for _, name := range []string{"gomlx", "go-xla"} {
		list = append(list, name+" "+modules()[name])
	}
	if c.Class == backend.CPU {
		if _, own, _ := backend.PluginPath(); own {
			list = append(list, fmt.Sprintf("a plugin of SHA-256 %.12s", c.Digest))
		} else {
			list = append(list, backend.PluginPackage+" "+backend.PluginVersion)
		}
	}
	return strings.Join(list, ", ")
}

// cpuName is the processor's model and the vector extensions that change bits.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	model, features := runtime.GOARCH, []string{}
	for line := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		switch strings.TrimSpace(k) {
		case "model name":
			model = strings.TrimSpace(v)
		case "flags":
			has := strings.Fields(v)
			for _, f := range []string{"avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_tile"} {
				for _, h := range has {
					if h == f {
						features = append(features, f)
					}
				}
			}
			return model + " (" + strings.Join(features, " ") + ")"
		}
	}
	return model
}

// openWorkerBackend opens, in a worker, what its parent chose.
func openWorkerBackend(context.Context) (backend.Backend, error) {
	return backend.Open(backend.Choice{Name: os.Getenv(envWorkerBackend), Plugin: os.Getenv(envWorkerPlugin)})
}

// probed is what a probe prints before the device on which it has computed.
const probed = "ablate probe: "

// probeTime bounds a probe: loading a plugin and compiling one small graph.
const probeTime = time.Minute

// probe tries a backend in a child process, which an unloadable plugin may
// kill, and returns the device's description.
func probe(ctx context.Context, c backend.Choice) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("it did not answer within %s", probeTime))
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, self, "probe")
	launch.Tie(cmd)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	chosen := &chosen{Choice: c, Class: c.Name}
	cmd.Env = append(os.Environ(), chosen.environment()...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if err == nil {
		// A library may end the process by itself, and well: only a device counts.
		if _, device, ok := strings.Cut(out.String(), probed); ok {
			return strings.TrimSpace(device), nil
		}
		return "", fmt.Errorf("plugin %s cannot be used: the process that tried it ended before it had computed", c.Plugin)
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return "", fmt.Errorf("plugin %s cannot be used: %s", c.Plugin, reason(errs.String(), err))
}

// reason is the line of a dead child's stderr that says most.
func reason(stderr string, err error) string {
	for line := range strings.Lines(stderr) {
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "ablate: "); ok {
			return m
		}
	}
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "SIG") {
			return "the process that tried it died: " + line
		}
	}
	return "the process that tried it died: " + err.Error()
}

// newProbe is the hidden command that a probe runs in its child.
func newProbe(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "probe", Short: "Try a backend (started by ablate itself)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			device, err := backend.Try(cmd.Context(), backend.Choice{Name: os.Getenv(envWorkerBackend), Plugin: os.Getenv(envWorkerPlugin)})
			if err != nil {
				first, _, _ := strings.Cut(err.Error(), "\n")
				return errors.New(first)
			}
			fmt.Fprintln(g.stdout, probed+device)
			return nil
		},
	}
}
