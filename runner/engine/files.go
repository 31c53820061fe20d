package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Files are files of others that stay where they are, as they were when they were read: those
// of a model, or the pictures of a folder.
type Files struct {
	Root  string `json:"root"`
	Files []File `json:"files"`
}

// A File is one of [Files].
type File struct {
	Name   string    `json:"name"` // relative to the root
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256"`
	Time   time.Time `json:"time,omitzero"` // of its last change; in records of this machine only
}

// HashFiles returns files below a folder. Those that look as known says are not read.
func HashFiles(ctx context.Context, root string, names []string, known func(name string) (File, bool)) (*Files, error) {
	out := &Files{Root: root}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		path := filepath.Join(root, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		f, ok := known(name)
		if !ok || !f.looksLike(info) {
			f = File{Name: name, Size: info.Size(), Time: info.ModTime()}
			var size int64
			if f.SHA256, size, err = digestOf(path); err != nil {
				return nil, err
			}
			if size != info.Size() {
				return nil, fmt.Errorf("%s changes while it is read", path)
			}
		}
		out.Files = append(out.Files, f)
	}
	return out, nil
}

// Known returns a function that finds a file, for [HashFiles]. There may be none.
func (f *Files) Known() func(name string) (File, bool) {
	byName := map[string]File{}
	if f != nil {
		for _, x := range f.Files {
			byName[x.Name] = x
		}
	}
	return func(name string) (File, bool) {
		x, ok := byName[name]
		return x, ok
	}
}

func (f File) looksLike(info fs.FileInfo) bool {
	return info.Size() == f.Size && info.ModTime().Equal(f.Time)
}

// Unchanged returns an error if a file is gone or does not look as it did.
func (f *Files) Unchanged() error {
	for _, x := range f.Files {
		path := filepath.Join(f.Root, filepath.FromSlash(x.Name))
		switch info, err := os.Stat(path); {
		case err != nil:
			return err
		case !x.looksLike(info):
			return fmt.Errorf("%s has changed since it was read: run again", path)
		}
	}
	return nil
}

// Digest returns the SHA-256 of the names and digests of the files.
func (f *Files) Digest() string {
	h := sha256.New()
	for _, x := range f.Files {
		fmt.Fprintf(h, "%s  %s\n", x.SHA256, x.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Pictures returns the names of the PNG pictures among the files.
func (f *Files) Pictures() (names []string) {
	for _, x := range f.Files {
		if filepath.Ext(x.Name) == ".png" {
			names = append(names, x.Name)
		}
	}
	return names
}

// A NoPicturesError reports that a folder of pictures is missing or has none.
type NoPicturesError struct{ Dir, Why string }

func (e *NoPicturesError) Error() string { return e.Dir + ": " + e.Why }

// Folder returns the PNG pictures of a folder and their captions, files that end in .txt, sorted
// by name. It remembers them in the folder cache, so that files that did not change are read once.
func Folder(ctx context.Context, cache, dir string) (*Files, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoPicturesError{dir, "there is no such folder"}
	} else if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range list {
		if ext := filepath.Ext(d.Name()); ext == ".png" || ext == ".txt" {
			names = append(names, d.Name())
		}
	}
	sum := sha256.Sum256([]byte(dir))
	record := filepath.Join(cache, "folder-"+hex.EncodeToString(sum[:16])+".json")
	known := &Files{}
	if data, err := os.ReadFile(record); err != nil || json.Unmarshal(data, known) != nil {
		known = nil // then all are read
	}
	f, err := HashFiles(ctx, dir, names, known.Known())
	if err != nil {
		return nil, err
	}
	if len(f.Pictures()) == 0 {
		return nil, &NoPicturesError{dir, "it has no PNG pictures"}
	}
	if known == nil || !slices.EqualFunc(f.Files, known.Files, File.equal) {
		_ = save(record, f) // only saves time
	}
	return f, nil
}

func (f File) equal(g File) bool {
	return f.Name == g.Name && f.Size == g.Size && f.SHA256 == g.SHA256 && f.Time.Equal(g.Time)
}

func save(name string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return writeWhole(name, data, 0o666)
}

// A LoadedModel is the record of a load on this machine: where the files of the model lie, and
// how they were.
type LoadedModel struct {
	Stamp string `json:"stamp"` // in the key of the load
	Files
}

// Save writes the record as a file.
func (l *LoadedModel) Save(name string) error { return save(name, l) }

// ReadLoaded reads a record; nil if there is none.
func ReadLoaded(name string) (*LoadedModel, error) {
	data, err := readSmall(name, 64<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	l := &LoadedModel{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%s: %w: remove the file, and the model is loaded again", name, err)
	}
	return l, nil
}

// Stamp returns the stamp with which a model is loaded: that of the record if its files are
// what they were, and a new one, a digest of all files, if one has changed. Only files whose
// size or time differs are read. Without a record, the stamp is empty; where a file is gone, it is
// that of the record.
func Stamp(ctx context.Context, record string) (string, error) {
	l, err := ReadLoaded(record)
	if l == nil || err != nil {
		return "", err
	}
	names := make([]string, len(l.Files.Files))
	for i, f := range l.Files.Files {
		names[i] = f.Name
	}
	now, err := HashFiles(ctx, l.Root, names, l.Known())
	if errors.Is(err, fs.ErrNotExist) {
		return l.Stamp, nil // what needs the model looks for it again; what is computed can be shown
	} else if err != nil {
		return "", err
	}
	if d := now.Digest(); d != l.Digest() {
		return d, nil
	}
	if !slices.EqualFunc(now.Files, l.Files.Files, File.equal) {
		l.Files = *now
		_ = l.Save(record) // only saves time
	}
	return l.Stamp, nil
}
