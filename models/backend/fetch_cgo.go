//go:build cgo

package backend

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gomlx/go-xla/pkg/installer"
)

// Fetch puts the CPU plugin into the user's cache, if it is not there, and returns its path.
// Both digests are checked before the file is renamed to its path, so that an interrupted
// fetch leaves no incomplete plugin, and two processes may fetch at once. progress, if not
// nil, is called with the numbers of bytes.
func Fetch(ctx context.Context, progress func(done, total int64)) (string, error) {
	path, own, err := PluginPath()
	if err != nil {
		return "", err
	}
	have, err := HavePlugin()
	if err != nil || have || own {
		return path, err
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		err = fmt.Errorf("the package has a plugin for linux/amd64 only, and this is %s/%s", runtime.GOOS, runtime.GOARCH)
	} else {
		err = pinned().fetch(ctx, path, progress)
	}
	if err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &FetchError{Path: path, Err: err}
	}
	return path, nil
}

// A release is the source of a plugin and the digests that it must have.
type release struct {
	find          func(context.Context) (string, error) // the wheel's URL
	wheel, plugin string                                // SHA-256
	stall         time.Duration                         // without data, after which a download fails
}

func pinned() release {
	return release{find: findWheel, wheel: wheelSHA256, plugin: pluginSHA256, stall: time.Minute}
}

// fetch downloads the release's plugin to path.
func (r release) fetch(ctx context.Context, path string, progress func(done, total int64)) error {
	wheelURL, err := r.find(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	sweep(dir)
	tmp, err := os.MkdirTemp(dir, tmpPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	wheel := filepath.Join(tmp, "wheel.zip")
	if err := r.download(ctx, wheelURL, wheel, progress); err != nil {
		return err
	}
	plugin := filepath.Join(tmp, pluginFile)
	if err := installer.ExtractFileFromZip(wheel, pluginFile, plugin); err != nil {
		return fmt.Errorf("wheel: %w", err)
	}
	if digest, err := Digest(plugin); err != nil {
		return err
	} else if digest != r.plugin {
		return fmt.Errorf("the wheel's plugin has SHA-256 %s, want %s", digest, r.plugin)
	}
	if err := settle(plugin); err != nil {
		return err
	}
	return os.Rename(plugin, path)
}

const tmpPrefix = ".fetch-"

// sweep removes the files of downloads that were killed: those older than a day, which no
// running download is. Errors are ignored.
func sweep(dir string) {
	old, _ := filepath.Glob(filepath.Join(dir, tmpPrefix+"*"))
	for _, d := range old {
		if info, err := os.Stat(d); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(d)
		}
	}
}

// settle makes a file readable for all and durable, before it is renamed to its path.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o755), f.Sync(), f.Close())
}

// findWheel asks the package index for the URL of the wheel with the pinned digest.
// The installer's request takes no context; where ctx ends, it goes on in the background.
func findWheel(ctx context.Context) (string, error) {
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
	return chooseWheel(a.info)
}

// chooseWheel returns the URL of the wheel with the pinned digest. A mirror of the index may
// give it relative to the package's page.
func chooseWheel(info *installer.PipPackageInfo) (string, error) {
	for _, r := range info.Releases[PluginVersion] {
		if r.Digests["sha256"] != wheelSHA256 {
			continue
		}
		page, err := url.Parse(info.Info.ProjectURL)
		if err != nil {
			return "", fmt.Errorf("package index: %w", err)
		}
		wheel, err := page.Parse(r.URL)
		if err != nil {
			return "", fmt.Errorf("package index: %w", err)
		}
		return wheel.String(), nil
	}
	return "", errors.New("the package index has no file of that version and digest")
}

// firstLine removes the stack trace from an error of go-xla.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// download copies the file at the URL from to path and checks it against the wheel's digest.
func (r release) download(ctx context.Context, from, path string, progress func(done, total int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(r.stall, func() { cancel(fmt.Errorf("no data arrived for %s", r.stall)) })
	defer watch.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
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
	_, err = io.Copy(io.MultiWriter(f, h), &counter{r: resp.Body, total: resp.ContentLength, tell: func(done, total int64) {
		watch.Reset(r.stall)
		if progress != nil {
			progress(done, total)
		}
	}})
	if err := errors.Join(err, f.Close()); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	if digest := hex.EncodeToString(h.Sum(nil)); digest != r.wheel {
		return fmt.Errorf("the wheel has SHA-256 %s, want %s", digest, r.wheel)
	}
	return nil
}

// counter reports how many bytes were read.
type counter struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done += int64(n)
	c.tell(c.done, c.total)
	return n, err
}
