package device

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine returns a chooser for a machine with some CUDA plugins, of which those in works
// can be loaded. "cpu.so" is the plugin for the CPU. The chooser records which plugins
// were tried.
func machine(tried *[]string, cuda []string, works ...string) chooser {
	return chooser{
		plugins: func(bool) []string { return cuda },
		fetch:   func(context.Context) (string, error) { *tried = append(*tried, "fetch"); return "cpu.so", nil },
		verify:  func() (string, error) { return "digest of cpu.so", nil },
		digest:  func(p string) (string, error) { return "digest of " + p, nil },
		probe: func(_ context.Context, class, plugin string) (string, error) {
			*tried = append(*tried, class+" "+plugin)
			if slices.Contains(works, plugin) {
				return "device of " + plugin, nil
			}
			return "", errors.New(plugin + " cannot be used")
		},
	}
}

// TestChoose: auto takes the first CUDA plugin that works, or else the CPU. A backend
// that is named is used or is an error; no other one is tried.
func TestChoose(t *testing.T) {
	cpu := Device{CPU, "cpu.so", "digest of cpu.so", "device of cpu.so"}
	second := Device{CUDA, "b.so", "digest of b.so", "device of b.so"}
	for _, c := range []struct {
		name        string
		cuda, works []string
		want        Device
		tried       string
		err         string
	}{
		{Auto, nil, []string{"cpu.so"}, cpu, "fetch, xla:cpu cpu.so", ""},
		{Auto, []string{"a.so", "b.so"}, []string{"b.so", "cpu.so"}, second, "xla:cuda a.so, xla:cuda b.so", ""},
		{Auto, []string{"a.so"}, []string{"cpu.so"}, cpu, "xla:cuda a.so, fetch, xla:cpu cpu.so", ""},
		{Auto, nil, nil, Device{}, "fetch, xla:cpu cpu.so", "backend xla:cpu: cpu.so cannot be used"},
		{CPU, []string{"b.so"}, []string{"b.so", "cpu.so"}, cpu, "fetch, xla:cpu cpu.so", ""},
		{CUDA, []string{"a.so"}, []string{"cpu.so"}, Device{}, "xla:cuda a.so", "backend xla:cuda: a.so cannot be used"},
		{CUDA, nil, []string{"cpu.so"}, Device{}, "", "backend xla:cuda: no plugin was found"},
		{Go, []string{"b.so"}, []string{"b.so"}, Device{Class: Go, Name: "cpu"}, "", ""},
	} {
		var tried []string
		got, err := machine(&tried, c.cuda, c.works...).choose(t.Context(), c.name)
		if d := cmp.Diff(c.want, got); d != "" || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s with %q of %q: %v, error %v, want %q\n%s", c.name, c.works, c.cuda, got, err, c.err, d)
		}
		if s := strings.Join(tried, ", "); s != c.tried {
			t.Errorf("%s with %q of %q: tried %s, want %s", c.name, c.works, c.cuda, s, c.tried)
		}
	}
}

// TestChooseVerifies: a plugin for the CPU whose bytes are not the expected ones is
// never loaded.
func TestChooseVerifies(t *testing.T) {
	var tried []string
	c := machine(&tried, nil, "cpu.so")
	c.verify = func() (string, error) { return "", errors.New("other bytes") }
	if _, err := c.choose(t.Context(), CPU); err == nil || slices.Contains(tried, "xla:cpu cpu.so") {
		t.Errorf("error %v, tried %q", err, tried)
	}
}

// TestEnvironment: a child gets the backend and one thread, and the user's own flags
// of XLA stay.
func TestEnvironment(t *testing.T) {
	t.Setenv("XLA_FLAGS", "--mine")
	d := Device{Class: CPU, Plugin: "cpu.so"}
	env := append(d.Environment(), d.Threads(1)...)
	for _, want := range []string{"XLA_FLAGS=--mine --xla_cpu_multi_thread_eigen=false", envBackend + "=xla:cpu", envPlugin + "=cpu.so", "NPROC=1"} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment %q lacks %s", env, want)
		}
	}
	if env := d.Threads(4); !slices.Contains(env, "NPROC=4") || slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "XLA_FLAGS=") }) {
		t.Errorf("the environment of four threads: %q", env)
	}
	if env := (Device{Class: CUDA}).Threads(1); slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "XLA_FLAGS=") }) {
		t.Errorf("flags of the CPU in the environment %q of a GPU", env)
	}
	t.Setenv("PATH", "")
	t.Setenv("CUDA_VISIBLE_DEVICES", "0,1")
	if n := Workers(t.Context(), CUDA); n != 2 {
		t.Errorf("%d workers on two GPUs", n)
	}
}

func TestFingerprint(t *testing.T) {
	t.Setenv("XLA_FLAGS", " --mine ")
	got := Device{Class: CPU, Digest: "abc", Name: "of no matter on a CPU"}.Fingerprint()
	if !strings.HasPrefix(got, "backend xla:cpu\nplugin sha256:abc\ncpu ") || !strings.HasSuffix(got, "\nflags --mine\n") || strings.Contains(got, "device") {
		t.Errorf("fingerprint %q", got)
	}
	if got := (Device{Class: CUDA, Name: "H100"}).Fingerprint(); !strings.Contains(got, "device H100\n") {
		t.Errorf("fingerprint of a GPU %q", got)
	}
}

func TestCPUName(t *testing.T) {
	const two = "processor\t: 0\nmodel name\t: A 1\nflags\t\t: fpu fma avx2 avx\n\nprocessor\t: 1\nmodel name\t: B 2\n"
	if got, want := cpuName(two), "A 1 (avx avx2 fma)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := cpuName("no colon"); got == "" {
		t.Error("an unknown format leaves the processor without a name")
	}
}
