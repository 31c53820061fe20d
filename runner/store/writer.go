package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Writer is a private folder for the files of a new artifact. Commit makes it an artifact
// of the store, and Abort removes it. A Writer must be used by one goroutine only.
type Writer struct {
	s    *Store
	key  Key
	tmp  string // folder that becomes the artifact
	done bool

	sealed map[string]stamp // the files, by path, when their digests were computed
}

// Begin makes a folder in the store's file system for the output of the action of key.
// The caller must call Commit or Abort. If Commit would fail because of missing
// permissions, Begin fails already, before anything is computed.
func (s *Store) Begin(key Key) (*Writer, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	w := &Writer{s: s, key: key, tmp: s.tempName()}
	if err := s.mkdir(w.Dir()); err != nil {
		os.RemoveAll(w.tmp)
		return nil, s.fail(err)
	}
	return w, nil
}

// Dir returns the absolute path of the folder for the files, which is empty at first.
func (w *Writer) Dir() string { return filepath.Join(w.tmp, "files") }

// entry is the name of the entry before it is in the index.
func (w *Writer) entry() string { return w.tmp + ".entry" }

// Abort removes the files. After Commit it does nothing, so it can be deferred.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return w.s.fail(errors.Join(os.RemoveAll(w.tmp), remove(w.entry())))
}

// Commit has the arguments of [Writer.Commit].
type Commit struct {
	Made, Build string // fields of the entry
	Written     string // result of [Written] on the machine that wrote the files; empty if that is this process
	Strict      bool   // return an error if the action gave other bytes before
}

// Commit makes the files an artifact and then enters it in the index. If it returns an
// error, nothing was entered and the files are removed.
//
// If the index has other bytes for the same action, the first bytes stay: Commit returns
// their entry, with Rejected set. With c.Strict it returns a [*NondeterminismError]
// instead. If the first bytes are lost, the new ones replace them, and Replaced is set.
func (w *Writer) Commit(ctx context.Context, c Commit) (Entry, error) {
	if w.done {
		return Entry{}, errors.New("store: commit of a writer that is closed")
	}
	defer w.Abort()
	s := w.s
	m, err := w.seal(ctx)
	if err != nil {
		return Entry{}, s.fail(err)
	}
	if err := compareWritten(c.Written, m); err != nil {
		return Entry{}, s.fail(err)
	}
	e := Entry{Output: m.id(), Files: len(m), Bytes: m.bytes(), Made: c.Made, Build: c.Build, Key: w.key.Text(), Action: w.key.ID()}
	first, err := w.first(ctx, e, m, c.Strict)
	if err != nil {
		return Entry{}, err
	}
	if !first.Rejected.IsZero() {
		return first, nil
	}
	e.Replaced, e.Difference = first.Replaced, first.Difference
	// The entry is written before anything is renamed, so that all steps that need disk
	// space come before the first visible one.
	entry := w.entry()
	if err := w.stage(entry, e); err != nil {
		return Entry{}, s.fail(err)
	}
	if err := s.flush(func() error { return w.sync(m, e) }); err != nil {
		return Entry{}, s.fail(err)
	}
	s.at("staged")
	if err := w.install(ctx, e.Output); err != nil {
		return Entry{}, s.fail(err)
	}
	s.at("installed")
	if first.Output == e.Output {
		return first, nil // the entry is in the index, and its artifact is complete again
	}
	if err := w.enter(ctx, entry, &e, m, c.Strict); err != nil {
		return Entry{}, err
	}
	s.at("entered")
	// If the machine crashes before this, the entry may be there without its artifact: then it
	// is a miss.
	return e, s.fail(s.flush(func() error {
		return errors.Join(syncDir(filepath.Dir(s.artifact(e.Output))), syncDir(filepath.Dir(s.action(e.Action))))
	}))
}

// sync makes everything durable that the writer has written.
func (w *Writer) sync(m manifest, e Entry) error {
	for _, f := range m {
		if err := syncFile(filepath.Join(w.Dir(), filepath.FromSlash(f.path))); err != nil {
			return err
		}
		w.s.at("syncing")
	}
	for _, name := range []string{filepath.Join(w.tmp, "manifest"), w.entry()} {
		if err := syncFile(name); err != nil {
			return err
		}
	}
	for _, target := range []string{w.s.action(e.Action), w.s.artifact(e.Output)} {
		if err := syncDir(filepath.Dir(filepath.Dir(target))); err != nil {
			return err
		}
	}
	return syncTree(w.tmp)
}

// compareWritten compares the files with the list of the process that wrote them.
func compareWritten(written string, m manifest) error {
	if written == "" {
		return nil
	}
	want, err := parseManifest([]byte(written))
	if err != nil {
		return fmt.Errorf("list of the files that were written: %w", err)
	}
	if !bytes.Equal(want.encode(), m.encode()) {
		return fmt.Errorf("the files are not those that were written (%s): something removed or changed them before they were stored", difference(want, m))
	}
	return nil
}

// enter puts the entry into the index, unless another process has entered the action. It
// moves away an existing entry that is corrupt or whose bytes are lost, but never a valid
// one.
func (w *Writer) enter(ctx context.Context, entry string, e *Entry, m manifest, strict bool) error {
	s := w.s
	target := s.action(e.Action)
	for range 10 { // again if another process has changed the entry meanwhile
		was, _ := os.Lstat(target)
		err := place(entry, target)
		if !errors.Is(err, fs.ErrExist) {
			return s.fail(err)
		}
		s.at("taken")
		first, err := w.first(ctx, *e, m, strict)
		if err != nil {
			return err
		}
		if first.Output == e.Output || !first.Rejected.IsZero() {
			*e = first
			return nil
		}
		e.Replaced, e.Difference = first.Replaced, first.Difference
		s.at("replacing")
		if _, err := s.quarantine(target, was, e.Action.Short()); err != nil {
			return s.fail(err)
		}
	}
	return fmt.Errorf("store %s: the damaged entry %s cannot be replaced: move it away and run again", s.dir, target)
}

// first looks for an earlier entry of the same action. It returns the entry if it has the
// same bytes, or other bytes that are intact and stay. If the bytes of the entry are
// lost, it returns an entry with only Replaced set.
func (w *Writer) first(ctx context.Context, e Entry, m manifest, strict bool) (Entry, error) {
	s := w.s
	old, err := s.Index(e.Action)
	if errors.Is(err, ErrNotFound) {
		return Entry{}, nil // a corrupt entry is replaced
	}
	if err != nil || old.Output == e.Output {
		return old, err
	}
	have, err := s.manifest(old.Output)
	if err == nil {
		s.distrust(old.Output) // files that were intact may have been lost since
		_, err = s.Artifact(ctx, old.Output)
	}
	if errors.Is(err, ErrNotFound) {
		return Entry{Replaced: old.Output, Difference: difference(have, m)}, nil
	}
	if err != nil {
		return Entry{}, err
	}
	if strict {
		return Entry{}, &NondeterminismError{Action: e.Action, Stage: w.key.Stage, Have: old.Output, Got: e.Output, Difference: difference(have, m)}
	}
	old.Rejected, old.Difference = e.Output, difference(have, m)
	return old, nil
}

// seal makes the files read-only and writes their manifest beside them.
func (w *Writer) seal(ctx context.Context) (manifest, error) {
	paths, err := names(w.Dir())
	if err != nil {
		return nil, err
	}
	m, shared := make(manifest, len(paths)), w.s.shared()
	w.sealed = map[string]stamp{}
	for i, path := range paths {
		m[i].path = path
		name := filepath.Join(w.Dir(), filepath.FromSlash(path))
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, info.Mode().Perm()&^0o222|0o400|shared&0o044); err != nil {
			return nil, err
		}
		if w.sealed[path], err = stampOf(name); err != nil {
			return nil, err
		}
		if err := m[i].digest(ctx, w.Dir()); err != nil {
			return nil, err
		}
		w.s.at("sealing")
	}
	if err := writeNew(filepath.Join(w.tmp, "manifest"), m.encode(), w.s.shared()); err != nil {
		return nil, err
	}
	return m, shareTree(w.tmp, w.s.shared())
}

// stage writes the entry beside the artifact and makes the folders into which both are
// renamed.
func (w *Writer) stage(entry string, e Entry) error {
	for _, target := range []string{w.s.action(e.Action), w.s.artifact(e.Output)} {
		shard := filepath.Dir(target)
		if err := w.s.mkdir(shard); err != nil {
			return err
		}
	}
	return writeNew(entry, e.encode(), w.s.shared())
}

// install renames the artifact into place, unless another process has written the same
// one. That one becomes young, so that it is not removed as garbage before the entry names it.
func (w *Writer) install(ctx context.Context, id OutputID) error {
	s := w.s
	target := s.artifact(id)
	// A second attempt follows if a corrupt artifact of this name was removed.
	for range 2 {
		err := os.Rename(w.tmp, target)
		if err == nil {
			s.trustAll(id, w.sealed)
			return nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		// Another process wrote the same artifact, or a damaged copy has its name.
		s.distrust(id)
		now := time.Now()
		_ = os.Chtimes(target, now, now) // another user's artifact stays as old as it is
		s.at("touched")
		var miss *MissError
		if _, err := s.Artifact(ctx, id); !errors.As(err, &miss) {
			return err
		} else if miss.unmoved != nil {
			return miss.unmoved
		}
	}
	return fmt.Errorf("the damaged artifact %s cannot be replaced: move it away and run again", target)
}

// at calls the function of a test at a point of a commit.
func (s *Store) at(point string) {
	if s.step != nil {
		s.step(point)
	}
}
