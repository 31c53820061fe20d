package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Artifact returns the folder with the files of an artifact, after comparing all files
// with their digests. The process that has compared a file, or has computed its digest when it
// stored the artifact, trusts it as long as it has not been written since, by its times. The
// files are read-only and must not be changed. A miss is a [*MissError]. A corrupt artifact is
// a miss and is moved to quarantine/, so that it is computed again.
func (s *Store) Artifact(ctx context.Context, id OutputID) (string, error) {
	return s.Files(ctx, id, func(string) bool { return true })
}

// Files is like [Store.Artifact] for a caller that reads only some files: it compares
// only the files for which want is true.
func (s *Store) Files(ctx context.Context, id OutputID, want func(path string) bool) (string, error) {
	done, err := s.turn(ctx, id)
	if err != nil {
		return "", err
	}
	defer done()
	was, _ := os.Lstat(s.artifact(id))
	err = s.compare(ctx, id, want)
	var miss *MissError
	if errors.As(err, &miss) && miss.Reason != Missing {
		s.distrust(id)
		s.at("compared")
		miss.Moved, miss.unmoved = s.quarantine(s.artifact(id), was, id.Short())
	}
	if err != nil {
		return "", err
	}
	return s.files(id), nil
}

// compare compares files of an artifact with the manifest. It does not count an I/O error
// or missing permission as damage, and returns these errors as they are.
func (s *Store) compare(ctx context.Context, id OutputID, want func(path string) bool) error {
	corrupt := func(detail string) error {
		return &MissError{ID: id.String(), Reason: CorruptArtifact, Detail: detail}
	}
	m, err := s.manifest(id)
	if err != nil {
		return err
	}
	dir := s.files(id)
	have, err := names(dir)
	switch {
	case errors.Is(err, errNoFile):
		return corrupt(err.Error())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return s.unreadable(err)
	}
	for _, f := range m {
		if !want(f.path) {
			continue
		}
		now, err := stampOf(filepath.Join(dir, filepath.FromSlash(f.path)))
		switch {
		case absent(err):
			return corrupt(f.path + " is gone")
		case err != nil:
			return s.unreadable(err)
		case now.size != f.size:
			return corrupt(f.path + " differs")
		case s.checked(id, f.path, now):
			continue
		}
		s.at("digest")
		got := file{path: f.path}
		if err := got.digest(ctx, dir); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if absent(err) {
				return corrupt(f.path + " is gone")
			}
			return s.unreadable(err)
		}
		if got != f {
			return corrupt(f.path + " differs")
		}
		s.trust(id, f.path, now)
	}
	for _, path := range have {
		if _, listed := slices.BinarySearchFunc(m, path, func(f file, path string) int { return cmp.Compare(f.path, path) }); !listed && want(path) {
			return corrupt(path + " is new")
		}
	}
	return nil
}

// turn waits until no other goroutine compares an artifact, so that several readers of
// one artifact read its bytes only once. The caller must call done.
func (s *Store) turn(ctx context.Context, id OutputID) (done func(), err error) {
	for {
		s.mu.Lock()
		other, busy := s.comparing[id]
		if !busy {
			mine := make(chan struct{})
			s.comparing[id] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.comparing, id)
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// stamp identifies the state of a file: whoever writes it changes its time of change, which
// no program can set.
type stamp struct {
	inode        uint64
	size         int64
	changed, mod unix.Timespec
}

func stampOf(name string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return stamp{}, err
	}
	return stamp{st.Ino, st.Size, st.Ctim, st.Mtim}, nil
}

// checked reports whether this process has compared a file of an artifact before, and the file
// has not been written since.
func (s *Store) checked(id OutputID, path string, now stamp) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.intact[id][path]
	return ok && was == now
}

func (s *Store) trust(id OutputID, path string, was stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.intact[id] == nil {
		s.intact[id] = map[string]stamp{}
	}
	s.intact[id][path] = was
}

// trustAll trusts the files of an artifact whose digests were computed when it was written.
func (s *Store) trustAll(id OutputID, files map[string]stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intact[id] = files
}

func (s *Store) distrust(id OutputID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.intact, id)
}

// manifest reads the manifest of an artifact and checks it against the id.
func (s *Store) manifest(id OutputID) (manifest, error) {
	corrupt := func(detail string) error {
		return &MissError{ID: id.String(), Reason: CorruptArtifact, Detail: detail}
	}
	data, err := readRegular(filepath.Join(s.artifact(id), "manifest"), mostText)
	switch {
	case absent(err):
		if _, err := os.Lstat(s.artifact(id)); absent(err) {
			return nil, &MissError{ID: id.String(), Reason: Missing}
		}
		return nil, corrupt("manifest is gone")
	case errors.Is(err, errNoFile):
		return nil, corrupt(err.Error())
	case err != nil:
		return nil, s.unreadable(err)
	}
	m, err := parseManifest(data)
	if err == nil && m.id() != id {
		err = fmt.Errorf("manifest: does not belong to the artifact")
	}
	if err != nil {
		return nil, corrupt(err.Error())
	}
	return m, nil
}

// absent reports whether err is ENOENT, or ENOTDIR of a parent.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
