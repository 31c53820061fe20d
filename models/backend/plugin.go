package backend

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The XLA plugin for the CPU: the package that has it, its version, the name of
// its file, and the digests of the package's wheel and of the file.
const (
	PluginPackage = "lammps-jax-pjrt-cpu"
	PluginVersion = "0.11.2"
	pluginFile    = "pjrt_c_api_cpu_plugin.so"
	wheelSHA256   = "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1"
	pluginSHA256  = "ad1309ac822b1b24d51b7f9947c7c9fa9ef5d67f390584cbc3d1fa2428fed9c2"
)

// PluginPath returns the path of the CPU plugin, which need not exist: the file that
// ABLATE_PJRT_PLUGIN names, where own is true, else a file in the user's cache.
func PluginPath() (path string, own bool, err error) {
	if p := os.Getenv("ABLATE_PJRT_PLUGIN"); p != "" {
		abs, err := filepath.Abs(p)
		return abs, true, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", false, fmt.Errorf("plugin: there is no cache folder to keep it in (%w): set HOME or XDG_CACHE_HOME, or name a plugin with ABLATE_PJRT_PLUGIN", err)
	}
	return filepath.Join(cache, "ablate", "pjrt-cpu-"+PluginVersion, pluginFile), false, nil
}

// HavePlugin reports whether the CPU plugin exists. A missing file that the user has named
// is an error.
func HavePlugin() (bool, error) {
	path, own, err := PluginPath()
	if err != nil {
		return false, err
	}
	_, err = os.Stat(path)
	switch {
	case err == nil:
		return true, nil
	case own:
		return false, fmt.Errorf("plugin: ABLATE_PJRT_PLUGIN: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("plugin: %w", err)
}

// VerifyPlugin compares the cached plugin with its pinned digest. A plugin that the user has
// named has no such digest and is only hashed.
func VerifyPlugin() (digest string, err error) {
	path, own, err := PluginPath()
	if err != nil {
		return "", err
	}
	digest, err = Digest(path)
	if err == nil && !own && digest != pluginSHA256 {
		return digest, fmt.Errorf("plugin %s has SHA-256 %s, want %s: delete it, and the next run fetches it again", path, digest, pluginSHA256)
	}
	return digest, err
}

// Digest returns the SHA-256 of a file in hexadecimal digits.
func Digest(path string) (string, error) {
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path) // reading a pipe would wait for ever
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// FetchError is the error for a plugin that could not be fetched. Its message has the file
// that was wanted, and how to install it by hand.
type FetchError struct {
	Path string // where the plugin belongs
	Err  error
}

func (e *FetchError) Error() string {
	return fmt.Sprintf(`the XLA plugin for the CPU could not be fetched: %v
  wanted:  the Python package %s, version %s (wheel's SHA-256 %s)
  by hand: on a machine with a network, 'pip download --no-deps %s==%s';
           unzip the wheel and put its %s at
           %s
           or anywhere, and name it with ABLATE_PJRT_PLUGIN`,
		e.Err, PluginPackage, PluginVersion, wheelSHA256, PluginPackage, PluginVersion, pluginFile, e.Path)
}

func (e *FetchError) Unwrap() error { return e.Err }
