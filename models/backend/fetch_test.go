//go:build cgo

package backend

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/go-xla/pkg/installer"
)

// wheelOf is a wheel that holds content as its plugin, and noise that does not
// compress, so that a download comes in several pieces.
func wheelOf(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range []struct{ name, content string }{{"pkg/__init__.py", strings.Repeat("#", 1<<20)}, {"pkg/" + pluginFile, content}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// serve returns a release whose wheel is answered by h.
func serve(t *testing.T, wheel []byte, h http.HandlerFunc) release {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return release{
		find:  func(context.Context) (string, error) { return s.URL, nil },
		wheel: digest(wheel), plugin: digest([]byte("a plugin")), stall: time.Minute,
	}
}

// left lists the files in the folder of a fetch.
func left(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFetchRelease(t *testing.T) {
	wheel := wheelOf(t, "a plugin")
	path := filepath.Join(t.TempDir(), "cache", pluginFile)
	r := serve(t, wheel, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wheel) })
	old := filepath.Join(filepath.Dir(path), tmpPrefix+"killed")
	young := filepath.Join(filepath.Dir(path), tmpPrefix+"running")
	for _, d := range []string{old, young} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	// Several processes may fetch at once; the file is complete whenever it exists.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var done, total int64
			if err := r.fetch(t.Context(), path, func(d, n int64) { done, total = d, n }); err != nil {
				t.Error(err)
			}
			if done != int64(len(wheel)) || total != done && total != -1 {
				t.Errorf("progress ended at %d of %d bytes, want %d", done, total, len(wheel))
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(path); err != nil || string(b) != "a plugin" {
		t.Errorf("the plugin is %q, %v", b, err)
	}
	if got, want := left(t, path), tmpPrefix+"running "+pluginFile; got != want {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func TestFetchReleaseFails(t *testing.T) {
	wheel, forged := wheelOf(t, "a plugin"), wheelOf(t, "no plugin")
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	quiet := make(chan struct{})
	for name, c := range map[string]struct {
		wheel []byte
		serve http.HandlerFunc
		stall time.Duration
		want  string
	}{
		"another wheel":  {wheel, send(forged), time.Minute, "the wheel has SHA-256 " + digest(forged)},
		"another plugin": {forged, send(forged), time.Minute, "the wheel's plugin has SHA-256 " + digest([]byte("no plugin"))},
		"no wheel":       {[]byte("no zip"), send([]byte("no zip")), time.Minute, "wheel: zip"},
		"not there":      {wheel, http.NotFound, time.Minute, "the server answered 404"},
		"cut short": {wheel, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(wheel)))
			_, _ = w.Write(wheel[:len(wheel)/2])
		}, time.Minute, "unexpected EOF"},
		"silence": {wheel, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(wheel[:1000])
			w.(http.Flusher).Flush()
			<-quiet
		}, 100 * time.Millisecond, "no data arrived for 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), pluginFile)
			r := serve(t, c.wheel, c.serve)
			r.stall = c.stall
			if name == "silence" {
				t.Cleanup(func() { close(quiet) })
			}
			err := r.fetch(t.Context(), path, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if got := left(t, path); got != "" {
				t.Errorf("the folder holds %q after a failure", got)
			}
		})
	}
}

// An interrupted download leaves no file, and its error is the cause of the interruption.
func TestFetchReleaseInterrupted(t *testing.T) {
	wheel := wheelOf(t, "a plugin")
	path := filepath.Join(t.TempDir(), pluginFile)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by the test")
	r := serve(t, wheel, func(w http.ResponseWriter, req *http.Request) {
		_, _ = w.Write(wheel[:len(wheel)/2])
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	})
	err := r.fetch(ctx, path, func(int64, int64) { cancel(stop) })
	if !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
	if got := left(t, path); got != "" {
		t.Errorf("the folder holds %q after an interruption", got)
	}
}

// The wheel is identified by its digest; a mirror may give a relative address.
func TestChooseWheel(t *testing.T) {
	var info installer.PipPackageInfo
	answer := `{"info": {"project_url": "https://index.example/project/p/"}, "releases": {"` + PluginVersion + `": [
		{"url": "https://files.example/other.whl", "digests": {"sha256": "00"}},
		{"url": "%s", "digests": {"sha256": "` + wheelSHA256 + `"}}]}}`
	for from, want := range map[string]string{
		"https://files.example/p/p.whl": "https://files.example/p/p.whl",
		"../../packages/p.whl":          "https://index.example/packages/p.whl",
	} {
		if err := json.Unmarshal(fmt.Appendf(nil, answer, from), &info); err != nil {
			t.Fatal(err)
		}
		if got, err := chooseWheel(&info); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", from, got, err, want)
		}
	}
	if got, err := chooseWheel(&installer.PipPackageInfo{}); err == nil {
		t.Errorf("a wheel without the digest was chosen: %s", got)
	}
}

// Without a network the message names the wanted file and the path for it.
func TestFetchOffline(t *testing.T) {
	t.Setenv("ABLATE_PJRT_PLUGIN", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	out, errs, err := child(t, "fetch", "", "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=")
	if err == nil {
		t.Fatalf("fetched without a network: %s", out)
	}
	path, _, _ := PluginPath()
	for _, want := range []string{PluginPackage, PluginVersion, wheelSHA256, path, "ABLATE_PJRT_PLUGIN", "pip download"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the message lacks %q:\n%s", want, errs)
		}
	}
	if strings.Contains(errs, ".go:") || strings.Contains(errs, "goroutine") {
		t.Errorf("the message has a stack trace:\n%s", errs)
	}
}
