package backend

import (
	"os"
	"path/filepath"
)

// CUDAPlugins lists files that may be XLA plugins for CUDA, best first: the
// one that ABLATE_PJRT_PLUGIN names, if xla:cuda was asked for by name, those
// in go-xla's folders, and that of a Python environment with JAX. The list is empty where
// the machine has no NVIDIA device.
func CUDAPlugins(named bool) []string {
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		return nil
	}
	var list []string
	add := func(pattern string) {
		if found, err := filepath.Glob(pattern); err == nil {
			list = append(list, found...)
		}
	}
	if p := os.Getenv("ABLATE_PJRT_PLUGIN"); p != "" && named {
		list = append(list, p)
	}
	dirs := filepath.SplitList(os.Getenv("PJRT_PLUGIN_LIBRARY_PATH"))
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".local", "lib", "go-xla"))
	}
	for _, d := range append(dirs, "/usr/local/lib/go-xla") {
		add(filepath.Join(d, "pjrt_c_api_cuda_plugin.so"))
		add(filepath.Join(d, "nvidia", "pjrt_c_api_cuda_plugin.so"))
	}
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		add(filepath.Join(env, "lib", "python3*", "site-packages", "jax_plugins", "xla_cuda*", "xla_cuda_plugin.so"))
	}
	return list
}
