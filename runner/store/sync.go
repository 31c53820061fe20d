package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writeSynced writes a new file and waits until the disk has it. share are rights
// that it gets whatever the umask.
func writeSynced(name string, data []byte, share fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if share &= 0o044; share != 0 {
		err = errors.Join(err, f.Chmod(0o400|share))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFile waits until the disk has the bytes of a file.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir waits until the disk has the names in a folder. File systems that cannot
// say so are taken at their word.
func syncDir(name string) error {
	err := syncFile(name)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// syncTree syncs every folder below and including dir, after giving it the rights
// in share.
func syncTree(dir string, share fs.FileMode) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if share != 0 {
			info, err := d.Info()
			if err == nil {
				err = os.Chmod(p, info.Mode()|share)
			}
			if err != nil {
				return err
			}
		}
		return syncDir(p)
	})
}
