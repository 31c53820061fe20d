package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Writer is an artifact in the making: a private folder that Commit turns into an
// artifact of the store, or Abort removes. One goroutine uses it.
type Writer struct {
	s    *Store
	key  Key
	tmp  string
	done bool
}

// Begin makes a folder, in the store's file system, for what the action of key
// will produce. Exactly one of Commit and Abort must follow.
func (s *Store) Begin(key Key) (*Writer, error) {
	w := &Writer{s: s, key: key, tmp: s.tempName()}
	if err := os.MkdirAll(w.Dir(), 0o777); err != nil {
		os.RemoveAll(w.tmp)
		return nil, s.fail(err)
	}
	return w, nil
}

// Dir returns the absolute path of the empty folder to write files into.
func (w *Writer) Dir() string { return filepath.Join(w.tmp, "files") }

// Key returns the key that Begin was given.
func (w *Writer) Key() Key { return w.key }

// Abort removes what was written. After Commit it does nothing, so it can be deferred.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return w.s.fail(os.RemoveAll(w.tmp))
}

// Commit makes the files an artifact and enters it in the index, last. When it
// returns an error nothing has been entered and what was written is gone.
//
// If the index names other bytes for the same action, and they are still intact,
// the error is a [*NondeterminismError] and the index stays as it was; if they are
// lost the new ones take their place and Entry.Replaced says so.
func (w *Writer) Commit() (Entry, error) {
	if w.done {
		return Entry{}, errors.New("store: commit of a writer that is closed")
	}
	defer w.Abort()
	s := w.s
	m, err := w.seal()
	if err != nil {
		return Entry{}, s.fail(err)
	}
	e := Entry{Output: m.id(), Files: len(m), Bytes: m.bytes(), Key: w.key.Text(), Action: w.key.ID()}
	if e.Replaced, err = w.compare(e, m); err != nil {
		return Entry{}, err
	}
	// The entry is written out before anything is renamed: the steps that need
	// space on the disk all come before the first that can be seen.
	entry := filepath.Join(w.tmp, "entry")
	if err := w.stage(entry, e); err != nil {
		return Entry{}, s.fail(err)
	}
	s.at("staged")
	if err := w.install(e.Output); err != nil {
		return Entry{}, s.fail(err)
	}
	s.at("installed")
	if err := os.Rename(entry, s.action(e.Action)); err != nil {
		return Entry{}, s.fail(err)
	}
	s.at("entered")
	if err := syncDir(filepath.Dir(s.action(e.Action))); err != nil {
		return Entry{}, s.fail(err)
	}
	return e, nil
}

// seal makes the files read-only and durable and writes their manifest beside them.
func (w *Writer) seal() (manifest, error) {
	m, err := list(w.Dir())
	if err != nil {
		return nil, err
	}
	for i := range m {
		name := filepath.Join(w.Dir(), filepath.FromSlash(m[i].path))
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(syncFile(name), os.Chmod(name, info.Mode().Perm()&^0o222|0o400), m[i].digest(w.Dir())); err != nil {
			return nil, err
		}
		w.s.at("sealing")
	}
	if err := writeSynced(filepath.Join(w.tmp, "manifest"), m.encode()); err != nil {
		return nil, err
	}
	return m, syncTree(w.tmp)
}

// compare looks for another answer of the same action. A lost one is returned.
func (w *Writer) compare(e Entry, m manifest) (lost OutputID, err error) {
	old, err := w.s.entry(e.Action)
	if errors.Is(err, ErrNotFound) {
		return lost, nil // a corrupt entry says nothing, and is replaced
	}
	if err != nil || old.Output == e.Output {
		return lost, err
	}
	// Not by Artifact, which may trust what has been lost since.
	if err := w.s.check(old.Output); errors.Is(err, ErrNotFound) {
		return old.Output, nil
	} else if err != nil {
		return lost, err
	}
	have, err := w.s.manifest(old.Output)
	if err != nil {
		return lost, err
	}
	return lost, &NondeterminismError{Action: e.Action, Stage: w.key.Stage, Have: old.Output, Got: e.Output, Difference: difference(have, m)}
}

// stage writes the entry beside the artifact and makes the folders that the renames need.
func (w *Writer) stage(entry string, e Entry) error {
	for _, target := range []string{w.s.action(e.Action), w.s.artifact(e.Output)} {
		shard := filepath.Dir(target)
		if err := os.MkdirAll(shard, 0o777); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(shard)); err != nil {
			return err
		}
	}
	return writeSynced(entry, e.encode())
}

// install renames the artifact into place, or finds it there, written by another.
func (w *Writer) install(id OutputID) error {
	s := w.s
	target := s.artifact(id)
	// The entry must outlive the rename, so what is renamed is a folder of its own.
	parcel := filepath.Join(w.tmp, "artifact")
	if err := os.Mkdir(parcel, 0o777); err != nil {
		return err
	}
	for _, name := range []string{"files", "manifest"} {
		if err := os.Rename(filepath.Join(w.tmp, name), filepath.Join(parcel, name)); err != nil {
			return err
		}
	}
	if err := syncDir(parcel); err != nil {
		return err
	}
	// Twice: the second time after a corrupt artifact of this name was removed.
	for range 2 {
		err := os.Rename(parcel, target)
		if err == nil {
			s.mu.Lock()
			s.intact[id] = true
			s.mu.Unlock()
			return syncDir(filepath.Dir(target))
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		switch _, err := os.Stat(filepath.Join(target, "manifest")); {
		case absent(err):
			if err := s.discard(target); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if err := s.check(id); err == nil {
				return nil
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return fmt.Errorf("artifact %s: cannot replace a damaged copy", id.Short())
}

// at tells a test how far a commit has come.
func (s *Store) at(point string) {
	if s.step != nil {
		s.step(point)
	}
}
