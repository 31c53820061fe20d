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
	"time"
)

// A ModelFile is a file of a model that load named, which stays where it is.
type ModelFile struct {
	Name   string    `json:"name"` // relative to the model's folder
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256"`
	Time   time.Time `json:"time,omitzero"` // of its last change, in records of this machine only
}

// HashModel returns the digests of the files that a checkpoint stands for.
func HashModel(ctx context.Context, c *Checkpoint) ([]ModelFile, error) {
	var out []ModelFile
	for _, name := range c.Files {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		path := filepath.Join(c.Root, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		sum, size, err := digestOf(path)
		if err != nil {
			return nil, err
		}
		if size != info.Size() {
			return nil, fmt.Errorf("%s changes while it is read", path)
		}
		out = append(out, ModelFile{name, size, sum, info.ModTime()})
	}
	return out, nil
}

// A LoadedModel is the record of a load: the files of the model as they were.
type LoadedModel struct {
	Stamp string      `json:"stamp"` // in the key of the load
	Root  string      `json:"root"`
	Files []ModelFile `json:"files"`
}

// Save writes the record as a file.
func (l *LoadedModel) Save(name string) error {
	data, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return err
	}
	return writeWhole(name, data)
}

// Stamp returns the stamp with which a model is loaded: that of the record if its files are
// what they were, and a new one, a digest of all files, if one has changed. Only files whose
// size or time differs are read. Without a record, the stamp is empty; where a file is gone, it is
// that of the record.
func Stamp(ctx context.Context, record string) (string, error) {
	data, err := readSmall(record, 64<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	var l LoadedModel
	if err := json.Unmarshal(data, &l); err != nil {
		return "", fmt.Errorf("%s: %w: remove the file, and the model is loaded again", record, err)
	}
	touched, changed := false, false
	h := sha256.New()
	for i := range l.Files {
		f := &l.Files[i]
		path := filepath.Join(l.Root, filepath.FromSlash(f.Name))
		info, err := os.Stat(path)
		if err != nil {
			return l.Stamp, nil // what needs the model will fail; what is computed already can be shown
		}
		if info.Size() != f.Size || !info.ModTime().Equal(f.Time) {
			if err := context.Cause(ctx); err != nil {
				return "", err
			}
			sum, size, err := digestOf(path)
			if err != nil {
				return "", err
			}
			touched, changed = true, changed || sum != f.SHA256
			*f = ModelFile{f.Name, size, sum, info.ModTime()}
		}
		fmt.Fprintf(h, "%s  %s\n", f.SHA256, f.Name)
	}
	if changed {
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	if touched {
		_ = l.Save(record) // only saves time
	}
	return l.Stamp, nil
}
