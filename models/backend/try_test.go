//go:build cgo

package backend

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The end of a child process distinguishes an answer, an error and a crash, which must not
// end the parent.
func TestTry(t *testing.T) {
	plugin := needPlugin(t)
	out, errs, err := child(t, "try", plugin)
	if err != nil || strings.TrimSpace(out) == "" {
		t.Errorf("the plugin does not load: %v\n%s", err, errs)
	}
	whole, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"text.so": []byte("no library"), "half.so": whole[:len(whole)/2], "empty.so": nil} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, errs, err := child(t, "try", path); err == nil {
			t.Errorf("%s was loaded: %s", name, out)
		} else if strings.TrimSpace(errs) == "" {
			t.Errorf("%s: the child died without a word: %v", name, err)
		} else {
			t.Logf("%s: %v\n%.600s", name, err, errs)
		}
	}
	_, errs, err = child(t, "try", filepath.Join(dir, "none.so"))
	if err == nil || !strings.Contains(errs, "none.so") {
		t.Errorf("a missing plugin: %v, %s", err, errs)
	}
}

func TestVerifyPlugin(t *testing.T) {
	t.Setenv("ABLATE_PJRT_PLUGIN", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path, own, err := PluginPath()
	if err != nil || own {
		t.Fatal(path, own, err)
	}
	if have, err := HavePlugin(); have || err != nil {
		t.Errorf("an empty cache has a plugin: %v, %v", have, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("something else"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyPlugin(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file with another digest is taken for the plugin: %v", err)
	}
	t.Setenv("ABLATE_PJRT_PLUGIN", path)
	if _, err := VerifyPlugin(); err != nil {
		t.Errorf("a plugin of the user's own is refused: %v", err)
	}
	t.Setenv("ABLATE_PJRT_PLUGIN", filepath.Join(t.TempDir(), "absent.so"))
	if _, err := HavePlugin(); err == nil || !strings.Contains(err.Error(), "ABLATE_PJRT_PLUGIN") {
		t.Errorf("a missing plugin of the user's own: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe.so")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Digest(pipe); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a pipe in the place of a plugin: %v", err)
	}
}
