package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Artifact returns the folder with the files of an artifact, after comparing every
// byte with its digest; later calls in the same process trust the first. The files
// are read-only and must stay as they are. A miss is a [*MissError]; a corrupt
// artifact is also taken out of the store, so that it is computed again.
func (s *Store) Artifact(id OutputID) (string, error) {
	dir := s.files(id)
	s.mu.Lock()
	known := s.intact[id]
	s.mu.Unlock()
	if known {
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
	}
	_, err, _ := s.checking.Do(string(id[:]), func() (any, error) { return nil, s.check(id) })
	if err != nil {
		return "", err
	}
	return dir, nil
}

// check compares an artifact with its id, remembers the answer, and removes what is corrupt.
func (s *Store) check(id OutputID) error {
	err := s.compare(id)
	s.mu.Lock()
	s.intact[id] = err == nil
	s.mu.Unlock()
	var miss *MissError
	if errors.As(err, &miss) && miss.Reason != Missing {
		// Where it cannot be removed it stays a miss all the same.
		_ = s.discard(s.artifact(id))
	}
	return err
}

// compare reads every file of an artifact. Errors of the device or of permission
// are not damage, and come back as what they are.
func (s *Store) compare(id OutputID) error {
	corrupt := func(detail string) error {
		return &MissError{ID: id.String(), Reason: CorruptArtifact, Detail: detail}
	}
	want, err := s.manifest(id)
	if err != nil {
		return err
	}
	dir := s.files(id)
	have, err := list(dir)
	switch {
	case errors.Is(err, errNoFile):
		return corrupt(err.Error())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return s.fail(err)
	}
	for i := range have {
		err := have[i].digest(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return corrupt(have[i].path + " is gone")
		}
		if err != nil {
			return s.fail(err)
		}
	}
	if have.id() != id {
		return corrupt(difference(want, have))
	}
	return nil
}

// manifest reads the manifest of an artifact and compares it with the id.
func (s *Store) manifest(id OutputID) (manifest, error) {
	data, err := os.ReadFile(filepath.Join(s.artifact(id), "manifest"))
	if absent(err) || errors.Is(err, syscall.EISDIR) {
		if _, err := os.Stat(s.artifact(id)); errors.Is(err, fs.ErrNotExist) {
			return nil, &MissError{ID: id.String(), Reason: Missing}
		}
		return nil, &MissError{ID: id.String(), Reason: CorruptArtifact, Detail: "manifest is gone"}
	}
	if err != nil {
		return nil, s.fail(err)
	}
	m, err := parseManifest(data)
	if err == nil && m.id() != id {
		err = fmt.Errorf("manifest: does not belong to the artifact")
	}
	if err != nil {
		return nil, &MissError{ID: id.String(), Reason: CorruptArtifact, Detail: err.Error()}
	}
	return m, nil
}

// absent reports whether err says that there is no such file, be it because what
// should be its folder is none.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// discard takes a folder out of the store: first out of sight, then off the disk.
func (s *Store) discard(path string) error {
	tmp := s.tempName()
	if err := os.Rename(path, tmp); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return s.fail(err)
	}
	return s.fail(os.RemoveAll(tmp))
}
