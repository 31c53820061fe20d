package device

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"ablate/models/backend"
	"ablate/runner/program"
)

// Plugin returns the name and version of the XLA plugin for the CPU that this program
// fetches.
func Plugin() string { return backend.PluginPackage + " " + backend.PluginVersion }

// Versions returns the versions of this program and of the libraries that it computes
// with.
func (d Device) Versions() string {
	list := []string{"ablate " + program.Version()}
	modules := program.Modules()
	for _, name := range program.Libraries {
		list = append(list, name+" "+modules[name])
	}
	if d.Class == CPU {
		if _, own, _ := backend.PluginPath(); own {
			list = append(list, fmt.Sprintf("a plugin of SHA-256 %.12s", d.Digest))
		} else {
			list = append(list, Plugin())
		}
	}
	return strings.Join(list, ", ")
}

// Fingerprint returns one line for everything that may change the last digits of a result
// on one class of backend: plugin, GPU, driver, processor, flags of XLA. The processor's
// model is included because libraries choose block sizes by the size of its caches.
func (d Device) Fingerprint() string {
	lines := []string{"backend " + d.Class}
	if d.Digest != "" {
		lines = append(lines, "plugin sha256:"+d.Digest)
	}
	if d.Class == CUDA {
		lines = append(lines, "device "+d.Name)
		if b, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
			first, _, _ := strings.Cut(string(b), "\n")
			lines = append(lines, "driver "+strings.Join(strings.Fields(first), " "))
		}
	}
	lines = append(lines, "cpu "+runtime.GOARCH+" "+CPUName())
	if f := strings.TrimSpace(os.Getenv("XLA_FLAGS")); f != "" {
		lines = append(lines, "flags "+f)
	}
	return strings.Join(lines, "\n") + "\n"
}

// CPUName returns the model of the processor and those of its vector extensions that may
// change the bits of a result.
func CPUName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	return cpuName(string(b))
}

// cpuName describes the first processor of the text of /proc/cpuinfo.
func cpuName(info string) string {
	model := runtime.GOARCH
	for line := range strings.Lines(info) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		switch strings.TrimSpace(k) {
		case "model name":
			model = strings.TrimSpace(v)
		case "flags":
			return model + " (" + strings.Join(vector(strings.Fields(v)), " ") + ")"
		}
	}
	return model
}

// vector returns the vector extensions among a processor's flags, in a fixed order.
func vector(flags []string) []string {
	has := map[string]bool{}
	for _, f := range flags {
		has[f] = true
	}
	var out []string
	for _, f := range []string{"avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_tile"} {
		if has[f] {
			out = append(out, f)
		}
	}
	return out
}
