package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// writeSynced writes a new file like writeNew, and syncs it to disk.
func writeSynced(name string, data []byte, share fs.FileMode) error {
	if err := writeNew(name, data, share); err != nil {
		return err
	}
	return syncFile(name)
}

// writeNew writes a new file. It also gets the permissions share, whatever the umask.
func writeNew(name string, data []byte, share fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if share &= 0o044; share != 0 {
		err = errors.Join(err, f.Chmod(0o400|share))
	}
	return errors.Join(err, f.Close())
}

// syncFile syncs the bytes of a file to disk.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir syncs the names in a folder to disk. It ignores the error of file systems that
// do not support this.
func syncDir(name string) error {
	err := syncFile(name)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// syncTree syncs dir and all folders below it to disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(p)
	})
}

// shareTree adds the permissions share to dir and all folders below it.
func shareTree(dir string, share fs.FileMode) error {
	if share == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(p, info.Mode()|share)
	})
}

// leastGroup is from how many writers on the whole file system is synced at once. Syncing the
// files of fewer one by one is faster, and does not wait for what other programs have written.
const leastGroup = 4

// A group makes durable what several writers have written.
type group struct {
	mu      sync.Mutex
	waiting []flushing
	busy    bool
}

type flushing struct {
	alone func() error
	done  chan error
}

// flush makes durable what the caller has written to the store: by alone, which syncs these
// files, or together with what others have written at the same time.
func (s *Store) flush(alone func() error) error {
	f := flushing{alone, make(chan error, 1)}
	s.group.mu.Lock()
	s.group.waiting = append(s.group.waiting, f)
	if !s.group.busy {
		s.group.busy = true
		go s.serve()
	}
	s.group.mu.Unlock()
	return <-f.done
}

// serve serves the waiting writers, all at once, until none waits.
func (s *Store) serve() {
	for {
		s.group.mu.Lock()
		list := s.group.waiting
		s.group.waiting = nil
		s.group.busy = len(list) > 0
		s.group.mu.Unlock()
		if len(list) == 0 {
			return
		}
		if len(list) >= leastGroup {
			err := syncFileSystem(s.dir)
			if !errors.Is(err, errors.ErrUnsupported) {
				for _, f := range list {
					f.done <- err
				}
				continue
			}
		}
		var group sync.WaitGroup
		for _, f := range list {
			group.Go(func() { f.done <- f.alone() })
		}
		group.Wait()
	}
}
