// Package modeltest helps to test graphs and trainings: it opens a backend, and compares
// resumed trainings with uninterrupted ones.
package modeltest

import (
	"os"
	"sync"
	"testing"

	"ablate/models/backend"
)

var open = sync.OnceValues(func() (backend.Backend, error) { return openOn(1) })

func openOn(devices int) (backend.Backend, error) {
	// XLA reads these variables when it is loaded. One thread, as in a worker. No LLVM
	// optimization, because tests compile far more than they compute, and it takes half of the
	// time of a compilation.
	for k, v := range map[string]string{"NPROC": "1", "XLA_FLAGS": os.Getenv("XLA_FLAGS") + " --xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"} {
		if err := os.Setenv(k, v); err != nil {
			return nil, err
		}
	}
	path, _, err := backend.PluginPath()
	if err != nil {
		return nil, err
	}
	return backend.Open(backend.Choice{Name: backend.CPU, Plugin: path, Devices: devices})
}

// Backend returns XLA on the CPU, the same for all tests of the process. Without the
// plugin it skips the test, or fails it where ABLATE_TEST_STRICT=1.
func Backend(t testing.TB) backend.Backend {
	t.Helper()
	have, err := backend.HavePlugin()
	need(t, have && backend.HasXLA, err)
	b, err := open()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Devices returns XLA on so many virtual devices of the CPU. It stays open, for buffers are freed when the
// garbage collector finds them.
func Devices(t testing.TB, n int) backend.Backend {
	t.Helper()
	Backend(t)
	b, err := openOn(n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Plugin returns the path of the XLA plugin for the CPU, for tests that start the program. Without
// it, it skips the test or fails it, as Backend does.
func Plugin(t testing.TB) string {
	t.Helper()
	have, err := backend.HavePlugin()
	need(t, have, err)
	path, _, err := backend.PluginPath()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func need(t testing.TB, have bool, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !have {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal("the XLA plugin for the CPU is missing: 'go run . doctor --fetch' fetches it")
		}
		t.Skip("needs the XLA plugin for the CPU: 'go run . doctor --fetch' fetches it")
	}
}
