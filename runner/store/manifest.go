package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// manifestFormat is the first line of a manifest, and therefore part of every output id.
const manifestFormat = "ablate manifest 1"

// file is one line of a manifest. Empty folders and permissions are not part of an artifact.
type file struct {
	path string // relative, with slashes
	size int64
	sum  [sha256.Size]byte
}

// manifest lists the files of an artifact, sorted by path.
type manifest []file

// id returns the output id of the artifact that m describes.
func (m manifest) id() OutputID { return sha256.Sum256(m.encode()) }

// bytes returns the size of all files together.
func (m manifest) bytes() (n int64) {
	for _, f := range m {
		n += f.size
	}
	return n
}

// encode returns the text of m, of which there is exactly one.
func (m manifest) encode() []byte {
	b := []byte(manifestFormat + "\n")
	for _, f := range m {
		b = hex.AppendEncode(b, f.sum[:])
		b = strconv.AppendInt(append(b, ' '), f.size, 10)
		b = append(strconv.AppendQuote(append(b, ' '), f.path), '\n')
	}
	return b
}

// parseManifest parses the output of encode and accepts no other text. The paths that it
// returns never lead out of the folder of the artifact.
func parseManifest(data []byte) (manifest, error) {
	body, ok := strings.CutPrefix(string(data), manifestFormat+"\n")
	if !ok {
		return nil, fmt.Errorf("manifest: first line is not %q", manifestFormat)
	}
	var m manifest
	for line := range strings.Lines(body) {
		sum, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		size, quoted, _ := strings.Cut(rest, " ")
		var f file
		raw, err := hex.DecodeString(sum)
		if err != nil || len(raw) != len(f.sum) {
			return nil, fmt.Errorf("manifest line %d: wrong digest", len(m)+2)
		}
		copy(f.sum[:], raw)
		if f.size, err = strconv.ParseInt(size, 10, 64); err != nil || f.size < 0 {
			return nil, fmt.Errorf("manifest line %d: wrong size", len(m)+2)
		}
		if f.path, err = strconv.Unquote(quoted); err != nil || !safePath(f.path) {
			return nil, fmt.Errorf("manifest line %d: wrong path", len(m)+2)
		}
		if len(m) > 0 && m[len(m)-1].path >= f.path {
			return nil, fmt.Errorf("manifest line %d: path out of order", len(m)+2)
		}
		m = append(m, f)
	}
	if !bytes.Equal(m.encode(), data) {
		return nil, fmt.Errorf("manifest: not in canonical form")
	}
	return m, nil
}

// safePath reports whether p is a clean relative path with slashes that does not lead out
// of its folder.
func safePath(p string) bool {
	return p != "." && path.Clean(p) == p && filepath.IsLocal(filepath.FromSlash(p)) && !strings.ContainsRune(p, 0)
}

// errNoFile is the error of a link or a device in an artifact.
var errNoFile = errors.New("neither a file nor a folder")

// names returns the paths of the files under dir, sorted. The error is errNoFile if there is
// anything but files and folders.
func names(dir string) ([]string, error) {
	var out []string
	dir = filepath.Clean(dir)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is %w", p, errNoFile)
		}
		out = append(out, filepath.ToSlash(p[len(dir)+1:]))
		return nil
	})
	slices.Sort(out)
	return out, err
}

// list returns the files under dir, sorted by path, with sizes but without digests. The
// error is errNoFile if there is anything but files and folders.
func list(dir string) (manifest, error) {
	paths, err := names(dir)
	var m manifest
	for _, p := range paths {
		st, serr := stampOf(filepath.Join(dir, filepath.FromSlash(p)))
		if serr != nil {
			return m, errors.Join(err, serr)
		}
		m = append(m, file{path: p, size: st.size})
	}
	return m, err
}

// buffers are for reading: an artifact may have many small files.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// digest reads a file and sets its size and digest. It stops when ctx ends.
func (f *file) digest(ctx context.Context, dir string) error {
	r, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.path)))
	if err != nil {
		return err
	}
	defer r.Close()
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	h := sha256.New()
	f.size = 0
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buffer[:])
		h.Write(buffer[:n])
		f.size += int64(n)
		if errors.Is(err, io.EOF) {
			h.Sum(f.sum[:0])
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Written returns the manifest of the files under dir. The process that wrote an artifact
// computes it for [Commit.Written], so that a file that is lost before the commit is
// noticed.
func Written(ctx context.Context, dir string) (string, error) {
	m, err := list(dir)
	if err != nil {
		return "", err
	}
	for i := range m {
		if err := m[i].digest(ctx, dir); err != nil {
			return "", err
		}
	}
	return string(m.encode()), nil
}

// difference describes the first path at which two manifests differ.
func difference(a, b manifest) string {
	for i := 0; i < len(a) || i < len(b); i++ {
		switch {
		case i == len(a) || i < len(b) && b[i].path < a[i].path:
			return fmt.Sprintf("%s is new", b[i].path)
		case i == len(b) || a[i].path < b[i].path:
			return fmt.Sprintf("%s is gone", a[i].path)
		case a[i] != b[i]:
			return fmt.Sprintf("%s differs", a[i].path)
		}
	}
	return "no difference"
}
