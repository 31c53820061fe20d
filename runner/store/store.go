package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	dir  string
	self string // name of this process

	lease time.Duration // time without a heartbeat after which a process has lost its claims

	mu     sync.Mutex
	intact map[OutputID]map[string]stamp // files by artifact whose digests this process has checked

	comparing map[OutputID]chan struct{} // artifacts that a goroutine is comparing now; the channel is closed when it is done

	group group // of writers that sync together

	making   sync.Mutex
	prepared bool // prepare has succeeded

	cached func(process string, beat time.Time) time.Time // for tests in which heartbeats are seen late, as on a network file system; otherwise nil
	step   func(point string)                             // for tests that stop the process at a point of a write; otherwise nil
}

// Open opens the store in dir, an absolute or relative path. It creates and changes
// nothing: a folder that does not exist is an empty store until something is written.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("store %s: it is a file, but a store is a folder: name another one with --store or ABLATE_STORE", abs)
	}
	lease, err := leaseTime()
	if err != nil {
		return nil, err
	}
	return &Store{dir: abs, self: processName(), lease: lease, intact: map[OutputID]map[string]stamp{}, comparing: map[OutputID]chan struct{}{}}, nil
}

// folders are the folders that the first write creates.
var folders = []string{"actions", "artifacts", "studies", "tmp"}

// prepare creates missing folders of the store before the first write, and removes files
// that dead processes left. If this user may not write a folder, it returns an error:
// better now than after a long computation.
func (s *Store) prepare() error {
	s.making.Lock()
	defer s.making.Unlock()
	if s.prepared {
		return nil
	}
	for _, sub := range folders {
		if err := s.mkdir(filepath.Join(s.dir, sub)); err != nil {
			return s.fail(err)
		}
	}
	for _, sub := range folders {
		if err := s.writable(filepath.Join(s.dir, sub)); err != nil {
			return err
		}
	}
	for _, sub := range []string{"actions", "artifacts"} {
		shards, err := os.ReadDir(filepath.Join(s.dir, sub))
		if err != nil {
			return s.unreadable(err)
		}
		for _, d := range shards {
			if !d.IsDir() {
				continue
			}
			if err := s.writable(filepath.Join(s.dir, sub, d.Name())); err != nil {
				return err
			}
		}
	}
	s.sweep()
	s.sweepClaims()
	s.sweepPartial()
	s.prepared = true
	return nil
}

// writable returns an error if this user may not write a folder.
func (s *Store) writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return s.fail(&fs.PathError{Op: "write", Path: dir, Err: err})
	}
	return nil
}

// mkdir makes a folder and its parents. A file in its place is damage and is moved to
// quarantine/. A link in its place was made on purpose and stays.
func (s *Store) mkdir(path string) error {
	err := s.folder(path)
	if !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if was, err := os.Lstat(path); err == nil && !was.IsDir() && was.Mode()&fs.ModeSymlink == 0 {
		if _, err := s.quarantine(path, was, filepath.Base(path)); err != nil {
			return err
		}
	}
	return s.folder(path)
}

// folder makes a folder and its parents. If the group may write the store, it may write
// new folders too.
func (s *Store) folder(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if share := s.shared(); share != 0 && path != s.dir {
		if info, err := os.Stat(path); err == nil {
			return os.Chmod(path, info.Mode()|share)
		}
	}
	return nil
}

// quarantine moves the damaged file or folder at path to quarantine/ for inspection. It
// returns the new path, or "" if it was not moved. was describes the damaged file: if
// another process has replaced it since, it stays, which is no error.
func (s *Store) quarantine(path string, was fs.FileInfo, name string) (string, error) {
	to := filepath.Join(s.dir, "quarantine", name+"-"+rand.Text()[:8])
	same := func(path string) bool {
		now, err := os.Lstat(path)
		return err == nil && os.SameFile(now, was)
	}
	if err := s.folder(filepath.Dir(to)); err != nil {
		return "", err
	}
	if !same(path) {
		return "", nil
	}
	if err := os.Rename(path, to); absent(err) {
		return "", nil // moved by another process meanwhile
	} else if err != nil {
		return "", err
	}
	if !same(to) { // replaced between the check and the move
		if err := place(to, path); err == nil {
			_ = os.Remove(to)
		}
		return "", nil
	}
	return to, nil
}

// link is os.Link; tests replace it, because not every file system has links.
var link = os.Link

// place gives a file the name target. If that name is taken, the error is fs.ErrExist.
// The file may keep its old name too.
func place(file, target string) error {
	err := link(file, target)
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// On a file system without links, two processes may both find that the name is free.
	// Then the later one replaces the file of the first.
	if _, err := os.Lstat(target); err == nil {
		return &fs.PathError{Op: "link", Path: target, Err: fs.ErrExist}
	}
	return os.Rename(file, target)
}

// shared returns the write permissions of the store's folder for its group and for
// others; 0 if they may not write. All folders in the store get the same.
func (s *Store) shared() fs.FileMode {
	info, err := os.Stat(s.dir)
	if err != nil || info.Mode().Perm()&0o022 == 0 {
		return 0
	}
	return info.Mode() & (0o077 | fs.ModeSetgid)
}

// Dir returns the absolute path of the store's folder.
func (s *Store) Dir() string { return s.dir }

// Path returns the folder with the files of an artifact, without checking anything.
func (s *Store) Path(id OutputID) string { return s.files(id) }

// Lookup returns the entry of an action. A miss is a [*MissError]: there is no entry, the
// entry cannot be read, or its artifact is incomplete. Lookup compares sizes but no
// digests; Artifact compares those when the files are read.
func (s *Store) Lookup(id ActionID) (Entry, error) {
	e, err := s.Index(id)
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
	case err != nil && !absent(err):
		return Entry{}, s.unreadable(err)
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

// Index returns the index entry of an action, without checking that its artifact exists.
func (s *Store) Index(id ActionID) (Entry, error) {
	data, err := readRegular(s.action(id), mostText)
	switch {
	case absent(err):
		return Entry{}, &MissError{ID: id.String(), Reason: Missing}
	case errors.Is(err, errNoFile):
		return Entry{}, &MissError{ID: id.String(), Reason: CorruptEntry, Detail: err.Error()}
	case err != nil:
		return Entry{}, s.unreadable(err)
	}
	e, err := parseEntry(data)
	if errors.Is(err, errOtherFormat) {
		return Entry{}, &MissError{ID: id.String(), Reason: Missing}
	}
	if err == nil && e.Action != id {
		err = fmt.Errorf("entry: belongs to action %s", e.Action.Short())
	}
	if err != nil {
		return Entry{}, &MissError{ID: id.String(), Reason: CorruptEntry, Detail: err.Error()}
	}
	return e, nil
}

// Limits of file sizes in bytes, larger than any valid file.
const (
	mostText  = 64 << 20 // a manifest or an entry
	mostStudy = 64 << 10 // study.json
)

// readRegular reads a file of at most most bytes. If it is a folder, link, pipe or
// device, whose reading may never end, the error is errNoFile.
func readRegular(name string, most int64) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %w", name, errNoFile)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, more than %d: it is %w of the store", name, info.Size(), most, errNoFile)
	}
	return os.ReadFile(name)
}

// incomplete turns the miss of an artifact into a miss of its action.
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

// fail adds the store's folder to an error, unless the error names it already.
func (s *Store) fail(err error) error {
	d := s.Diagnose(err)
	var known *diagnosis
	var named *storeError
	if err == nil || errors.As(d, &known) || errors.As(d, &named) {
		return d
	}
	return &storeError{dir: s.dir, err: err}
}

// storeError is an error with the store's folder.
type storeError struct {
	dir string
	err error
}

func (e *storeError) Error() string { return fmt.Sprintf("store %s: %v", e.dir, e.err) }
func (e *storeError) Unwrap() error { return e.err }
