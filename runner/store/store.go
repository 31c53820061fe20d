package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/singleflight"
)

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	dir  string
	self string // names this process in tmp

	checking singleflight.Group
	mu       sync.Mutex
	intact   map[OutputID]bool // artifacts whose digests this process has checked

	step func(point string) // tests stop the process here; nil otherwise
}

// Open opens the store in dir, an absolute or relative path, and creates what is
// missing of it. What dead processes of this machine left in tmp is removed. A
// store that exists can be opened and read where nothing can be written.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	s := &Store{dir: abs, self: processName(), intact: map[OutputID]bool{}}
	for _, sub := range []string{"actions", "artifacts", "studies", "tmp"} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o777); err != nil {
			return nil, s.fail(err)
		}
	}
	s.sweep()
	return s, nil
}

// Dir returns the absolute path of the store's folder.
func (s *Store) Dir() string { return s.dir }

// StudyDir returns the folder of a study's results, created if missing. The name
// is the study's: words joined by slashes.
func (s *Store) StudyDir(name string) (string, error) {
	if !safePath(name) {
		return "", fmt.Errorf("study name %q: not a relative path", name)
	}
	dir := filepath.Join(s.dir, "studies", filepath.FromSlash(name))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", s.fail(err)
	}
	return dir, nil
}

// Lookup returns what is known of an action. A miss is a [*MissError]: there is no
// entry, it cannot be read, or the artifact it names is not there in full. Sizes
// are compared, digests are not: Artifact does that when the bytes are wanted.
func (s *Store) Lookup(id ActionID) (Entry, error) {
	e, err := s.entry(id)
	if err != nil {
		return Entry{}, err
	}
	m, err := s.manifest(e.Output)
	if err != nil {
		return Entry{}, incomplete(id.String(), err)
	}
	incompletely := func(detail string) error {
		return &MissError{ID: id.String(), Reason: Incomplete, Detail: fmt.Sprintf("artifact %s: %s", e.Output.Short(), detail)}
	}
	have, err := list(s.files(e.Output))
	switch {
	case errors.Is(err, errNoFile):
		return Entry{}, incompletely(err.Error())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Entry{}, s.fail(err)
	}
	for i := range have {
		if i < len(m) && m[i].path == have[i].path {
			have[i].sum = m[i].sum
		}
	}
	if !bytes.Equal(m.encode(), have.encode()) {
		return Entry{}, incompletely(difference(m, have))
	}
	return e, nil
}

// entry reads an index entry and nothing else.
func (s *Store) entry(id ActionID) (Entry, error) {
	data, err := os.ReadFile(s.action(id))
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, &MissError{ID: id.String(), Reason: Missing}
	}
	if err != nil {
		return Entry{}, s.fail(err)
	}
	e, err := parseEntry(data)
	if err == nil && e.Action != id {
		err = fmt.Errorf("entry: is that of action %s", e.Action.Short())
	}
	if err != nil {
		return Entry{}, &MissError{ID: id.String(), Reason: CorruptEntry, Detail: err.Error()}
	}
	return e, nil
}

// incomplete turns a miss of an artifact into that of the action which needs it.
func incomplete(id string, err error) error {
	var miss *MissError
	if !errors.As(err, &miss) {
		return err
	}
	return &MissError{ID: id, Reason: Incomplete, Detail: "artifact " + miss.Error()}
}

func (s *Store) action(id ActionID) string {
	hex := id.String()
	return filepath.Join(s.dir, "actions", hex[:2], hex)
}

func (s *Store) artifact(id OutputID) string {
	hex := id.String()
	return filepath.Join(s.dir, "artifacts", hex[:2], hex)
}

func (s *Store) files(id OutputID) string { return filepath.Join(s.artifact(id), "files") }

// fail adds the store's folder to an error, once.
func (s *Store) fail(err error) error {
	d := s.Diagnose(err)
	var known *diagnosis
	var named *storeError
	if err == nil || errors.As(d, &known) || errors.As(d, &named) {
		return d
	}
	return &storeError{dir: s.dir, err: err}
}

// storeError is an error that already names the store's folder.
type storeError struct {
	dir string
	err error
}

func (e *storeError) Error() string { return fmt.Sprintf("store %s: %v", e.dir, e.err) }
func (e *storeError) Unwrap() error { return e.err }
