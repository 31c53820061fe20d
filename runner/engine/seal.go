package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A SealedFile is a file of an output.
type SealedFile struct {
	Path    string // relative to out/, with slashes
	Written int64  // bytes that the program wrote
	Size    int64  // bytes after the header was sorted
}

// mostBytes is the largest size of all outputs of a task, which no model's checkpoint reaches.
const mostBytes = 1 << 40

// mostHeader is the largest header of a safetensors file, in bytes: that of the format.
const mostHeader = 100_000_000

// Seal checks the files below a folder of outputs, and writes the headers of safetensors
// files in sorted order: the library orders entries by chance, and equal tensors would have
// different bytes. It refuses links, special files, and names with other characters than
// letters, digits, dots, hyphens and underscores.
func Seal(ctx context.Context, out string) ([]SealedFile, error) {
	var files []SealedFile
	total := int64(0)
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		rel, err := filepath.Rel(out, path)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		show := "out/" + short([]byte(rel))
		switch name := d.Name(); {
		case !nameable(name):
			return fmt.Errorf("%s: the name must be letters, digits, dots, hyphens and underscores", show)
		case strings.Count(rel, "/") >= mostDepth:
			return fmt.Errorf("%s: more than %d levels of folders", show, mostDepth)
		case d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a link: write the file itself", show)
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", show)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Nlink > 1 {
			return fmt.Errorf("%s is a hard link to another file: write a copy", show)
		}
		f := SealedFile{rel, info.Size(), info.Size()}
		if strings.HasSuffix(rel, ".safetensors") {
			if f.Size, err = sortHeader(path); err != nil {
				return fmt.Errorf("%s: %w", show, err)
			}
		}
		if total += f.Size; total > mostBytes {
			return fmt.Errorf("%s: the outputs have more than %d GiB", show, mostBytes>>30)
		}
		if files = append(files, f); len(files) > mostFiles {
			return fmt.Errorf("out/ has more than %d files", mostFiles)
		}
		return nil
	})
	return files, err
}

// sortHeader writes the header of a safetensors file in sorted order, and returns the size
// of the file. A file whose header is sorted stays as it is.
func sortHeader(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var size [8]byte
	if _, err := io.ReadFull(f, size[:]); err != nil {
		return 0, errors.New("it is not a safetensors file: it has no header")
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > mostHeader || int64(n) > info.Size()-8 {
		return 0, fmt.Errorf("it is not a whole safetensors file: its header has %d bytes, and the file %d", n, info.Size())
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(f, header); err != nil {
		return 0, err
	}
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	var entries map[string]any
	if err := d.Decode(&entries); err != nil {
		return 0, fmt.Errorf("its header is not valid: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(entries); err != nil { // Go sorts the names of maps
		return 0, err
	}
	sorted := bytes.TrimSpace(b.Bytes())
	for len(sorted)%8 != 0 { // the data begins at a multiple of 8
		sorted = append(sorted, ' ')
	}
	if bytes.Equal(sorted, header) {
		return info.Size(), nil
	}
	tmp := path + ".sorted"
	w, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return 0, err
	}
	binary.LittleEndian.PutUint64(size[:], uint64(len(sorted)))
	buf := bufio.NewWriter(w)
	_, err1 := buf.Write(size[:])
	_, err2 := buf.Write(sorted)
	_, err3 := io.Copy(buf, f) // from behind the header
	err = errors.Join(err1, err2, err3, buf.Flush(), w.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	return info.Size() + int64(len(sorted)) - int64(n), err
}
